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
    SpokenSums,
    confidence_signals,
    consistent_in_corpus,
    counted_spans,
    elsewhere_in_corpus,
    judge,
    relabelled,
    surer,
)
from xner_label.projection.corpus.effects import shift_of
from xner_label.projection.corpus.evidence import Observations
from xner_label.projection.corpus.projector import project_corpus
from xner_label.projection.corpus.rounds import RoundModel, label_scores, text_of
from xner_label.projection.corpus.settled import NameAnswers, settle
from xner_label.projection.fitting.adaptation import Adapted, project_adapted
from xner_label.projection.fitting.consistency import consistent, with_stage
from xner_label.projection.fitting.corrections import early_tags, spread
from xner_label.projection.loglinear.model import Model
from xner_label.projection.loglinear.weights_file import ConsistencyWeights, SecondStage, Weights

STAGE = ConsistencyWeights((0.35, 0.25, 0.5), (-0.35, 1.0, 0.2, -0.55, 0.45, 0.55, 0.95))


def with_numbers(weights, numbers):
    """The weights with a second stage of these numbers, None: without one."""
    return msgspec.structs.replace(weights, rounds=(*weights.rounds[:-1], with_stage(weights.rounds[-1], numbers)))


@pytest.fixture(scope="module")
def world():
    weights = with_numbers(Weights.load(), None)
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


def fitted(world, chosen, gold, *, answers=None, few=False, centre=STAGE):
    """The numbers fitted to answers around ``centre``, what the spans say, and the spans after the stage."""
    weights, observations, _, _, evidence = world
    last = with_stage(weights.rounds[-1], centre)
    fold = np.arange(len(observations.instances)) % 3
    round_, spoken, after = consistent(
        observations, chosen, label_scores(observations, evidence, RoundModel(last)), evidence.tagged,
        settle(observations, gold, answers), gold, last, fold, few=few,
    )  # fmt: skip
    assert (spoken is None) == (round_.consistency is msgspec.UNSET)
    if round_.caseless:
        assert round_.caseless.consistency == round_.consistency
    return round_.consistency.tagged if spoken else None, spoken, after


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
    learned = msgspec.msgpack.decode(msgspec.msgpack.encode(SpokenSums.of(observations, spans)), type=SpokenSums)
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
    learned, _, after = fitted(world, doubtful, reviewed)
    assert learned is not None
    assert sum(learned.confidence[4:]) > 0.3
    rest = after.sentence >= len(reviewed)
    right = judge(observations, after, dict(enumerate(gold)))
    assert auroc(after.confidence[rest], right[rest]) > auroc(doubtful.confidence[rest], right[rest]) + 0.1
    again, _, _ = fitted(world, doubtful, reviewed)
    assert again == learned


def test_what_is_said_of_a_reviewed_sentence_knows_no_answer_of_its_own(world):
    _, observations, gold, chosen, _ = world
    doubtful = doubted(observations, chosen, gold)
    reviewed = {number: list(gold[number]) for number in range(70)}
    _, _, after = fitted(world, doubtful, reviewed)
    changed = reviewed | {3: []}
    _, _, other = fitted(world, doubtful, changed)
    np.testing.assert_allclose(
        after.confidence[after.sentence == 3], other.confidence[other.sentence == 3], atol=0.003
    )
    # it speaks for the same texts elsewhere, though
    assert np.abs(after.confidence - other.confidence).max() > 0.01


def test_few_answers_leave_it_as_in_other_languages(world):
    _, observations, gold, chosen, _ = world
    doubtful = doubted(observations, chosen, gold)
    learned, _, after = fitted(world, doubtful, {0: gold[0], 1: gold[1]}, few=True)
    assert learned == STAGE
    right = judge(observations, after, dict(enumerate(gold)))
    assert auroc(after.confidence, right) > auroc(doubtful.confidence, right)


def test_without_answers_the_numbers_of_the_weights_file_serve(world):
    """One corpus mode: as a projector, as what a project learns, and as what a new sentence is told."""
    weights, observations, gold, before, evidence = world
    staged = with_numbers(weights, STAGE)
    after, _ = project_corpus(observations, staged.rounds)
    assert np.abs(after.confidence - before.confidence).max() > 0.01
    spans = counted_spans(observations, before, settle(observations, {}), {})
    elsewhere = elsewhere_in_corpus(observations, spans, before)
    scores = label_scores(observations, evidence, RoundModel(weights.rounds[-1]))
    worth = np.tile(np.array(STAGE.label), (len(before.label), 1))
    calibration = RoundModel(weights.rounds[-1]).calibration
    named = relabelled(observations, before, scores, elsewhere, worth, calibration)
    expected = surer(named, confidence_signals(named, elsewhere, evidence.tagged), np.array(STAGE.confidence))
    assert_same(after, expected)

    early = early_tags(observations, staged.rounds)
    result = spread(observations, staged.rounds, early, {})
    assert_same(result.chosen, after)
    assert result.adapted.round == staged.rounds[-1]
    adapted = msgspec.msgpack.decode(msgspec.msgpack.encode(result.adapted), type=Adapted)
    told = adapted.spoken.elsewhere(observations, text_of(observations, before))
    assert (told.spans >= elsewhere.spans).all()
    later = project_adapted(observations, evidence, adapted)
    named = relabelled(observations, before, scores, told, worth, calibration)
    expected = surer(named, confidence_signals(named, told, evidence.tagged), np.array(STAGE.confidence))
    assert_same(later, expected)

    # fewer answers than anything is fitted to are certain in other sentences all the same
    few = spread(observations, staged.rounds, early, {0: gold[0]})
    assert few.adapted.round == staged.rounds[-1]
    assert max(max(row) for row in few.adapted.spoken.by_key[0].values()) > 4.0


def test_weights_from_before_there_was_a_second_stage_do_what_they_did(world):
    weights, observations, _, chosen, _ = world
    text = weights.dump().decode()
    assert '"consistency"' not in text
    assert Weights.digest.fget(msgspec.json.decode(text, type=Weights)) == weights.digest
    result = spread(observations, weights.rounds, early_tags(observations, weights.rounds), {})
    assert_same(result.chosen, chosen)
    assert result.adapted.spoken is None


def test_the_shipped_weights_have_numbers_for_sentences_with_capitals():
    *earlier, last = Weights.load().rounds
    assert not any(each.consistency or each.caseless.consistency for each in earlier)
    assert last.consistency.tagged.label[0] > 0.0
    assert last.consistency.given.label == (0.0, 0.0, 0.0)
    assert not last.caseless.consistency


def test_each_kind_of_sentence_has_numbers_of_its_own(world):
    """Of given source entities and of caseless sentences; without any, bit by bit as before."""
    weights, observations, _, before, evidence = world
    last = weights.rounds[-1]
    only_given = msgspec.structs.replace(last, consistency=SecondStage(given=STAGE))
    assert_same(consistent_in_corpus(observations, evidence, only_given, before), before)
    caseless = msgspec.structs.replace(last.caseless, consistency=SecondStage(STAGE, STAGE))
    only_caseless = msgspec.structs.replace(last, caseless=caseless)
    assert_same(consistent_in_corpus(observations, evidence, only_caseless, before), before)
    both = msgspec.structs.replace(only_given, caseless=caseless)
    known = observations.incomplete, observations.caseless
    observations.incomplete = [number % 2 == 0 for number in range(len(known[0]))]
    observations.caseless = np.arange(len(known[0])) % 4 == 0
    try:
        after = consistent_in_corpus(observations, evidence, both, before)
        untouched = consistent_in_corpus(observations, evidence, last, before)
    finally:
        observations.incomplete, observations.caseless = known
    changed = after.confidence != before.confidence
    assert not changed[before.sentence % 4 == 2].any()
    assert changed[before.sentence % 2 == 1].all()
    assert changed[before.sentence % 4 == 0].all()
    assert_same(untouched, before)


def assert_same(left, right):
    for column, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(column, other)


def test_nothing_changes_where_other_sentences_teach_nothing(world):
    """Each of the texts is right half of the time, whatever it is elsewhere, and every confidence says so."""
    _, observations, gold, chosen, _ = world
    known, told = observations.incomplete, chosen._replace(confidence=np.full(len(chosen.label), 0.5))
    generator = np.random.default_rng(3)
    half = {number: [entity for entity in gold[number] if generator.random() < 0.5] for number in range(100)}
    observations.incomplete = [False] * len(known)
    try:
        learned, _, after = fitted(world, told, half, centre=None)
        few, _, _ = fitted(world, told, {0: gold[0]}, few=True, centre=None)
    finally:
        observations.incomplete = known
    assert few is None
    if learned is None:
        assert_same(after, told)
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
    learned, spoken, _ = fitted(world, doubted(observations, chosen, gold), reviewed)
    plain = spread(observations, weights.rounds, early_tags(observations, weights.rounds), reviewed).adapted
    adapted = Adapted(with_stage(plain.round, learned), plain.effects, spoken)
    before = project_adapted(observations, evidence, msgspec.structs.replace(adapted, spoken=None))
    after = project_adapted(observations, evidence, adapted)
    elsewhere = spoken.elsewhere(observations, text_of(observations, before))
    worth = np.tile(np.array(learned.label), (len(before.label), 1))
    calibration = RoundModel(plain.round).calibration
    scores = label_scores(observations, evidence, RoundModel(plain.round), shift_of(observations, plain.effects))
    named = relabelled(observations, before, scores, elsewhere, worth, calibration)
    expected = surer(named, confidence_signals(named, elsewhere, evidence.tagged), np.array(learned.confidence))
    assert_same(after, expected)
    assert not np.array_equal(after.confidence, before.confidence)


def test_a_corpus_with_nothing_projected(world):
    _, _, gold, chosen, _ = world
    nothing = chosen.select(np.zeros(len(chosen.label), bool))
    _, _, after = fitted(world, nothing, {number: gold[number] for number in range(70)})
    assert not len(after.label)
