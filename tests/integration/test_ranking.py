"""What waits for people stands in the order of the predictions that it shows now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from xner_label.entities import Prediction, ProjectedEntity, Task
from xner_label.store import migrating, predictions, projects, reviews, tasks
from xner_label.store.database import Store, open_store
from xner_label.store.gold import add_imported_gold
from xner_label.store.queue_positions import waiting_items
from xner_label.studio.ranking import rank_waiting


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path}/store.db", check=False) as opened:
        migrating.upgrade(opened)
        yield opened


def predicted(store: Store, version: str, confidences: list[float]) -> list[tuple[int, int]]:
    """(task id, prediction id) of tasks "t0", "t1", ... under a version."""
    with store.write() as session:
        project = projects.ensure_project(session, "default", ("PER",))
        records = [Task(id=f"t{number}", text=f"Asha {number}.") for number in range(len(confidences))]
        tasks.add_tasks(session, project.id, [(task, "pool") for task in records])
        ids = tasks.ids_by_external(session, project.id, [str(task.id) for task in records])
        made = []
        for task, sure in zip(records, confidences, strict=True):
            entity = ProjectedEntity(0, 4, "PER", "Asha", 1.0, sure)
            made.append((ids[str(task.id)], Prediction(task.id, task.text, (entity,), sure, version)))
        predictions.add_predictions(session, made)
        rows = predictions.of_tasks(session, [task for task, _ in made], version)
        return [(task, rows[task].id) for task, _ in made]


def waiting(store: Store) -> list[int]:
    with store.read() as session:
        return [item.task for item in waiting_items(session, 1)]


@pytest.mark.parametrize("strategy", ["least-confident", "leverage", "one-queue", "of-another-package", "random"])
def test_waiting_tasks_follow_the_doubts_of_newer_predictions(store: Store, strategy: str) -> None:
    before = predicted(store, "first", [0.1, 0.2, 0.3, 0.4])
    names = [task for task, _ in before]
    with store.write() as session:
        assert rank_waiting(session, 1) == 0  # nothing waits
        reviews.add_batch(session, 1, strategy, before)
        add_imported_gold(session, {names[1]: []})
    after = predicted(store, "second", [0.9, 0.9, 0.8, 0.1])
    with store.write() as session:
        items = {item.task: item.item for item in waiting_items(session, 1)}
        reviews.set_shown(session, {items[task]: row for task, row in after if task in items})
        moved = rank_waiting(session, 1)
        assert rank_waiting(session, 1) == 0
    stays = strategy in ("random", "of-another-package")
    assert waiting(store) == [names[0], *names[2:]] if stays else [names[3], names[2], names[0]]
    assert moved == (0 if stays else 2)
