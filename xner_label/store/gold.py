"""Queries about what people settled: annotations, corrections and the gold they amount to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import ColumnElement, Subquery, func, select
from sqlalchemy.orm import Session, defer

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


class GoldCounts(msgspec.Struct, frozen=True):
    """How many tasks people settled, and on how many of them they disagree."""

    tasks: int
    conflicts: int


def _states(project_id: int, *where: ColumnElement[bool]) -> Subquery:
    """Every state of every annotation of the project's tasks, ``age`` 1 for the newest one of an annotation."""
    newest_first = (Annotation.studio_updated_at.desc().nulls_last(), Annotation.id.desc())
    age = func.row_number().over(
        partition_by=(Annotation.task_id, Annotation.studio_annotation), order_by=newest_first
    )
    return (
        select(Annotation.id, Annotation.task_id, Annotation.skipped, Annotation.deleted, age.label("age"))
        .join(Task, Task.id == Annotation.task_id)
        .where(Task.project_id == project_id, *where)
        .subquery()
    )


def _usable(states: Subquery) -> ColumnElement[bool]:
    """The newest states that are answers."""
    return (states.c.age == 1) & ~states.c.deleted & ~states.c.skipped


def _current_annotations(session: Session, project_id: int, *where: ColumnElement[bool]) -> list[Annotation]:
    """The newest state of every annotation that is neither deleted nor skipped, the oldest state first.

    Without ``regions``, which hold Label Studio's document.
    """
    states = _states(project_id, *where)
    query = (
        select(Annotation)
        .join(states, states.c.id == Annotation.id)
        .where(_usable(states))
        .order_by(Annotation.id)
        .options(defer(Annotation.regions))
    )
    return list(session.scalars(query))


def skipped_task_ids(session: Session, project_id: int) -> set[int]:
    """Ids of the tasks that somebody skipped, whatever else people said about them."""
    states = _states(project_id)
    query = select(states.c.task_id).where(states.c.age == 1, states.c.skipped, ~states.c.deleted)
    return set(session.scalars(query))


def gold_of(session: Session, project_id: int, *where: ColumnElement[bool]) -> list[Gold]:
    """The gold of a project, in task order; ``where`` narrows the tasks."""
    by_task: dict[int, list[Annotation]] = {}
    for row in _current_annotations(session, project_id, *where):
        by_task.setdefault(row.task_id, []).append(row)
    settled: list[Gold] = []
    for ids in id_batches(sorted(by_task)):
        query = select(Task).where(Task.id.in_(ids)).order_by(Task.id)
        settled += [_gold(task, by_task[task.id]) for task in session.scalars(query)]
    return settled


def _gold(task: Task, rows: Sequence[Annotation]) -> Gold:
    answers = [_answer(row) for row in rows]
    return Gold(task, answers[-1], len(answers), len(set(answers)) > 1)


def _answer(row: Annotation) -> tuple[Entity, ...]:
    return _sorted(msgspec.convert(row.entities, list[Entity]))


def _order(entity: Entity) -> tuple[int, int, str]:
    return entity.start, entity.end, entity.label


def count_gold(session: Session, project_id: int) -> GoldCounts:
    """How much gold a project has; reads the answers of those tasks alone that have several."""
    states = _states(project_id)
    answered = (
        select(states.c.task_id, func.count().label("answers"))
        .where(_usable(states))
        .group_by(states.c.task_id)
        .subquery()
    )
    total = session.scalar(select(func.count()).select_from(answered)) or 0
    several = select(answered.c.task_id).where(answered.c.answers > 1)
    answers: dict[int, set[tuple[Entity, ...]]] = {}
    for row in _current_annotations(session, project_id, Task.id.in_(several)):
        answers.setdefault(row.task_id, set()).add(_answer(row))
    return GoldCounts(total, sum(len(different) > 1 for different in answers.values()))


def count_corrections(session: Session, project_id: int) -> dict[str, int]:
    """Number of corrections by kind, over the current annotations."""
    states = _states(project_id)
    query = (
        select(Correction.kind, func.count())
        .join(states, states.c.id == Correction.annotation_id)
        .where(_usable(states))
        .group_by(Correction.kind)
        .order_by(Correction.kind)
    )
    return dict(session.execute(query).all())
