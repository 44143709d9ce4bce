"""Queries for synchronisation: which annotations are known, and new states of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import case, delete, func, select, update
from sqlalchemy.orm import Session, selectinload

from xner_label.store.database import id_batches
from xner_label.store.tables import Annotation, Prediction, ReviewItem, Task


class State(msgspec.Struct, frozen=True):
    """What is known about an annotation: its newest state. ``withdrawn`` here, it counts as deleted."""

    updated_at: datetime
    deleted: bool
    withdrawn: bool = False

    @property
    def gone(self) -> bool:
        """Whether Label Studio didn't hold it any more."""
        return self.deleted and not self.withdrawn


def studio_tasks(session: Session, project_id: int, rows: Collection[int] | None = None) -> dict[int, int]:
    """The tasks that Label Studio holds, its id -> our id: all of them, or those with an id in ``rows``."""
    query = select(Task.studio_task, Task.id).where(Task.project_id == project_id)
    if rows is None:
        everything = session.execute(query.where(Task.studio_task.is_not(None)))
        return {studio_task: task for studio_task, task in everything if studio_task is not None}
    return {
        studio_task: task
        for ids in id_batches(list(rows))
        for studio_task, task in session.execute(query.where(Task.studio_task.in_(ids)))
        if studio_task is not None
    }


def count_studio_tasks(session: Session, project_id: int) -> int:
    """How many tasks Label Studio holds."""
    return session.scalar(select(func.count(Task.studio_task)).where(Task.project_id == project_id)) or 0


def count_annotations(session: Session, project_id: int) -> int:
    """How many annotations of Label Studio are known and not deleted there."""
    each = (
        select(Annotation.task_id, Annotation.studio_annotation)
        .join(Task, Task.id == Annotation.task_id)
        .where(Task.project_id == project_id, Annotation.origin == "studio")
        .group_by(Annotation.task_id, Annotation.studio_annotation)
        .having(func.max(case((Annotation.deleted & ~Annotation.withdrawn, 1), else_=0)) == 0)
        .subquery()
    )
    return session.scalar(select(func.count()).select_from(each)) or 0


def states(session: Session, task_ids: Sequence[int]) -> dict[int, dict[int, State]]:
    """By our task id and Label Studio's annotation id, what is known about the annotations of these tasks."""
    known: dict[int, dict[int, State]] = {}
    for chunk in id_batches(task_ids):
        query = (
            select(
                Annotation.task_id,
                Annotation.studio_annotation,
                Annotation.studio_updated_at,
                Annotation.deleted,
                Annotation.withdrawn,
            )
            .where(Annotation.task_id.in_(chunk), Annotation.origin == "studio")
            .order_by(Annotation.studio_updated_at, Annotation.id)
        )
        for task, annotation, updated_at, *gone in session.execute(query):
            if annotation is not None and updated_at is not None:
                known.setdefault(task, {})[annotation] = State(updated_at, *gone)
    return known


def mark_deleted(session: Session, task_id: int, annotation: int, state: State) -> None:
    """Add the row which says that an annotation is gone."""
    session.add(
        Annotation(
            task_id=task_id,
            origin="studio",
            studio_annotation=annotation,
            studio_updated_at=state.updated_at,
            deleted=True,
            regions=[],
            entities=[],
        )
    )


def revive(session: Session, task_id: int, annotation: int) -> None:
    """Take back that an annotation is gone: Label Studio holds it (again)."""
    session.execute(
        delete(Annotation).where(
            Annotation.task_id == task_id,
            Annotation.studio_annotation == annotation,
            Annotation.deleted,
            ~Annotation.withdrawn,
        )
    )


def forget_studio_tasks(session: Session, task_ids: Sequence[int]) -> None:
    """Note that Label Studio doesn't hold these tasks any more."""
    for chunk in id_batches(task_ids):
        session.execute(update(Task).where(Task.id.in_(chunk)).values(studio_task=None))


def tasks_with_predictions(session: Session, task_ids: Sequence[int]) -> dict[int, tuple[Task, list[Prediction]]]:
    """The tasks by id, each with all its predictions and their entities, oldest prediction first."""
    by_task: dict[int, tuple[Task, list[Prediction]]] = {}
    for chunk in id_batches(task_ids):
        for task in session.scalars(select(Task).where(Task.id.in_(chunk))):
            by_task[task.id] = (task, [])
        query = (
            select(Prediction)
            .where(Prediction.task_id.in_(chunk))
            .order_by(Prediction.id)
            .options(selectinload(Prediction.entities))
        )
        for prediction in session.scalars(query):
            by_task[prediction.task_id][1].append(prediction)
    return by_task


def served_predictions(session: Session, task_ids: Sequence[int]) -> Mapping[int, int | None]:
    """For the tasks chosen for review, the prediction that was shown; None where the task was served blind."""
    shown: dict[int, int | None] = {}
    for chunk in id_batches(task_ids):
        query = select(ReviewItem.task_id, ReviewItem.prediction_id).where(ReviewItem.task_id.in_(chunk))
        shown.update((task, prediction) for task, prediction in session.execute(query))
    return shown
