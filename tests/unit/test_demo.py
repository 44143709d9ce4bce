"""What the demonstration's simulated reviewer submits."""

from __future__ import annotations

from demo.reviewer import edited
from xner_label.entities import Entity

TEXT = "Amina alikwenda Kisumu na Nairobi Jumanne."


def _region(identity: str, start: int, end: int, label: str) -> dict[str, object]:
    return {
        "id": identity,
        "from_name": "label",
        "to_name": "text",
        "type": "labels",
        "score": 0.5,
        "value": {"start": start, "end": end, "text": TEXT[start:end], "labels": [label]},
    }


def test_a_careful_person_keeps_corrects_removes_and_adds() -> None:
    shown = [
        _region("kept", 0, 5, "PER"),
        _region("relabelled", 16, 22, "ORG"),
        _region("moved", 23, 33, "LOC"),
        _region("removed", 6, 15, "ORG"),
    ]
    gold = (Entity(0, 5, "PER"), Entity(16, 22, "LOC"), Entity(26, 33, "LOC"), Entity(34, 41, "DATE"))
    result = edited(shown, TEXT, gold)
    assert {region["id"]: region["origin"] for region in result[:3]} == {
        "kept": "prediction",
        "relabelled": "prediction-changed",
        "moved": "prediction-changed",
    }
    assert result[3]["origin"] == "manual"
    assert "score" not in result[3]
    spans = [(r["value"]["start"], r["value"]["end"], r["value"]["labels"][0]) for r in result]
    assert sorted(spans) == [(entity.start, entity.end, entity.label) for entity in gold]
    assert all(r["value"]["text"] == TEXT[r["value"]["start"] : r["value"]["end"]] for r in result)


def test_nothing_marked_and_nothing_to_mark() -> None:
    assert edited([], TEXT, ()) == []
    assert edited([_region("removed", 0, 5, "PER")], TEXT, ()) == []
