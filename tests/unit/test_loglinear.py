"""The fitted default projector: probabilities, independence of batches, missing signals, fitting."""

from __future__ import annotations

import itertools
import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.soak import rounds
from xner_label.entities import Task
from xner_label.errors import ConfigurationError, RecordError, UsageError
from xner_label.projection.fitting.examples import read_example
from xner_label.projection.fitting.files import fit_files
from xner_label.projection.fitting.sentence_weights import fit_weights
from xner_label.projection.loglinear.columns import Vocabulary
from xner_label.projection.loglinear.decoding import solve
from xner_label.projection.loglinear.features import CANDIDATE_FEATURES, MENTION_FEATURES
from xner_label.projection.loglinear.model import Model, SentenceBatch
from xner_label.projection.loglinear.projector import LogLinearProjector
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import build_instance

PAIRS = [
    ("Anna lives in Nairobi .", "Anna anaishi Nairobi .", "0-0 1-1 2-2:0.5 3-2 4-3", ["PER 0 1", "LOC 3 4"]),
    ("The African Union met Amina Diallo .", "AU ilikutana na Amina Diallo .", "", ["ORG 1 3", "PER 4 6"]),
    ("Lucie Zürich", "Lusi waku-Zurich", "0-0", ["PER 0 1", "LOC 1 2"]),
    ("Kenya beat Kenya in Kenya", "Kenya Kenya Kenya", "0-0 2-1 4-2", ["LOC 0 1", "ORG 2 3", "LOC 4 5"]),
]


def task(number=0, *, scores=True, links=True, **changes):
    source, text, alignment, mentions = PAIRS[number % len(PAIRS)]
    words, entities, at = source.split(), [], 0
    starts = []
    for word in words:
        starts.append(at)
        at += len(word) + 1
    for mention in mentions:
        label, first, last = mention.split()
        end = starts[int(last) - 1] + len(words[int(last) - 1])
        entities.append(
            {"start": starts[int(first)], "end": end, "label": label} | ({"score": 0.9} if scores else {})
        )
    row = {"id": number, "text": text, "tokens": text.split(), "source": source, "source_tokens": words}
    row |= {"source_entities": entities} | ({"alignment": alignment} if links else {}) | changes
    return msgspec.convert(row, Task)


def instances(count=8, **options):
    return [build_instance(task(number, **options))[0] for number in range(count)]


@pytest.fixture(scope="module")
def projector():
    return LogLinearProjector(Weights.load())


@pytest.mark.parametrize("scores", [True, False])
@pytest.mark.parametrize("links", [True, False])
def test_missing_signals_and_probabilities(projector, scores, links):
    for instance, projections in zip(
        instances(scores=scores, links=links),
        projector.project(instances(scores=scores, links=links)),
        strict=True,
    ):
        assert [p.first for p in projections] == sorted(p.first for p in projections)
        kept = [p.mention for p in projections if p.mention is not None]
        assert len(set(kept)) == len(kept)
        assert all(0 <= p.confidence <= 1 for p in projections)
        assert all(a.last <= b.first for a, b in itertools.pairwise(projections))
        if not scores:  # labels that people gave stay
            assert all(p.label == instance.mentions[p.mention].label for p in projections)


def test_obvious_names_are_found(projector):
    (projections,) = projector.project(instances(1, scores=False))
    assert [(p.first, p.last, p.label) for p in projections] == [(0, 1, "PER"), (2, 3, "LOC")]
    assert all(p.confidence > 0.8 for p in projections)


def test_a_source_entity_given_twice_is_as_sure_as_once(projector):
    plain = task(scores=False)
    twice = task(scores=False, source_entities=[entity for entity in plain.source_entities for _ in range(3)])
    (single,), (many,) = (projector.project([build_instance(each)[0]]) for each in (plain, twice))
    assert [p.confidence for p in many] == [p.confidence for p in single]
    assert [p.mention for p in many] == [3 * p.mention for p in single]


def test_a_name_that_the_tagger_overlooked_is_added_without_a_source_entity(projector):
    complete = task()
    (projections,) = projector.project([build_instance(task(source_entities=complete.source_entities[:1]))[0]])
    assert [(p.mention, p.first, p.label) for p in projections] == [(0, 0, "PER"), (None, 2, "LOC")]


@pytest.mark.parametrize("changes", [{"scores": False}, {"label": "person"}])
def test_nothing_is_added_to_what_people_gave_nor_to_labels_of_another_set(projector, changes):
    entity = task(scores=changes.get("scores", True)).source_entities[0]
    entity = msgspec.structs.replace(entity, label=changes.get("label", entity.label))
    (projected,) = projector.project([build_instance(task(source_entities=[entity]))[0]])
    assert [p.mention for p in projected] == [0]


def test_nothing_to_project(projector):
    empty = [task(source_entities=[]), task(text="", tokens=[], alignment=""), task(0, alignment="")]
    projected = projector.project([build_instance(task)[0] for task in empty])
    assert projected[:2] == [[], []]
    assert projected[2]  # by similarity of strings alone
    assert projector.project([]) == []


@pytest.mark.soak
@settings(max_examples=rounds(25), deadline=None)
@given(order=st.lists(st.integers(0, 7), min_size=1, max_size=12))
def test_answers_do_not_depend_on_the_batch(order):
    batch = instances()
    projector = LogLinearProjector(Weights.load())
    together = projector.project([batch[number] for number in order])
    alone = [LogLinearProjector(Weights.load()).project([batch[number]])[0] for number in order[:3]]
    assert together[:3] == alone


@pytest.mark.soak
@settings(max_examples=rounds(40), deadline=None)
@given(
    text=st.lists(st.text(min_size=1, max_size=6).filter(lambda word: word.split() == [word]), max_size=8),
    source=st.lists(
        st.text(min_size=1, max_size=6).filter(lambda word: word.split() == [word]), min_size=1, max_size=8
    ),
    data=st.data(),
)
def test_any_text_is_survived(text, source, data):
    last = data.draw(st.integers(1, len(source)))
    joined = " ".join(source)
    row = {
        "id": 1,
        "text": " ".join(text),
        "tokens": text,
        "source": joined,
        "source_tokens": source,
        "source_entities": [{"start": 0, "end": len(" ".join(source[:last])), "label": "X", "score": 0.5}],
    }
    instance, _ = build_instance(msgspec.convert(row, Task))
    (projected,) = LogLinearProjector(Weights.load()).project([instance])
    assert all(0 <= p.first < p.last <= len(text) and 0 <= p.confidence <= 1 for p in projected)


def test_marginals_of_a_batch_sum_to_at_most_one():
    batch = SentenceBatch(instances(), Vocabulary())
    probability, chosen, exact = solve(batch.candidates, batch.log_odds(Model(Weights.load())))
    totals = np.bincount(batch.candidates.mention, probability, len(batch.candidates.at) - 1)
    assert (totals <= 1 + 1e-9).all()
    assert exact.all()
    spans = sorted(
        zip(batch.candidates.first[chosen[chosen >= 0]], batch.candidates.last[chosen[chosen >= 0]], strict=True)
    )
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))


def test_features_are_finite_and_named():
    batch = SentenceBatch(instances(), Vocabulary())
    assert batch.features.candidate.shape[1] == len(CANDIDATE_FEATURES) == len(set(CANDIDATE_FEATURES))
    assert batch.features.mention.shape == (len(batch.columns.size), len(MENTION_FEATURES))
    assert np.isfinite(batch.features.candidate).all()
    assert np.isfinite(batch.features.mention).all()


def gold_task(number):
    text = PAIRS[number % len(PAIRS)][1]
    first = text.split()[0]
    return task(number, entities=[{"start": 0, "end": len(first), "label": "PER"}])


def test_fitting_is_deterministic_and_adapts():
    examples = [read_example(gold_task(number)) for number in range(24)]
    weights = fit_weights([examples], "twenty-four")
    assert weights.dump() == fit_weights([examples], "twenty-four").dump()
    adapted = fit_weights([examples], "twenty-four", start=Weights.load())
    assert adapted.digest != Weights.load().digest
    projected = LogLinearProjector(adapted).project([example.instance for example in examples])
    assert all(projections[0].first == 0 for projections in projected)


def test_adapting_keeps_the_calibration_of_what_the_gold_does_not_show():
    examples = [
        read_example(task(number, scores=False, entities=gold_task(number).entities)) for number in range(24)
    ]
    shipped = Weights.load()
    adapted = fit_weights([examples], "given entities alone", start=shipped)
    assert adapted.tagged.calibration == shipped.tagged.calibration
    assert adapted.overlooked.calibration == shipped.overlooked.calibration
    assert adapted.given.calibration != shipped.given.calibration


def test_fitting_says_what_is_wrong(tmp_path):
    with pytest.raises(UsageError, match="too few"):
        fit_weights([[read_example(gold_task(0))]], "one")
    bad = tmp_path / "gold.jsonl"
    bad.write_text(json.dumps({"id": 1, "text": "a", "tokens": ["b"]}) + "\n")
    with pytest.raises(RecordError, match="line 1: tokens"):
        fit_files([bad])
    with pytest.raises(ConfigurationError, match="can't read the weights"):
        Weights.load(bad)


def test_words_are_folded_and_never_to_nothing():
    vocabulary = Vocabulary()
    vocabulary.ids(["Zürich", "NAIROBI", "\u0301"])
    assert vocabulary.folded == ["zurich", "nairobi", "\u0301"]


@pytest.mark.parametrize(("name", "floor"), [("europarl/de.weak", 0.87), ("lowres/tsn/projection", 0.64)])
def test_shipped_weights_on_real_data(bench_data, projector, name, floor):
    examples = [
        read_example(msgspec.json.decode(line, type=Task))
        for line in (bench_data / f"{name}.jsonl").read_bytes().splitlines()
    ]
    right = predicted = 0
    for example, projected in zip(examples, projector.project([e.instance for e in examples]), strict=True):
        kept = [p for p in projected if p.confidence >= projector.cut]
        predicted += len(kept)
        right += sum((p.first, p.last, p.label) in example.gold for p in kept)
    assert 2 * right / (predicted + sum(len(example.gold) for example in examples)) > floor
