"""Queries about what people settled: annotations, corrections and the gold they amount to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from xner_label.entities import Entity
from xner_label.store.database import id_batches, insert_new
from xner_label.store.tables import Annotation, Correction, Task


class Gold(msgspec.Struct, frozen=True):
    """A task as people settled it. ``annotators`` is how many usable annotations there are; when they disagree,
    ``conflict`` is True and ``entities`` is the newest one's."""

    task: Task
    entities: tuple[Entity, ...]
    annotators: int
    conflict: bool


class GoldImport(msgspec.Struct, frozen=True):
    """How many tasks got their first imported gold, and how many got other gold than was imported before."""

    added: int
    corrected: int


def add_imported_gold(session: Session, gold: Mapping[int, Sequence[Entity]]) -> GoldImport:
    """Store entities that came with the import as gold, by task id; what is imported last counts.

    A task whose imported gold is the same already is left alone; earlier gold stays in the history.
    """
    before = _imported(session, list(gold))
    rows = [
        {"task_id": task_id, "origin": "import", "regions": [], "entities": msgspec.to_builtins(list(found))}
        for task_id, found in gold.items()
        if before.get(task_id) != _sorted(found)
    ]
    insert_new(session, Annotation, rows)
    corrected = sum(row["task_id"] in before for row in rows)
    return GoldImport(len(rows) - corrected, corrected)


def _imported(session: Session, task_ids: Sequence[int]) -> dict[int, tuple[Entity, ...]]:
    """The gold imported last, by task id."""
    newest: dict[int, tuple[Entity, ...]] = {}
    for ids in id_batches(task_ids):
        query = (
            select(Annotation.task_id, Annotation.entities)
            .where(Annotation.task_id.in_(ids), Annotation.origin == "import")
            .order_by(Annotation.id)
        )
        for task_id, entities in session.execute(query):
            newest[task_id] = _sorted(msgspec.convert(entities, list[Entity]))
    return newest


def _sorted(entities: Iterable[Entity]) -> tuple[Entity, ...]:
    return tuple(sorted(entities, key=_order))


def current_annotations(session: Session, project_id: int, *where: ColumnElement[bool]) -> list[Annotation]:
    """The newest state of every annotation that is neither deleted nor skipped, oldest annotation first.

    ``where`` narrows the tasks.
    """
    return [row for row in _newest(session, project_id, *where) if not (row.deleted or row.skipped)]


def skipped_task_ids(session: Session, project_id: int) -> set[int]:
    """Ids of the tasks that somebody skipped, whatever else people said about them."""
    return {row.task_id for row in _newest(session, project_id) if row.skipped and not row.deleted}


def _newest(session: Session, project_id: int, *where: ColumnElement[bool]) -> Iterable[Annotation]:
    """The newest state of every annotation, oldest annotation first."""
    query = (
        select(Annotation)
        .join(Task, Task.id == Annotation.task_id)
        .where(Task.project_id == project_id, *where)
        .order_by(Annotation.id)
    )
    newest: dict[tuple[int, int | None], Annotation] = {}
    for row in session.scalars(query):
        newest[row.task_id, row.studio_annotation] = row
    return newest.values()


def gold_of(session: Session, project_id: int, *where: ColumnElement[bool]) -> list[Gold]:
    """The gold of a project, in task order; ``where`` narrows the tasks."""
    by_task: dict[int, list[Annotation]] = {}
    for row in current_annotations(session, project_id, *where):
        by_task.setdefault(row.task_id, []).append(row)
    query = select(Task).where(Task.project_id == project_id, *where).order_by(Task.id)
    return [_gold(task, by_task[task.id]) for task in session.scalars(query) if task.id in by_task]


def _gold(task: Task, rows: Sequence[Annotation]) -> Gold:
    answers = [tuple(sorted(msgspec.convert(row.entities, list[Entity]), key=_order)) for row in rows]
    return Gold(task, answers[-1], len(answers), len(set(answers)) > 1)


def _order(entity: Entity) -> tuple[int, int, str]:
    return entity.start, entity.end, entity.label


def count_corrections(session: Session, project_id: int) -> dict[str, int]:
    """Number of corrections by kind, over the current annotations."""
    current = [row.id for row in current_annotations(session, project_id)]
    counts: dict[str, int] = {}
    for start in range(0, len(current), 5_000):
        query = (
            select(Correction.kind, func.count())
            .where(Correction.annotation_id.in_(current[start : start + 5_000]))
            .group_by(Correction.kind)
        )
        for kind, count in session.execute(query):
            counts[kind] = counts.get(kind, 0) + count
    return counts
