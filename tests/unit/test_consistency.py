"""What a round has concluded of a text in other sentences, and what it is worth there."""

from __future__ import annotations

from collections import defaultdict

import msgspec
import numpy as np
import pytest

from tests.misnamed_corpus import misnamed_corpus
from xner_label.evaluation.metrics import auroc
from xner_label.projection.corpus.consistency import (
    KEYS,
    UNCHANGED,
    Consistency,
    confidence_signals,
    elsewhere_in_corpus,
    relabelled,
    sums_by_key,
    surer,
)
from xner_label.projection.corpus.effects import shift_of
from xner_label.projection.corpus.evidence import Observations
from xner_label.projection.corpus.rounds import (
    RoundModel,
    label_scores,
    project_corpus,
    text_of,
)
from xner_label.projection.corpus.settled import NameAnswers, settle
from xner_label.projection.fitting.adaptation import Adapted, project_adapted
from xner_label.projection.fitting.consistency import (
    POOLED_CONFIDENCE,
    POOLED_LABEL,
    consistent,
    counted_spans,
    judge,
)
from xner_label.projection.fitting.corrections import early_tags, spread
from xner_label.projection.loglinear.model import Model
from xner_label.projection.loglinear.weights_file import Weights


@pytest.fixture(scope="module")
def world():
    weights = Weights.load()
    instances, gold = misnamed_corpus()
    observations = Observations(instances, [Model(weights)], [0] * len(instances))
    chosen, evidence = project_corpus(observations, weights.rounds)
    return weights, observations, gold, chosen, evidence


def doubted(observations, chosen, gold, seed=7):
    """Spans whose own confidence says little: that of a text which is an entity is a bit higher on average."""
    generator = np.random.default_rng(seed)
    right = judge(observations, chosen, dict(enumerate(gold)))
    odds = 0.6 * np.where(right, 1.0, -1.0) + generator.normal(0, 1.5, len(right))
    return chosen._replace(confidence=1 / (1 + np.exp(-odds)))


def fitted(world, chosen, gold, *, answers=None, few=False):
    weights, observations, _, _, evidence = world
    model = RoundModel(weights.rounds[-1])
    fold = np.arange(len(observations.instances)) % 3
    return consistent(
        observations, chosen, label_scores(observations, evidence, model), evidence.tagged,
        settle(observations, gold, answers), gold, model.calibration, fold, few=few,
    )  # fmt: skip


def test_other_sentences_speak_and_never_the_own_one(world):
    _, observations, gold, chosen, _ = world
    reviewed = {number: gold[number] for number in range(40)}
    spans = counted_spans(observations, chosen, settle(observations, reviewed), reviewed)
    elsewhere = elsewhere_in_corpus(observations, spans, chosen)
    columns = (spans.text, spans.sentence, spans.label, spans.odds, spans.probability)
    rows = list(zip(*columns, strict=True))
    words = {"text": str, "first": lambda text: text.split()[0], "last": lambda text: text.split()[-1]}
    for number, key in enumerate(KEYS):
        alike = defaultdict(list)
        for row in rows:
            alike[words[key](row[0])].append(row)
        for at, text in enumerate(text_of(observations, chosen)):
            expected = np.zeros((3, len(observations.labels)))
            for _, sentence, label, odds, probability in alike[words[key](text)]:
                if sentence != chosen.sentence[at]:
                    expected[:, label] += 1.0, odds, probability
            np.testing.assert_allclose([part[number, at] for part in elsewhere], expected, atol=1e-9)

    known = np.isin(spans.sentence, list(reviewed))
    assert set(spans.odds[known].tolist()) <= {4.0, -4.0}
    assert set(spans.probability[known].tolist()) <= {0.0, 1.0}
    settled = {(number, label) for number, entities in reviewed.items() for _, _, label in entities}
    sure = zip(spans.sentence[known & (spans.odds > 0)], spans.label[known & (spans.odds > 0)], strict=True)
    assert {(int(number), observations.labels[label]) for number, label in sure} == settled


def test_a_new_sentence_is_told_what_the_whole_corpus_says(world):
    _, observations, gold, chosen, _ = world
    reviewed = {number: gold[number] for number in range(40)}
    spans = counted_spans(observations, chosen, settle(observations, reviewed), reviewed)
    learned = Consistency(observations.labels, sums_by_key(observations, spans), (0.5, 0.0, 0.0), UNCHANGED)
    learned = msgspec.msgpack.decode(msgspec.msgpack.encode(learned), type=Consistency)
    texts = text_of(observations, chosen)
    told = learned.elsewhere(observations, [*texts, "nowhere"])
    others = elsewhere_in_corpus(observations, spans, chosen)
    assert (told.spans[:, :-1] >= others.spans).all()
    assert not np.array(told)[:, :, -1].any()
    # a label that the corpus didn't have is in no table
    more = Observations(observations.instances, [Model(world[0])], [0] * 160, more_labels=["ANIMAL"])
    wider = learned.elsewhere(more, texts)
    place = more.labels.index("ANIMAL")
    assert not wider.spans[..., place].any()
    np.testing.assert_array_equal(np.delete(wider.odds, place, axis=2), told.odds[:, :-1])


def test_answers_teach_how_much_other_sentences_are_worth(world):
    _, observations, gold, chosen, _ = world
    doubtful = doubted(observations, chosen, gold)
    reviewed = {number: gold[number] for number in range(70)}
    learned, after = fitted(world, doubtful, reviewed)
    assert learned is not None
    assert sum(learned.confidence[4:]) > 0.3
    rest = after.sentence >= len(reviewed)
    right = judge(observations, after, dict(enumerate(gold)))
    assert auroc(after.confidence[rest], right[rest]) > auroc(doubtful.confidence[rest], right[rest]) + 0.1
    again, _ = fitted(world, doubtful, reviewed)
    assert again == learned


def test_what_is_said_of_a_reviewed_sentence_knows_no_answer_of_its_own(world):
    _, observations, gold, chosen, _ = world
    doubtful = doubted(observations, chosen, gold)
    reviewed = {number: list(gold[number]) for number in range(70)}
    _, after = fitted(world, doubtful, reviewed)
    changed = reviewed | {3: []}
    _, other = fitted(world, doubtful, changed)
    np.testing.assert_allclose(
        after.confidence[after.sentence == 3], other.confidence[other.sentence == 3], atol=0.003
    )
    # it speaks for the same texts elsewhere, though
    assert np.abs(after.confidence - other.confidence).max() > 0.01


def test_few_answers_leave_it_as_in_other_languages(world):
    weights, observations, gold, chosen, _ = world
    doubtful = doubted(observations, chosen, gold)
    learned, after = fitted(world, doubtful, {0: gold[0], 1: gold[1]}, few=True)
    assert (learned.label, learned.confidence) == (POOLED_LABEL, POOLED_CONFIDENCE)
    right = judge(observations, after, dict(enumerate(gold)))
    assert auroc(after.confidence, right) > auroc(doubtful.confidence, right)
    # and without any there is no such stage
    result = spread(observations, weights.rounds, early_tags(observations, weights.rounds), {})
    assert result.adapted.consistency is None


def test_nothing_changes_where_other_sentences_teach_nothing(world):
    """Each of the texts is right half of the time, whatever it is elsewhere, and every confidence says so."""
    _, observations, gold, chosen, _ = world
    known, told = observations.incomplete, chosen._replace(confidence=np.full(len(chosen.label), 0.5))
    generator = np.random.default_rng(3)
    half = {number: [entity for entity in gold[number] if generator.random() < 0.5] for number in range(100)}
    observations.incomplete = [False] * len(known)
    try:
        learned, after = fitted(world, told, half)
        few, _ = fitted(world, told, {0: gold[0]}, few=True)
    finally:
        observations.incomplete = known
    assert few is None
    if learned is None:
        for left, other in zip(after, told, strict=True):
            np.testing.assert_array_equal(left, other)
    else:
        assert np.abs(after.confidence - 0.5).max() < 0.35


def test_a_label_that_people_gave_in_the_source_stays(world):
    weights, observations, gold, chosen, evidence = world
    model = RoundModel(weights.rounds[-1])
    scores = label_scores(observations, evidence, model)
    reviewed = {number: gold[number] for number in range(70)}
    spans = counted_spans(observations, chosen, settle(observations, reviewed), reviewed)
    elsewhere = elsewhere_in_corpus(observations, spans, chosen)
    other = elsewhere._replace(odds=-elsewhere.odds)
    worth = np.full((len(chosen.label), len(KEYS)), 20.0)
    after = relabelled(observations, chosen, scores, other, worth, model.calibration)
    assert (after.label != chosen.label).any()
    observations.open[:] = False
    try:
        kept = relabelled(observations, chosen, scores, other, worth, model.calibration)
    finally:
        observations.open[:] = True
    np.testing.assert_array_equal(kept.label, chosen.label)
    np.testing.assert_array_equal(kept.confidence, chosen.confidence)


def test_the_spans_of_answers_about_names_speak_as_people_settled_them(world):
    _, observations, gold, chosen, _ = world
    row = int(np.flatnonzero((chosen.mention >= 0) & (chosen.sentence == 100))[0])
    for label, odds in ((int(chosen.label[row]), 4.0), (-1, -4.0)):
        answers = NameAnswers(
            *(
                np.array([value])
                for value in (100, chosen.mention[row], chosen.first[row], chosen.last[row], label)
            )
        )
        spans = counted_spans(observations, chosen, settle(observations, {0: gold[0]}, answers), {0: gold[0]})
        assert spans.odds[row] == odds


def test_a_later_sentence_is_told_what_the_corpus_concluded(world):
    weights, observations, gold, chosen, evidence = world
    reviewed = {number: gold[number] for number in range(70)}
    learned, _ = fitted(world, doubted(observations, chosen, gold), reviewed)
    plain = spread(observations, weights.rounds, early_tags(observations, weights.rounds), reviewed).adapted
    adapted = Adapted(plain.round, plain.effects, learned)
    before = project_adapted(observations, evidence, msgspec.structs.replace(adapted, consistency=None))
    after = project_adapted(observations, evidence, adapted)
    elsewhere = learned.elsewhere(observations, text_of(observations, before))
    worth = np.tile(np.array(learned.label), (len(before.label), 1))
    calibration = RoundModel(plain.round).calibration
    scores = label_scores(observations, evidence, RoundModel(plain.round), shift_of(observations, plain.effects))
    named = relabelled(observations, before, scores, elsewhere, worth, calibration)
    expected = surer(named, confidence_signals(named, elsewhere, evidence.tagged), np.array(learned.confidence))
    for left, other in zip(after, expected, strict=True):
        np.testing.assert_array_equal(left, other)
    assert not np.array_equal(after.confidence, before.confidence)


def test_a_corpus_with_nothing_projected(world):
    _, _, gold, chosen, _ = world
    nothing = chosen.select(np.zeros(len(chosen.label), bool))
    _, after = fitted(world, nothing, {number: gold[number] for number in range(70)})
    assert not len(after.label)
