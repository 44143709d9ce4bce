"""What counts as kept, moved, relabelled, removed and added."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xner_label.store.tables import ProjectedEntity
from xner_label.studio.corrections import compare
from xner_label.studio.regions import ReviewedEntity


def predicted(*spans):
    return [
        ProjectedEntity(region=f"p1-{position}", position=position, start=start, end=end, label=label)
        for position, (start, end, label) in enumerate(spans)
    ]


def kinds(old, new):
    return [change.kind for change in compare(predicted(*old), [ReviewedEntity(*entity) for entity in new])]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([(0, 4, "PER")], [("p1-0", 0, 4, "PER")], ["kept"]),
        ([(0, 4, "PER")], [("p1-0", 0, 4, "LOC")], ["relabelled"]),
        ([(0, 4, "PER")], [("p1-0", 0, 6, "PER")], ["moved"]),
        ([(0, 4, "PER")], [("p1-0", 0, 6, "LOC")], ["moved"]),
        ([(0, 4, "PER")], [("p1-0", 20, 24, "PER")], ["moved"]),
        ([(0, 4, "PER")], [], ["removed"]),
        ([], [("new", 0, 4, "PER")], ["added"]),
        # deleted and drawn again, or written by a script: by place
        ([(0, 4, "PER")], [("new", 0, 4, "PER")], ["kept"]),
        ([(0, 4, "PER")], [("", 0, 4, "LOC")], ["relabelled"]),
        ([(0, 4, "PER")], [("new", 2, 6, "PER")], ["moved"]),
        ([(0, 4, "PER")], [("new", 4, 6, "PER")], ["removed", "added"]),
        ([(0, 9, "PER")], [("a", 0, 2, "PER"), ("b", 3, 9, "PER")], ["moved", "added"]),
        ([(0, 2, "PER"), (3, 9, "PER")], [("a", 0, 9, "PER")], ["removed", "moved"]),
        ([(0, 4, "PER"), (0, 9, "ORG")], [("a", 0, 9, "ORG")], ["removed", "kept"]),
        # an id decides before a place does
        ([(0, 4, "PER"), (5, 9, "LOC")], [("p1-1", 0, 4, "PER")], ["removed", "moved"]),
    ],
)
def test_kinds(old, new, expected):
    assert kinds(old, new) == expected


spans = st.tuples(st.integers(0, 20), st.integers(1, 5), st.sampled_from("AB")).map(
    lambda drawn: (drawn[0], drawn[0] + drawn[1], drawn[2])
)


@given(st.lists(spans, max_size=6), st.lists(spans, max_size=6, unique=True), st.data())
def test_every_entity_is_accounted_for_once(old, new, data):
    regions = data.draw(st.permutations([*(f"p1-{n}" for n in range(len(old))), *"uvwxyz"]))
    reviewed = [ReviewedEntity(region, *span) for region, span in zip(regions, new, strict=False)]
    entities = predicted(*old)
    changes = compare(entities, reviewed)
    assert [change.predicted for change in changes if change.predicted is not None] == entities
    outcome = [change.reviewed for change in changes if change.reviewed is not None]
    assert sorted(outcome, key=lambda entity: entity.region) == sorted(reviewed, key=lambda entity: entity.region)
    for change in changes:
        assert (change.predicted is None) == (change.kind == "added")
        assert (change.reviewed is None) == (change.kind == "removed")
