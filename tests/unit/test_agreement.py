"""How far two people agree, by entity type."""

from __future__ import annotations

import pytest

from xner_label.entities import Entity
from xner_label.review.agreement import pair_agreement

KANO, BANK = Entity(0, 4, "LOC"), Entity(10, 24, "ORG")


def rows(*answers):
    return {(pair.first, pair.second, pair.label): (pair.exact, pair.overlap) for pair in pair_agreement(answers)}


def test_nobody_and_a_single_person_have_no_pairs():
    assert pair_agreement([]) == []
    assert pair_agreement([{"ann": [KANO]}]) == []


def test_borders_and_labels_count_apart():
    agreement = rows({"ben": [KANO, Entity(10, 15, "ORG")], "ann": [KANO, BANK]})
    assert agreement == {
        ("ann", "ben", "all"): (0.5, 1.0),
        ("ann", "ben", "LOC"): (1.0, 1.0),
        ("ann", "ben", "ORG"): (0.0, 1.0),
    }
    agreement = rows({"ann": [Entity(0, 4, "PER")], "ben": [KANO]})
    assert agreement["ann", "ben", "all"] == (0.0, 0.0)


def test_tasks_are_pooled_and_each_pair_stands_alone():
    agreement = rows({"ann": [KANO], "ben": [KANO]}, {"ann": [KANO], "ben": []}, {"ann": [], "cat": []})
    assert agreement["ann", "ben", "all"][0] == pytest.approx(2 / 3)
    assert agreement["ann", "cat", "all"] == (None, None)
    assert len(agreement) == 3
