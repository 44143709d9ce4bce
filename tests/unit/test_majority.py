"""What more than half of at least three people say."""

from __future__ import annotations

import pytest

from xner_label.entities import Entity
from xner_label.store.majority import majority

ANN, BEN, CAT = Entity(0, 5, "PER"), Entity(0, 5, "ORG"), Entity(0, 9, "PER")
PLACE = Entity(20, 27, "LOC")


@pytest.mark.parametrize(
    ("people", "settled"),
    [
        ([], None),
        ([[ANN], [ANN]], None),
        ([[ANN], [ANN], [BEN]], (ANN,)),
        ([[ANN], [BEN], [CAT]], None),
        ([[ANN, PLACE], [BEN, PLACE], [ANN]], (ANN, PLACE)),
        ([[PLACE], [], []], ()),
        ([[], [], []], ()),
        ([[ANN], [ANN], [BEN], [BEN]], None),
        ([[ANN], [ANN], [ANN], [CAT]], (ANN,)),
        # each of two parts is marked by most, the whole by one
        ([[Entity(0, 5, "PER"), Entity(6, 9, "LOC")]] * 2 + [[CAT]], (Entity(0, 5, "PER"), Entity(6, 9, "LOC"))),
    ],
)
def test_each_stretch_is_settled_by_more_than_half(people, settled):
    assert majority(people) == settled
