"""Queries about what somebody set aside with a reason: tasks, and annotations that can't be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from xner_label.errors import UsageError
from xner_label.store import projects, tasks
from xner_label.store.database import Store, insert_new
from xner_label.store.tables import Acknowledgement, ExcludedTask, Task

# An annotation of Label Studio in one of its states.
AnnotationState = tuple[int, datetime]


def exclude(session: Session, task_ids: Sequence[int], reason: str) -> int:
    """Set tasks aside; returns how many weren't yet."""
    return insert_new(session, ExcludedTask, [{"task_id": task, "reason": reason} for task in task_ids])


def include(session: Session, task_ids: Sequence[int]) -> int:
    """Take tasks back in; returns how many had been set aside."""
    taken = delete(ExcludedTask).where(ExcludedTask.task_id.in_(task_ids)).returning(ExcludedTask.task_id)
    return len(session.scalars(taken).all())


def excluded(session: Session, project_id: int) -> dict[int, str]:
    """The reasons of the tasks that are set aside, by task id."""
    query = (
        select(ExcludedTask.task_id, ExcludedTask.reason)
        .join(Task, Task.id == ExcludedTask.task_id)
        .where(Task.project_id == project_id)
    )
    return dict(session.execute(query).all())


def change_exclusions(store: Store, project: str, external_ids: Sequence[str], reason: str | None) -> int:
    """Set tasks aside by the user's ids, or (``reason`` None) take them back in; returns how many changed.

    Raises UsageError when there is no such project or task; then nothing is changed.
    """
    with store.write() as session:
        project_id = projects.get_project(session, project).id
        known = tasks.ids_by_external(session, project_id, external_ids)
        unknown = [name for name in external_ids if name not in known]
        if unknown:
            raise UsageError(
                f"project {project!r} has no task {', '.join(map(repr, unknown[:5]))}",
                hint="the ids are those of the imported files, or `studio-<number>` if made in Label Studio",
            )
        ids = list(known.values())
        return include(session, ids) if reason is None else exclude(session, ids, reason)


def exclusions(store: Store, project: str) -> dict[str, str]:
    """The reasons of the tasks that are set aside, by the user's id. Raises UsageError."""
    with store.read() as session:
        query = (
            select(Task.external_id, ExcludedTask.reason)
            .join(Task, Task.id == ExcludedTask.task_id)
            .where(Task.project_id == projects.get_project(session, project).id)
            .order_by(ExcludedTask.created_at, Task.id)
        )
        return dict(session.execute(query).all())


def not_excluded() -> ColumnElement[bool]:
    """The condition that a task isn't set aside."""
    return Task.id.not_in(select(ExcludedTask.task_id))


def acknowledge(session: Session, project_id: int, problems: Mapping[AnnotationState, str], reason: str) -> int:
    """Note that somebody has seen these annotations, in these states; returns how many are new."""
    rows = [
        {
            "project_id": project_id,
            "studio_annotation": annotation,
            "studio_updated_at": updated_at,
            "problem": problem,
            "reason": reason,
        }
        for (annotation, updated_at), problem in problems.items()
    ]
    return insert_new(session, Acknowledgement, rows)


def acknowledged(session: Session, project_id: int) -> set[AnnotationState]:
    """The annotations, in the states, that somebody has acknowledged."""
    query = select(Acknowledgement.studio_annotation, Acknowledgement.studio_updated_at).where(
        Acknowledgement.project_id == project_id
    )
    return {(annotation, updated_at) for annotation, updated_at in session.execute(query)}


def count_acknowledged(session: Session, project_id: int) -> int:
    """How many annotations, in how many states, have been acknowledged."""
    query = select(func.count()).select_from(Acknowledgement).where(Acknowledgement.project_id == project_id)
    return session.scalar(query) or 0
