"""Corpus mode: sentences inform each other, and what is added says that it has no source entity."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest

from xner_label.entities import Task
from xner_label.errors import ConfigurationError
from xner_label.projection.corpus.evidence import elsewhere
from xner_label.projection.corpus.projector import LogLinearCorpusProjector
from xner_label.projection.fitting.examples import read_example
from xner_label.projection.fitting.files import cased_part, fit_part
from xner_label.projection.loglinear.mentions import NAMELESS
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import build_instance

PEOPLE = ("Asha", "Baraka", "Chausiku", "Daudi", "Eshe", "Furaha", "Goma", "Halima")
PLACES = ("Arusha", "Bukoba", "Dodoma", "Iringa", "Kigoma", "Lindi", "Mbeya", "Tanga", "Kilosa")


def corpus(count=90, *, scores=True):
    """Sentences "PERSON went to PLACE ." whose tagger misses every fifth place."""
    tasks = []
    for number in range(count):
        person, place = PEOPLE[number % len(PEOPLE)], PLACES[number % len(PLACES)]
        source, text = f"{person} went to {place} .", f"{person} alienda {place} ."
        score = {"score": 0.9} if scores else {}
        at = len(person) + len(" went to ")
        entities = [{"start": 0, "end": len(person), "label": "PER"} | score]
        if not scores or number % 5:
            entities.append({"start": at, "end": at + len(place), "label": "LOC"} | score)
        start = len(person) + len(" alienda ")
        gold = [
            {"start": 0, "end": len(person), "label": "PER"},
            {"start": start, "end": start + len(place), "label": "LOC"},
        ]
        row = {"id": number, "text": text, "source": source, "source_entities": entities, "entities": gold}
        tasks.append(msgspec.convert(row | {"alignment": "0-0 1-1 3-2 4-3"}, Task))
    return tasks


def instances(**options):
    return [build_instance(task)[0] for task in corpus(**options)]


@pytest.fixture(scope="module")
def weights():
    return Weights.load()


def test_what_the_tagger_missed_is_added_without_a_source_entity(weights):
    projector = LogLinearCorpusProjector(weights)
    sentences = instances()
    projected = projector.project_corpus(sentences)
    places = [(p.first, p.last, p.label) for p in itertools.chain(*projected) if p.mention is None]
    assert places.count((2, 3, "LOC")) >= 15
    for instance, spans in zip(sentences, projected, strict=True):
        assert all(a.last <= b.first for a, b in itertools.pairwise(spans))
        assert all(0 <= p.confidence <= 1 and p.label != NAMELESS for p in spans)
        kept = [p.mention for p in spans if p.mention is not None]
        assert len(set(kept)) == len(kept)
        assert all(mention < len(instance.mentions) for mention in kept)


def test_the_same_corpus_gives_the_same_answers(weights):
    first, second = LogLinearCorpusProjector(weights), LogLinearCorpusProjector(weights)
    once = first.project_corpus(instances())
    assert once == second.project_corpus(instances()) == first.project_corpus(instances())


def test_entities_that_people_gave_are_complete_and_keep_their_labels(weights):
    projector = LogLinearCorpusProjector(weights)
    sentences = instances(scores=False)
    for instance, spans in zip(sentences, projector.project_corpus(sentences), strict=True):
        assert all(p.mention is not None for p in spans)
        assert all(p.label == instance.mentions[p.mention].label for p in spans)


def test_small_and_empty_corpora(weights):
    projector = LogLinearCorpusProjector(weights)
    assert projector.project_corpus([]) == []
    assert [len(projections) for projections in projector.project_corpus(instances(count=3))] == [2, 2, 2]
    bare = build_instance(Task(id=1, text="", source=""))[0]
    assert projector.project_corpus([bare]) == [[]]


def test_weights_without_rounds_are_refused(weights):
    with pytest.raises(ConfigurationError, match="no corpus mode"):
        LogLinearCorpusProjector(msgspec.structs.replace(weights, rounds=()))


def test_rounds_are_fitted_deterministically():
    examples = [read_example(task) for task in corpus(120)]
    part = cased_part([examples], [])
    fitted = fit_part(part, "synthetic", None, True)
    assert fitted.dump() == fit_part(part, "synthetic", None, True).dump()
    assert len(fitted.rounds) == 3
    assert [bool(each.consistency) for each in fitted.rounds] == [False, False, True]
    assert fitted.rounds[-1].consistency.tagged is not None
    assert msgspec.json.decode(fitted.dump(), type=Weights) == fitted
    projector = LogLinearCorpusProjector(fitted)
    sentences = [example.instance for example in examples]
    right = sum(
        (p.first, p.last, p.label) in example.gold
        for example, spans in zip(examples, projector.project_corpus(sentences), strict=True)
        for p in spans
    )
    assert right >= 0.95 * sum(len(example.gold) for example in examples)


def test_counts_leave_the_own_sentence_out():
    code, sentence = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert elsewhere(code, sentence, np.array([1.0, 2.0, 4.0, 8.0])).tolist() == [4.0, 4.0, 3.0, 0.0]
