"""A simulated tagger makes a tagger's errors, sentence by sentence without having seen the sentence."""

from __future__ import annotations

import msgspec

from xner_label.entities import Task
from xner_label.projection.fitting.examples import read_example
from xner_label.projection.fitting.simulated_tagger import simulate_tagger
from xner_label.projection.loglinear.mentions import is_tagged

PEOPLE = ("Asha", "Baraka", "Chausiku", "Daudi", "Eshe", "Furaha", "Goma", "Halima", "Imara", "Juma", "Kito")
PLACES = ("Arusha", "Bukoba", "Dodoma", "Iringa", "Kigoma", "Lindi", "Mbeya", "Tanga", "Kilosa", "Moshi")


def corpus(count, *, score=None, label="LOC"):
    examples = []
    for number in range(count):
        person, place = PEOPLE[number % len(PEOPLE)], PLACES[number % len(PLACES)]
        source = f"{person} went to {place} ."
        at = source.index(place)
        entities = [
            {"start": 0, "end": len(person), "label": "PER"},
            {"start": at, "end": at + len(place), "label": label},
        ]
        row = {"id": number, "text": source, "source": source, "entities": entities}
        row["source_entities"] = [entity | ({} if score is None else {"score": score}) for entity in entities]
        examples.append(read_example(msgspec.convert(row, Task)))
    return examples


def test_given_entities_become_a_taggers():
    original = corpus(240)
    (copy,) = simulate_tagger([original])
    assert [example.gold for example in copy] == [example.gold for example in original]
    assert all(m.score is not None and 0 < m.score < 1 for example in copy for m in example.instance.mentions)
    right = sum(
        {(m.first, m.last, m.label) for m in retagged.instance.mentions} == set(gold_example.gold)
        for retagged, gold_example in zip(copy, original, strict=True)
    )
    assert right > 0.8 * len(original)
    assert simulate_tagger([original]) == [copy]


def test_only_given_files_large_enough_have_a_copy_and_only_common_labels_stay():
    tagged, small, odd = corpus(240, score=0.9), corpus(30), corpus(240, label="MISC")
    assert simulate_tagger([tagged]) == []
    assert simulate_tagger([small]) == []
    (copy,) = simulate_tagger([tagged, odd])
    assert {label for example in copy for _, _, label in example.gold} == {"PER"}
    assert any(is_tagged(example.instance) for example in copy)
