"""How sure a matching is: posteriors from the programme of :mod:`matching`, summing where it maximises.

A matching x has probability  p(x) = exp(sum of its scores) / Z,  with Z summed over every feasible matching
(at most one candidate per mention, no overlaps). A mention that is left out contributes score 0, so scores are
log-odds against not being projected. Unlike in matching, candidates with negative scores count.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, fsum, log
from typing import NamedTuple

from xner_label.projection.exact.matching import Candidate, components, programme_positions

# Beyond this many transitions of one component its mentions are treated as independent of each other.
TRANSITION_LIMIT = 100_000
# The largest logarithm of a matching's weight: scores of a component with m mentions are cut at this / m.
LARGEST_LOG_WEIGHT = 600.0


class Marginals(NamedTuple):
    """``projected[m][t]``: probability that mention m lands on its candidate t; ``absent[m]``: on none.

    ``log_partition`` is log Z. ``exact`` is False where a component exceeded TRANSITION_LIMIT, so that its
    mentions were taken as independent, or had to have scores cut.
    """

    projected: list[list[float]]
    absent: list[float]
    log_partition: float
    exact: bool


def marginals(candidates: Sequence[Sequence[Candidate]]) -> Marginals:
    """The posteriors of every candidate. Candidates may come in any order."""
    projected: list[list[float]] = [[] for _ in candidates]
    absent = [1.0] * len(candidates)
    total, exact = 0.0, True
    for component in components(candidates) if len(candidates) > 1 else [[0]] * len(candidates):
        competing = [candidates[mention] for mention in component]
        summed = _sum_component(competing) if len(competing) > 1 else None
        if summed is None:
            exact = exact and len(competing) == 1
            for mention in component:
                projected[mention], absent[mention], log_sum = independent(candidates[mention])
                total += log_sum
            continue
        posteriors, log_sum, in_range = summed
        exact = exact and in_range
        total += log_sum
        for mention, values in zip(component, posteriors, strict=True):
            projected[mention] = [min(1.0, value) for value in values]
            absent[mention] = max(0.0, 1.0 - fsum(values))
    return Marginals(projected, absent, total, exact)


def independent(candidates: Sequence[Candidate]) -> tuple[list[float], float, float]:
    """Posteriors of one mention that competes with nobody, of its absence, and the log of their sum."""
    peak = max(0.0, max((score for score, _, _ in candidates), default=0.0))
    weights = [exp(score - peak) for score, _, _ in candidates]
    absent = exp(-peak)
    total = fsum(weights) + absent
    return [weight / total for weight in weights], absent / total, peak + log(total)


def _sum_component(candidates: Sequence[Sequence[Candidate]]) -> tuple[list[list[float]], float, bool] | None:
    """Posteriors, log Z and whether they are exact; None beyond TRANSITION_LIMIT.

    Forward and backward sums over the states of one component. Weights are plain numbers, not logarithms: leaving
    every mention out weighs 1, so sums are at least 1 and what underflows is negligible beside them.
    """
    programme = programme_positions(candidates)
    limit = LARGEST_LOG_WEIGHT / len(candidates)
    weights = [[exp(score) if score < limit else exp(limit) for score, _, _ in spans] for spans in candidates]
    forward: list[dict[int, float]] = [{} for _ in programme]
    forward[0][0] = 1.0
    transitions = 0
    for place, position in enumerate(programme[:-1]):
        table = forward[place]
        transitions += len(table) * (1 + len(position.starts))
        if transitions > TRANSITION_LIMIT:
            return None
        starts = [
            (1 << mention, weights[mention][choice], forward[after], programme[after].live)
            for mention, choice, after in position.starts
        ]
        following, live = forward[place + 1], programme[place + 1].live
        for used, value in table.items():
            key = used & live
            following[key] = following.get(key, 0.0) + value
            for bit, weight, goal, goal_live in starts:
                if not used & bit:
                    key = (used | bit) & goal_live
                    goal[key] = goal.get(key, 0.0) + value * weight
    total = forward[-1][0]
    posteriors = [[0.0] * len(spans) for spans in candidates]
    backward: list[dict[int, float]] = [{} for _ in programme]
    backward[-1][0] = 1.0
    for place in range(len(programme) - 2, -1, -1):
        table, following, live = backward[place], backward[place + 1], programme[place + 1].live
        starting = [
            (1 << mention, weights[mention][choice], backward[after], programme[after].live, mention, choice)
            for mention, choice, after in programme[place].starts
        ]
        for used, value in forward[place].items():
            below = following[used & live]
            share = value / total
            for bit, weight, goal, goal_live, mention, choice in starting:
                if not used & bit:
                    rest = weight * goal[(used | bit) & goal_live]
                    posteriors[mention][choice] += share * rest
                    below += rest
            table[used] = below
    exact = all(score < limit for spans in candidates for score, _, _ in spans)
    return posteriors, log(total), exact
