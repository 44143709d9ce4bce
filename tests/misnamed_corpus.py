"""A corpus with errors that the same answer would put right: a person tagged as a place, a title in a name."""

from __future__ import annotations

import msgspec

from xner_label.entities import Task
from xner_label.projection.problem import build_instance

PEOPLE = ("Asha", "Baraka", "Chausiku", "Daudi", "Eshe", "Furaha", "Goma", "Halima")
PLACES = ("Arusha", "Bukoba", "Dodoma", "Iringa", "Kigoma", "Lindi", "Mbeya", "Tanga", "Kilosa")
# A person whom the tagger takes for a place, and one whose name carries a title that people leave out.
WRONG, TITLED = "Daudi", "Eshe"


def misnamed_corpus(count=160):
    """Sentences "PERSON went to PLACE ." and gold; WRONG is tagged LOC, TITLED together with the title."""
    tasks, gold = [], []
    for number in range(count):
        person, place = PEOPLE[number % len(PEOPLE)], PLACES[number % len(PLACES)]
        title = "Bi " if person == TITLED else ""
        source, text = f"{title}{person} went to {place} .", f"{title}{person} alienda {place} ."
        at = len(title) + len(person) + len(" went to ")
        label = "LOC" if person == WRONG else "PER"
        entities = [
            {"start": 0, "end": len(title) + len(person), "label": label, "score": 0.8},
            {"start": at, "end": at + len(place), "label": "LOC", "score": 0.9},
        ]
        links = "0-0 1-1 3-2 4-3" if not title else "0-0 1-1 2-2 4-3 5-4"
        row = {"id": number, "text": text, "source": source, "source_entities": entities, "alignment": links}
        tasks.append(msgspec.convert(row, Task))
        shift = len(title) // 3
        gold.append([(shift, shift + 1, "PER"), (shift + 2, shift + 3, "LOC")])
    return [build_instance(task)[0] for task in tasks], gold
