"""The matching is the optimum, and its marginals are those of brute force."""

from __future__ import annotations

from itertools import product
from math import exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.soak import rounds
from xner_label.projection.exact import matching
from xner_label.projection.exact.marginals import marginals
from xner_label.projection.exact.matching import match, match_greedy, match_milp, rank, undominated
from xner_label.projection.spans import ngrams

SCORES = st.one_of(st.sampled_from([-0.5, 0.0, 0.25, 0.5, 1.0]), st.floats(-2.0, 3.0, width=32))


@st.composite
def problems(draw, mentions=5, length=8, size=6):
    mention_candidates = st.lists(
        st.tuples(SCORES, st.integers(0, length - 1), st.integers(1, 4)).map(lambda c: (c[0], c[1], c[1] + c[2])),
        max_size=size,
        unique_by=lambda c: c[1:],
    )
    return [rank(candidates) for candidates in draw(st.lists(mention_candidates, max_size=mentions))]


def feasible(problem, chosen):
    taken = set()
    for of_mention, choice in zip(problem, chosen, strict=True):
        if choice >= 0:
            _, first, last = of_mention[choice]
            if not taken.isdisjoint(range(first, last)):
                return False
            taken.update(range(first, last))
    return True


def total(problem, chosen):
    return sum(of_mention[choice][0] for of_mention, choice in zip(problem, chosen, strict=True) if choice >= 0)


def everything(problem):
    options = [range(-1, len(of_mention)) for of_mention in problem]
    return [chosen for chosen in product(*options) if feasible(problem, chosen)]


def spans(problem, chosen):
    return [
        of_mention[choice][1:] if choice >= 0 else None for of_mention, choice in zip(problem, chosen, strict=True)
    ]


@pytest.mark.soak
@settings(max_examples=rounds(2000), deadline=None)
@given(problems())
def test_exact_matching_equals_milp(problem):
    chosen, exact = match(problem)
    assert exact
    assert feasible(problem, chosen)
    by_milp = match_milp(problem)
    assert by_milp.exact
    flat = [of_mention[0] if of_mention else -1 for of_mention in by_milp.chosen]
    assert feasible(problem, flat)
    # HiGHS works to tolerances of 1e-7 per column; the dynamic programme is never the worse one.
    assert total(problem, chosen) == pytest.approx(total(problem, flat), abs=1e-6)
    assert total(problem, chosen) >= total(problem, flat) - 1e-9


@pytest.mark.soak
@settings(max_examples=rounds(200), deadline=None)
@given(problems(mentions=4, length=5, size=4))
def test_ties_are_broken_as_documented(problem):
    chosen, _ = match(problem)
    assert spans(problem, chosen) == spans(problem, best_of(problem))


def best_of(problem):
    steps = [[round(score * 2**40) for score, _, _ in of_mention] for of_mention in problem]

    def key(candidate):
        points = sum(
            of_mention[choice] for of_mention, choice in zip(steps, candidate, strict=True) if choice >= 0
        )
        return -points, [choice if choice >= 0 else 99 for choice in candidate]

    positive = [
        option
        for option in everything(problem)
        if all(choice < 0 or of_mention[choice][0] > 0 for of_mention, choice in zip(problem, option, strict=True))
    ]
    return min(positive, key=key)


@pytest.mark.soak
@settings(max_examples=rounds(300), deadline=None)
@given(problems(mentions=4, length=6, size=5))
def test_pruning_dominated_candidates_changes_nothing(problem):
    pruned = [[of_mention[index] for index in undominated(of_mention)] for of_mention in problem]
    assert spans(problem, best_of(problem)) == spans(pruned, best_of(pruned))
    for of_mention in problem:
        moved = [(score, first + 1_000, last + 1_000) for score, first, last in of_mention]
        assert undominated(moved) == undominated(of_mention)


@pytest.mark.soak
@settings(max_examples=rounds(300), deadline=None)
@given(problems(mentions=4, length=6, size=4))
def test_marginals_equal_brute_force(problem):
    options = everything(problem)
    weights = [exp(total(problem, option)) for option in options]
    partition = sum(weights)
    result = marginals(problem)
    assert result.exact
    assert result.log_partition == pytest.approx(log(partition), abs=1e-9)
    for mention, of_mention in enumerate(problem):
        for choice in range(len(of_mention)):
            mass = sum(w for w, option in zip(weights, options, strict=True) if option[mention] == choice)
            assert result.projected[mention][choice] == pytest.approx(mass / partition, abs=1e-9)
        mass = sum(w for w, option in zip(weights, options, strict=True) if option[mention] < 0)
        assert result.absent[mention] == pytest.approx(mass / partition, abs=1e-9)


@given(problems())
def test_greedy_is_feasible(problem):
    chosen = [of_mention[0] if of_mention else -1 for of_mention in match_greedy(problem).chosen]
    assert feasible(problem, chosen)


def test_extreme_scores_don_t_overflow():
    result = marginals([[(900.0, 0, 1)], [(900.0, 0, 1)]])
    assert result.projected == [[pytest.approx(0.5)], [pytest.approx(0.5)]]
    assert marginals([[(-900.0, 0, 1)]]).absent == [1.0]
    assert marginals([]).log_partition == 0.0


def test_several_candidates_per_mention():
    problem = [rank([(1.0, 0, 1), (0.5, 2, 3), (0.4, 4, 6)]), rank([(0.9, 2, 3)])]
    assert match_milp(problem, limit=2).chosen == [[0, 2], [0]]
    assert match_milp(problem, limit=2, constraint="==").chosen == [[0, 2], [0]]
    assert match_milp(problem, limit=1, constraint=">=").chosen == [[0, 2], [0]]
    infeasible = match_milp([[(1.0, 0, 1)], [(1.0, 0, 1)]], limit=1, constraint="==")
    assert not infeasible.exact
    assert infeasible.chosen == [[0], []]


def test_forty_entities_with_equal_scores_in_five_hundred_tokens():
    problem = [[(1.0, first, last) for first, last in ngrams(0, 500)] for _ in range(40)]
    for of_mention in problem:
        rank(of_mention)
    chosen, exact = match(problem)
    assert exact
    assert feasible(problem, chosen)
    assert total(problem, chosen) == 40.0
    posteriors = marginals(problem)
    assert not posteriors.exact
    assert all(sum(of_mention) <= 1.0 + 1e-9 for of_mention in posteriors.projected)


def test_a_long_sentence_whose_entities_compete_only_with_neighbours_stays_exact():
    """The live set keeps the programme small however many mentions a chain of competitors holds."""
    problem = [
        rank([(1.0 + (index % 3) / 10, 2 * index, 2 * index + 3), (0.5, 2 * index, 2 * index + 1)])
        for index in range(60)
    ]
    chosen, exact = match(problem)
    by_milp = match_milp(problem)
    assert exact
    assert total(problem, chosen) == pytest.approx(
        total(problem, [of_mention[0] if of_mention else -1 for of_mention in by_milp.chosen])
    )
    assert marginals(problem).exact


def test_beyond_the_caps_greedy_answers_and_says_so(monkeypatch):
    monkeypatch.setattr(matching, "STEP_LIMIT", 0)
    monkeypatch.setattr(matching, "CANDIDATE_LIMIT", 0)
    problem = [rank([(1.0, 0, 2), (0.6, 0, 1)]), rank([(0.9, 1, 2)])]
    chosen, exact = match(problem)
    assert (chosen, exact) == ([0, -1], False)
