"""Which mentions take part in a projection."""

from __future__ import annotations

import msgspec

from xner_label.entities import Task
from xner_label.projection.loglinear.mentions import NAMELESS, is_tagged, matched_mentions
from xner_label.projection.problem import build_instance

SOURCE = "Asha and Juma Ali met A Union delegate ."


def instance(*spans, score=None):
    entities = [
        {"start": SOURCE.index(text), "end": SOURCE.index(text) + len(text), "label": label}
        | ({} if score is None else {"score": score})
        for text, label in spans
    ]
    row = {"id": 1, "text": "", "source": SOURCE, "source_tokens": SOURCE.split(), "source_entities": entities}
    return build_instance(msgspec.convert(row, Task))[0]


def rows(mentions):
    return [(m.first, m.last, m.label) for m in mentions]


def test_each_source_entity_takes_part_once():
    unmatched = instance(
        ("Juma Ali", "PER"), ("Asha", "PER"), ("Juma Ali", "PER"), ("Juma Ali", "ORG"), ("Asha", "PER")
    )
    matched, places = matched_mentions(unmatched, overlooked=False)
    assert rows(matched.mentions) == [(2, 4, "PER"), (0, 1, "PER"), (2, 4, "ORG")]
    assert list(places) == [0, 1, 3]


def test_nothing_changes_without_need():
    unmatched = instance(("Asha", "PER"), ("Juma", "PER"))
    matched, places = matched_mentions(unmatched, overlooked=False)
    assert matched is unmatched
    assert list(places) == [0, 1]


def test_overlooked_names_are_capitalised_runs_outside_mentions():
    unmatched = instance(("Juma", "PER"), ("Juma", "PER"), score=0.8)
    matched, places = matched_mentions(unmatched, overlooked=True)
    assert rows(matched.mentions) == [(2, 3, "PER"), (0, 1, NAMELESS), (3, 4, NAMELESS), (6, 7, NAMELESS)]
    assert list(places) == [0, None, None, None]


def test_a_score_tells_a_tagger():
    assert is_tagged(instance(("Asha", "PER"), score=0.8))
    assert not is_tagged(instance(("Asha", "PER")))
    assert not is_tagged(instance())
