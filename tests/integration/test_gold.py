"""What people settled, counted and read without loading what nobody asked for."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from xner_label.entities import Entity, Prediction, ProjectedEntity, Task
from xner_label.reporting.status import status
from xner_label.reporting.undoing import undo
from xner_label.store import pipelines, predictions, projects, tables, tasks
from xner_label.store.gold import (
    GoldCounts,
    add_imported_gold,
    count_corrections,
    count_gold,
    gold_of,
    skipped_task_ids,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(each_store):
    """Thirty tasks, predicted."""
    entity = ProjectedEntity(0, 5, "PER", "Amina", 1.0, 0.5)
    with each_store.write() as session:
        project = projects.ensure_project(session, "default", ["PER", "LOC"])
        tasks.add_tasks(session, project.id, [(Task(id=str(n), text="Amina"), "pool") for n in range(1, 31)])
        made = [(n, Prediction(str(n), "Amina", (entity,), 0.5, "p1")) for n in range(1, 31)]
        predictions.add_predictions(session, made)
        project.pipeline = pipelines.ensure_pipeline(session, "p1")
    return each_store


def state(task, annotation, minute, label="PER", **flags):
    """A state of an annotation of the whole text, with the correction it means."""
    entities = [] if flags.get("skipped") or flags.get("deleted") else [{"start": 0, "end": 5, "label": label}]
    kind = "kept" if label == "PER" else "relabelled"
    return tables.Annotation(
        task_id=task,
        origin="studio",
        studio_annotation=annotation,
        studio_updated_at=START + timedelta(minutes=minute),
        regions=[],
        entities=entities,
        corrections=[tables.Correction(kind=kind)] if entities else [],
        **flags,
    )


def settle(store, *states):
    for row in states:
        with store.write() as session:
            session.add(row)


@pytest.fixture
def settled(store):
    """Task 1: changed once. 2: two who agree. 3: two who disagree. 4: deleted. 5: skipped. 6: imported gold."""
    settle(
        store,
        *(state(1, 10, 0), state(1, 10, 5, "LOC")),
        *(state(2, 20, 0), state(2, 21, 1)),
        *(state(3, 30, 0), state(3, 31, 1, "LOC")),
        *(state(4, 40, 0), state(4, 40, 0, deleted=True)),
        *(state(5, 50, 0), state(5, 50, 1, skipped=True)),
    )
    with store.write() as session:
        add_imported_gold(session, {6: [Entity(0, 5, "LOC")], 7: []})
    return store


def test_the_newest_state_of_every_annotation_counts(settled):
    with settled.read() as session:
        gold = {item.task.id: (item.entities[0].label if item.entities else None) for item in gold_of(session, 1)}
        assert gold == {1: "LOC", 2: "PER", 6: "LOC", 7: None}
        assert list(gold) == sorted(gold)
        assert [item.task.id for item in gold_of(session, 1, tables.Task.id.in_([2, 9]))] == [2]
        assert count_gold(session, 1) == GoldCounts(4, 1)
        assert count_corrections(session, 1) == {"kept": 3, "relabelled": 2}
        assert skipped_task_ids(session, 1) == {5}


def test_a_state_that_came_late_is_not_the_newest(store):
    settle(store, state(1, 10, 5, "LOC"), state(1, 10, 0))
    with store.read() as session:
        (gold,) = gold_of(session, 1)
        assert gold.entities == (Entity(0, 5, "LOC"),)


def test_counting_loads_no_rows(settled):
    loaded = []

    def note(target, _context):
        loaded.append(type(target).__name__)

    for table in (tables.Task, tables.Annotation, tables.Prediction):
        event.listen(table, "load", note)
    try:
        counts = status(settled, "default")
    finally:
        for table in (tables.Task, tables.Annotation, tables.Prediction):
            event.remove(table, "load", note)
    assert (counts.gold, counts.conflicts, counts.predictions) == (4, 1, {"p1": 30})
    assert counts.pipelines == {"p1": "p1"}
    assert Counter(loaded) == {"Annotation": 4, "Task": 2}, "only where several people answered"


def test_gold_that_was_withdrawn_counts_again_when_it_is_imported_again(store):
    imported = {1: [Entity(0, 5, "PER")], 2: []}
    with store.write() as session:
        add_imported_gold(session, imported)
    assert undo(store, "default", since=START).answers == 2
    with store.write() as session:
        assert gold_of(session, 1) == []
        add_imported_gold(session, imported)
        assert {item.task.id: item.entities for item in gold_of(session, 1)} == {
            task: tuple(entities) for task, entities in imported.items()
        }
