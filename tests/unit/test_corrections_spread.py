"""What people settle in some sentences changes the projection of the others, and no more than it should."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from tests.misnamed_corpus import misnamed_corpus as corpus
from xner_label.projection.corpus.evidence import Observations, sums_elsewhere
from xner_label.projection.corpus.projector import project_corpus
from xner_label.projection.corpus.rounds import first_opinion
from xner_label.projection.corpus.settled import clamped, settle
from xner_label.projection.fitting import chance
from xner_label.projection.fitting.adaptation import judge
from xner_label.projection.fitting.chance import STRENGTHS, best_strength, is_worse
from xner_label.projection.fitting.corrections import early_tags, spread
from xner_label.projection.fitting.examples import Example
from xner_label.projection.fitting.recalibration import best_expected_cut
from xner_label.projection.fitting.sentence_adaptation import adapt_sentence_weights
from xner_label.projection.loglinear.model import Model
from xner_label.projection.loglinear.weights_file import Weights


@pytest.fixture(scope="module")
def world():
    weights = Weights.load()
    instances, gold = corpus()
    observations = Observations(instances, [Model(weights)], [0] * len(instances))
    return observations, weights.rounds, gold, early_tags(observations, weights.rounds)


def right(observations, result, gold, which):
    chosen = result.chosen.select(result.chosen.confidence >= result.cut)
    counted = judge(observations, chosen, dict(enumerate(gold)))
    return int(counted[np.isin(chosen.sentence, which)].sum())


def test_settled_spans_find_the_mentions_that_they_came_from(world):
    observations, _, gold, _ = world
    settled = settle(observations, {3: gold[3], 4: [(0, 1, "PER"), (1, 2, "PER")], 5: []})
    assert settled.reviewed.sum() == 3
    relabelled = [settled.label[m] for m in np.flatnonzero(observations.sentence == 3)]
    assert [observations.labels[place] for place in relabelled] == ["PER", "LOC"]
    assert (settled.candidate[observations.sentence == 5] == -1).all()
    # one mention can't be the source of two spans
    assert list(zip(settled.loose.sentence, settled.loose.last - settled.loose.first, strict=True)) == [(4, 1)]
    assert settled.right.sum() == (settled.candidate >= 0).sum() == 3


def test_reviewed_sentences_vote_with_their_weight_and_against_what_was_removed(world):
    observations, _, gold, _ = world
    belief = first_opinion(observations)
    settled = settle(observations, {4: gold[4], 5: []})
    sums = sums_elsewhere(observations, clamped(observations, belief, settled), settled.weight, settled.loose)
    plain = sums_elsewhere(observations, belief)
    same_name = observations.name == observations.name[np.flatnonzero(observations.sentence == 5)[0]]
    in_others = same_name & (observations.sentence != 5)
    np.testing.assert_allclose(sums.names[in_others], plain.names[in_others] + settled.weight[5] - 1)
    assert (sums.absent[in_others] > plain.absent[in_others] + 9).all()
    reviewed = observations.sentence == 5
    np.testing.assert_allclose(sums.absent[reviewed], plain.absent[reviewed])  # its own answer is left out


def test_a_few_corrections_settle_the_same_names_elsewhere(world):
    observations, rounds, gold, early = world
    reviewed, rest = range(48), range(48, len(gold))
    result = spread(observations, rounds, early, {number: gold[number] for number in reviewed})
    untouched = spread(observations, rounds, early, {})
    assert right(observations, untouched, gold, rest) < 1.9 * len(rest)
    assert right(observations, result, gold, rest) == 2 * len(rest)
    assert result.adapted.effects.label or result.adapted.effects.span


def test_without_an_answer_the_corpus_is_projected_as_it_is_by_itself(world):
    observations, rounds, _, early = world
    result = spread(observations, rounds, early, {})
    alone, evidence = project_corpus(observations, rounds)
    assert result.adapted.round == rounds[-1]
    assert [tagger.to_bytes() for tagger in result.tagged.taggers] == [
        tagger.to_bytes() for tagger in evidence.tagged.taggers
    ]
    for left, other in zip(result.chosen, alone, strict=True):
        np.testing.assert_array_equal(left, other)


def test_the_same_answers_give_the_same_state(world):
    observations, rounds, gold, early = world
    answers = {number: gold[number] for number in range(24)}
    first, second = (spread(observations, rounds, early, answers) for _ in range(2))
    assert first.adapted == second.adapted
    for left, other in zip(first.chosen, second.chosen, strict=True):
        np.testing.assert_array_equal(left, other)


def test_a_tenth_of_wrong_answers_costs_no_more_than_they_are(world):
    observations, rounds, gold, early = world
    reviewed, rest = range(60), range(60, len(gold))
    answers = {number: list(gold[number]) for number in reviewed}
    honest = spread(observations, rounds, early, answers)
    flip = {"PER": "LOC", "LOC": "PER"}
    spans = [(number, place) for number in reviewed for place in range(2)]
    for number, place in random.Random(3).sample(spans, len(spans) // 10):
        first, last, label = answers[number][place]
        answers[number][place] = (first, last, flip[label])
    misled = spread(observations, rounds, early, answers)
    assert right(observations, misled, gold, rest) >= 0.9 * right(observations, honest, gold, rest)


def test_nothing_is_adapted_to_next_to_nothing(world):
    observations, rounds, gold, early = world
    result = spread(observations, rounds, early, {0: gold[0]})
    assert result.adapted.round == rounds[-1]
    assert not result.adapted.effects.span


def test_of_what_few_answers_teach_nothing_is_used_that_could_be_chance(world, monkeypatch):
    observations, rounds, gold, early = world
    answers = dict(enumerate(gold[:48]))
    assert spread(observations, rounds, early, answers).adapted.effects.span
    monkeypatch.setattr(chance, "_SURELY", 1e9)
    result = spread(observations, rounds, early, answers)
    assert (result.adapted.effects.span, result.adapted.effects.label) == ({}, {})
    for name in ("given", "tagged", "overlooked", "label"):
        was, is_ = (getattr(each, name) for each in (rounds[-1], result.adapted.round))
        assert {key: value for key, value in is_.items() if value} == pytest.approx(was, abs=1e-5)
    assert result.adapted.round.calibration == rounds[-1].calibration
    assert result.adapted.round.added == rounds[-1].added
    assert result.cut == rounds[-1].cut


def test_a_gain_that_few_answers_show_has_to_exceed_chance():
    noise = np.random.default_rng(1).normal(0.0, 1.0, 400)
    usual, gain = np.full(400, 5.0), noise - noise.mean() + 0.2
    strong, faint = (
        np.array([usual - strength * (gain - less) for strength in STRENGTHS]) for less in (0.0, 0.15)
    )
    assert best_strength(strong, few=True) == 1.0
    assert (best_strength(faint, few=True), best_strength(faint, few=False)) == (0.0, 1.0)
    # sure of itself, but next to nothing
    small = np.outer([-strength for strength in STRENGTHS], np.full(40, 0.09))
    assert (best_strength(small, few=True), best_strength(small, few=False)) == (0.0, 1.0)
    for few in (False, True):
        assert best_strength(strong[::-1], few=few) == 0.0
        assert best_strength(np.zeros((len(STRENGTHS), 0)), few=few) == 0.0
        halfway = np.outer([(strength - 0.5) ** 2 for strength in STRENGTHS], np.ones(400))
        assert best_strength(halfway, few=few) == 0.5


def test_labels_that_only_people_gave_take_part():
    weights = Weights.load()
    instances, gold = corpus(80)
    answers = {number: [(gold[number][0][0], gold[number][0][1], "GOD")] for number in range(20)}
    observations = Observations(instances, [Model(weights)], [0] * len(instances), more_labels={"GOD"})
    result = spread(observations, weights.rounds, early_tags(observations, weights.rounds), answers)
    assert "GOD" in observations.labels
    kept = result.chosen.select(result.chosen.confidence >= result.cut)
    names = [observations.labels[label] for label in kept.label.tolist()]
    assert names.count("GOD") > 20


def test_what_does_worse_by_more_than_chance_is_refused():
    generator = random.Random(1)
    counts = np.array(
        [[generator.random() < 0.6, 1, 1, generator.random() < 0.8, 1, 1] for _ in range(300)], float
    )
    assert is_worse(counts)
    assert not is_worse(counts[:, [3, 4, 5, 0, 1, 2]])
    assert not is_worse(counts[:8])
    assert not is_worse(np.zeros((0, 6)))


def test_the_cut_maximises_expected_f1():
    sure = np.array([0.95] * 80 + [0.45] * 20 + [0.1] * 50)
    cut = best_expected_cut(sure, 0.4)
    kept = {c: 2 * sure[sure >= c].sum() / ((sure >= c).sum() + 1.03 * sure.sum()) for c in (0.2, 0.5, cut)}
    assert kept[cut] == max(kept.values())
    assert best_expected_cut(np.zeros(0), 0.37) == 0.37


def test_spans_never_overlap(world):
    observations, rounds, gold, early = world
    result = spread(observations, rounds, early, {number: gold[number] for number in range(24)})
    rows = sorted(zip(result.chosen.sentence, result.chosen.first, result.chosen.last, strict=True))
    for (number, _, last), (other, first, _) in itertools.pairwise(rows):
        assert number != other or last <= first


def test_weights_of_single_sentences_adapt_where_that_helps():
    weights = Weights.load()
    instances, gold = corpus(40)
    examples = [Example(instance, tuple(spans)) for instance, spans in zip(instances, gold, strict=True)]
    adapted = adapt_sentence_weights(weights, examples)
    assert adapted.digest != weights.digest
    assert adapted.rounds == weights.rounds
    assert adapt_sentence_weights(weights, examples[:4]) == weights
