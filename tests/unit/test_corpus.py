"""Corpus mode: sentences inform each other, and what is added says that it has no source entity."""

from __future__ import annotations

import itertools
from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xner_label.entities import Entity, Task
from xner_label.errors import ConfigurationError
from xner_label.projection.corpus.evidence import (
    MAX_NGRAM,
    Observations,
    TagMarginals,
    elsewhere,
    span_probability,
    span_tags,
)
from xner_label.projection.corpus.projector import LogLinearCorpusProjector
from xner_label.projection.fitting.examples import read_example
from xner_label.projection.fitting.files import cased_part, fit_part
from xner_label.projection.loglinear.mentions import NAMELESS
from xner_label.projection.loglinear.model import Model
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import build_instance
from xner_label.word_forms import fold_word

WORDS = ("Asha", "asha", "a b", "Baraka", "na", "(", ")", ",")
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


@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9), min_size=1, max_size=4), st.data())
@settings(max_examples=40, deadline=None)
def test_texts_and_tags_of_candidates_are_counted_one_by_one(weights, sentences, data):
    """What is counted of all candidates at once is what is counted of each on its own."""
    tasks = []
    for number, words in enumerate(sentences):
        place = data.draw(st.integers(0, len(words) - 1))
        source = [f"{word}s" if word.isalpha() else word for word in words]
        at = sum(len(word) + 1 for word in source[:place])
        name = Entity(at, at + len(source[place]), "PER", 0.9)
        tasks.append(
            Task(
                id=number,
                text=" ".join(words),
                tokens=tuple(words),
                source=" ".join(source),
                source_tokens=tuple(source),
                source_entities=(name,),
                alignment=f"{place}-{place}",
            )
        )
    instances = [build_instance(task)[0] for task in tasks]
    observations = Observations(instances, [Model(weights)], [0] * len(instances))
    candidates, texts = observations.candidates, observations.texts
    folded = [[fold_word(word) for word in words] for words in sentences]
    runs = [
        Counter(
            " ".join(words[first:last])
            for first in range(len(words))
            for last in range(first + 1, min(len(words), first + MAX_NGRAM) + 1)
        )
        for words in folded
    ]
    home = observations.sentence[candidates.mention].tolist()
    text = [texts[code] for code in observations.text.tolist()]
    assert observations.occurrences_at_home.tolist() == [
        runs[number][each] for number, each in zip(home, text, strict=True)
    ]
    weight = np.array([0.1 * (number + 1) for number in range(len(instances))])
    expected = [
        sum(weight[other] * runs[other][each] for other in range(len(runs)) if other != number)
        for number, each in zip(home, text, strict=True)
    ]
    assert observations.occurrences(weight) == pytest.approx(np.array(expected))

    drawn = np.random.default_rng(len(text))
    shapes = [(len(words), len(observations.labels)) for words in sentences]
    marginals = [TagMarginals(drawn.random(shape), drawn.random(shape)) for shape in shapes]
    start = observations.target_at[home]
    assert span_tags(observations, marginals).tolist() == [
        span_probability(marginals[number], first, last).tolist()
        for number, first, last in zip(
            home, (candidates.first - start).tolist(), (candidates.last - start).tolist(), strict=True
        )
    ]
