"""Slips: decisions that everything else speaks against come first."""

from __future__ import annotations

from xner_label.entities import Entity, ProjectedEntity, Tokens
from xner_label.review.error_sources import ReviewedTask
from xner_label.review.slips import likely_slips

NAMES = ("Amina", "Kofi", "Wanjiru", "Odhiambo", "Njeri", "Achieng")
TOWNS = ("Nairobi", "Accra", "Kampala", "Gaborone", "Kigali", "Lusaka")


def sentence(number: int, wrong: str = "") -> ReviewedTask:
    """A person in a town; ``wrong`` is how the town was settled."""
    name, town = NAMES[number % len(NAMES)], TOWNS[number // 7 % len(TOWNS)]
    text = f"{name} anaishi mjini {town} {number}"
    start = text.index(town)
    person = Entity(0, len(name), "PER")
    place = (start, start + len(town))
    predicted = (
        ProjectedEntity(0, len(name), "PER", name, 1.0, 0.9),
        ProjectedEntity(*place, "LOC", town, 1.0, 0.9),
    )
    settled = {"": Entity(*place, "LOC"), "relabelled": Entity(*place, "ORG")}
    gold = (person, settled[wrong]) if wrong in settled else (person,)
    return ReviewedTask(id=str(number), text=text, tokens=Tokens.tokenize(text), predicted=predicted, gold=gold)


def test_planted_slips_come_first() -> None:
    planted = {"30": "relabelled", "70": "dropped", "110": "relabelled"}
    slips = likely_slips([sentence(number, planted.get(str(number), "")) for number in range(150)], ["PER", "LOC"])
    assert {slip.task for slip in slips[:3]} == set(planted)
    assert {slip.task: slip.marked for slip in slips[:3]} == {"30": True, "70": False, "110": True}
    assert slips[0].suspicion > 0.5 > slips[10].suspicion
    assert sum(slip.marked for slip in slips) == 299


def test_a_few_tasks_teach_no_tagger() -> None:
    slips = likely_slips(
        [sentence(number, "dropped" if number == 3 else "") for number in range(9)], ["PER", "LOC"]
    )
    assert {slip.tagger for slip in slips} == {None}
    assert (slips[0].task, slips[0].marked, slips[0].predicted) == ("3", False, 0.9)


def test_nothing_settled() -> None:
    assert likely_slips([], ["PER"]) == []
