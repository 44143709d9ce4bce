"""What people marked is looked for wherever else it stands: no link and no similar string is needed."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from xner_label.entities import Task
from xner_label.projection.corpus.evidence import Observations
from xner_label.projection.corpus.gazetteer import Entry, entries_of, matches, with_matches
from xner_label.projection.corpus.rounds import gather, text_of
from xner_label.projection.corpus.settled import NameAnswers, settle
from xner_label.projection.fitting.adaptation import Adapted, project_adapted
from xner_label.projection.fitting.corrections import early_tags, spread
from xner_label.projection.loglinear.model import Model
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import build_instance

PEOPLE = ("Asha", "Baraka", "Chausiku", "Daudi", "Furaha", "Goma")
# "PERSON arrived on Monday ." where the day has no link.
MONDAY = (3, 4, "PER")


def instance(number, text, source, mentions, links, *, given=False):
    """A task with mentions by their words, ready to be projected."""
    entities = []
    for words, label in mentions:
        start = source.index(words)
        score = {} if given else {"score": 0.9}
        entities.append({"start": start, "end": start + len(words), "label": label, **score})
    row = {"id": number, "text": text, "source": source, "source_entities": entities, "alignment": links}
    return build_instance(msgspec.convert(row, Task))[0]


def arrivals(count, *, given=False, label="LOC"):
    """Sentences whose day is neither linked nor spelt alike, with gold."""
    instances, gold = [], []
    for number in range(count):
        person = PEOPLE[number % len(PEOPLE)]
        source, text = f"{person} arrived on Monday .", f"{person} alifika siku Jumatatu ."
        mentions = [(person, "PER"), ("Monday", label)]
        instances.append(instance(number, text, source, mentions, "0-0 1-1 4-4", given=given))
        gold.append([(0, 1, "PER"), (3, 4, label)])
    return instances, gold


def observe(instances, labels=("LOC", "PER")):
    weights = Weights.load()
    observations = Observations(instances, [Model(weights)], [0] * len(instances), more_labels=labels)
    return observations, weights.rounds


def settled_by(instances, gold, **more):
    observations, rounds = observe(instances, **more)
    return observations, spread(observations, rounds, early_tags(observations, rounds), gold)


def spans(observations, result, number):
    """{(text, label): (source name, confidence)} of what is shown in a sentence."""
    chosen = result.chosen.select((result.chosen.sentence == number) & (result.chosen.confidence >= result.cut))
    names = [observations.texts[observations.name[row]] if row >= 0 else None for row in chosen.mention.tolist()]
    labels = [observations.labels[place] for place in chosen.label.tolist()]
    keys = zip(text_of(observations, chosen), labels, strict=True)
    return dict(zip(keys, zip(names, chosen.confidence.tolist(), strict=True), strict=True))


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("reviewed", [1, 3])
def test_an_answer_about_a_text_that_is_neither_linked_nor_spelt_alike_reaches_every_place(given, reviewed):
    instances, gold = arrivals(24, given=given)
    observations, before = settled_by(instances, {})
    assert all(("jumatatu", "LOC") not in spans(observations, before, number) for number in range(24))
    _, after = settled_by(instances, {number: gold[number] for number in range(reviewed)})
    for number in range(reviewed, 24):
        name, confidence = spans(observations, after, number)["jumatatu", "LOC"]
        assert name == "monday"
        assert confidence > 0.5
        assert spans(observations, after, number).keys() == {
            (PEOPLE[number % len(PEOPLE)].lower(), "PER"),
            ("jumatatu", "LOC"),
        }


def test_where_a_person_gave_the_source_entities_only_names_that_they_gave_are_matched():
    instances, gold = arrivals(6, given=True)
    other = instance(
        "o", "Asha aliona siku Jumatatu .", "Asha saw a day .", [("Asha", "PER")], "0-0 1-1", given=True
    )
    observations, result = settled_by([*instances, other], {0: gold[0]})
    assert spans(observations, result, 6).keys() == {("asha", "PER")}
    relabelled = [(0, 1, "PER"), (3, 4, "ORG")]
    observations, result = settled_by(instances, {0: relabelled}, labels=("LOC", "ORG", "PER"))
    assert spans(observations, result, 1).keys() == {("baraka", "PER")}  # a given label can't change


def test_a_longer_text_takes_the_place_of_a_part_of_it_that_was_projected():
    source, text = "The police of Uganda said so .", "Poliisi ya Uganda yagamba ."
    instances = [instance(number, text, source, [("Uganda", "LOC")], "1-0 2-1 3-2 4-3 6-4") for number in range(6)]
    observations, result = settled_by(instances, {0: [(0, 3, "ORG")]}, labels=("LOC", "ORG"))
    for number in range(1, 6):
        ((key, (name, _)),) = spans(observations, result, number).items()
        assert key == ("poliisi ya uganda", "ORG")
        assert name == "uganda"  # no other mention is behind it


def test_what_people_left_unmarked_as_often_is_no_match_and_a_sentence_says_nothing_of_itself():
    instances, gold = arrivals(12)
    observations, rounds = observe(instances)
    answers = {0: gold[0], 1: gold[1][:1], 2: gold[2][:1], 3: gold[3][:1]}
    result = spread(observations, rounds, early_tags(observations, rounds), answers)
    assert all(("jumatatu", "LOC") not in spans(observations, result, number) for number in range(4, 12))
    settled = settle(observations, {0: gold[0]})
    entries = entries_of(observations, settled, {0: gold[0]})
    assert entries == {
        "asha": Entry(1, {"PER": 1}, {"Asha": 1}, {"asha": 1}),
        "jumatatu": Entry(1, {"LOC": 1}, {"Jumatatu": 1}, {"monday": 1}),
    }
    matched = matches(observations, entries, result.chosen, None, settled, {0: gold[0]})
    assert 0 not in matched.sentence.tolist()
    assert set(matched.sentence[matched.first == 3].tolist()) == set(range(1, 12))


def test_a_common_word_that_somebody_marked_by_a_slip_is_looked_for_once_it_is_marked_again():
    instances = [
        instance(number, f"{person} alifika leo .", f"{person} arrived today .", [(person, "PER")], "0-0 1-1 3-3")
        for number, person in enumerate(PEOPLE)
    ]
    slips = {number: [(0, 1, "PER"), (2, 3, "LOC")] for number in range(2)}
    observations, result = settled_by(instances, {0: slips[0]})
    assert result.adapted.gazetteer.entries["leo"] == Entry(1, {"LOC": 1}, {"leo": 1})
    assert all(("leo", "LOC") not in spans(observations, result, number) for number in range(1, 6))
    _, result = settled_by(instances, slips)
    assert all(("leo", "LOC") in spans(observations, result, number) for number in range(2, 6))


def test_of_matches_that_overlap_the_likeliest_is_taken_and_what_is_surer_stays():
    instances, _ = arrivals(3)
    observations, _ = observe(instances)
    entries = {
        "siku jumatatu": Entry(2, {"LOC": 2}, {"siku Jumatatu": 2}),
        "jumatatu": Entry(2, {"LOC": 2}, {"Jumatatu": 2}),
        "asha": Entry(2, {"LOC": 2}, {"Asha": 2}),
    }
    chosen = spread(observations, Weights.load().rounds, None, {}).chosen
    matched = matches(observations, entries, chosen, None)
    likely = {(2, 4): 0.7, (3, 4): 0.8, (0, 1): 0.45}
    places = zip(matched.first.tolist(), matched.last.tolist(), strict=True)
    result = with_matches(chosen, matched, np.array([likely[place] for place in places]))
    kept = result.select(result.sentence == 0)
    labels = [observations.labels[place] for place in kept.label.tolist()]
    assert list(zip(text_of(observations, kept), labels, strict=True)) == [("asha", "PER"), ("jumatatu", "LOC")]
    assert kept.confidence[1] == 0.8


def test_nothing_is_remembered_of_nothing():
    instances, _ = arrivals(6)
    _, untouched = settled_by(instances, {})
    assert untouched.adapted.gazetteer is None
    observations, emptied = settled_by(instances, {0: [], 1: []})
    assert emptied.adapted.gazetteer.entries == {}
    assert all(("jumatatu", "LOC") not in spans(observations, emptied, number) for number in range(6))


def test_a_sentence_that_comes_later_is_told_by_what_was_stored():
    instances, gold = arrivals(25)
    _, result = settled_by(instances[:24], {number: gold[number] for number in range(3)})
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(result.adapted), type=Adapted)
    assert stored == result.adapted
    observations, _ = observe(instances[24:])
    chosen = project_adapted(observations, gather(observations, None), stored)
    assert ("jumatatu", "monday") in [
        (text, observations.texts[observations.name[mention]])
        for text, mention in zip(text_of(observations, chosen), chosen.mention.tolist(), strict=True)
    ]


def test_an_answer_about_a_name_is_remembered_once_however_many_places_it_settles():
    instances, _ = arrivals(12)
    observations, rounds = observe(instances)
    places = np.arange(4)
    monday = [
        next(
            row
            for row in range(len(observations))
            if observations.sentence[row] == number and observations.texts[observations.name[row]] == "monday"
        )
        for number in places.tolist()
    ]
    answers = NameAnswers(
        places, np.array(monday), np.full(4, 3), np.full(4, 4), np.full(4, observations.labels.index("LOC"))
    )
    entries = entries_of(observations, settle(observations, {}, answers), {}, answers)
    assert entries == {"jumatatu": Entry(1, {"LOC": 1}, {"Jumatatu": 1}, {"monday": 1})}
    result = spread(observations, rounds, early_tags(observations, rounds), {}, answers)
    assert all(("jumatatu", "LOC") in spans(observations, result, number) for number in range(12))
