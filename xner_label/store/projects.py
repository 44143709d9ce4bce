"""Queries about projects."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from xner_label.errors import ConfigurationError, UsageError
from xner_label.store.tables import Annotation, Project, Task


def get_project(session: Session, name: str) -> Project:
    """The project of that name. Raises UsageError when there is none."""
    project = session.scalars(select(Project).where(Project.name == name)).one_or_none()
    if project is None:
        raise UsageError(
            f"the store has no project {name!r}", hint="`xner-label import` or `xner-label connect` makes it"
        )
    return project


def ensure_project(session: Session, name: str, labels: Sequence[str]) -> Project:
    """The project of that name, made with ``labels`` when there is none.

    Raises ConfigurationError when there is one with other labels, see ``require_labels``.
    """
    project = session.scalars(select(Project).where(Project.name == name)).one_or_none()
    if project is None:
        project = Project(name=name, labels=list(labels))
        session.add(project)
        session.flush()
    require_labels(project, labels)
    return project


def require_labels(project: Project, labels: Sequence[str]) -> None:
    """Raise ConfigurationError unless these are the project's labels, in whatever order.

    A label set changes by ``set_labels`` alone, never as a side effect: entities with a label that is missing are
    left out of training and review.
    """
    if set(project.labels) != set(labels):
        raise ConfigurationError(
            f"project {project.name!r} has the labels {', '.join(project.labels)}, the settings say "
            f"{', '.join(labels)}",
            hint="correct `labels` in xner-label.toml (or the flag), or change the project: "
            "`xner-label labels --apply`",
        )


def require_labels_if_made(session: Session, name: str, labels: Sequence[str]) -> None:
    """Raise ConfigurationError when there is a project of that name with other labels."""
    project = session.scalars(select(Project).where(Project.name == name)).one_or_none()
    if project is not None:
        require_labels(project, labels)


class LabelChange(msgspec.Struct, frozen=True):
    """A project's label set and how it differs from another one; ``gold`` counts the tasks whose annotations have
    labels that are ``removed``."""

    labels: list[str]
    added: list[str]
    removed: list[str]
    gold: int


def compare_labels(session: Session, project: Project, labels: Sequence[str]) -> LabelChange:
    """What it would mean to give the project these labels."""
    removed = [label for label in project.labels if label not in labels]
    affected: set[int] = set()
    if removed:
        query = (
            select(Annotation.task_id, Annotation.entities)
            .join(Task, Task.id == Annotation.task_id)
            .where(Task.project_id == project.id, Annotation.deleted.is_(False))
        )
        for task_id, entities in session.execute(query):
            if any(entity["label"] in removed for entity in entities):
                affected.add(task_id)
    added = [label for label in labels if label not in project.labels]
    return LabelChange(list(project.labels), added, removed, len(affected))


def set_labels(project: Project, labels: Sequence[str]) -> None:
    """Give a project another label set. What is stored stays, also entities with labels that it no longer has."""
    project.labels = list(labels)


def connected_project(session: Session, name: str, studio_url: str) -> tuple[Project, int]:
    """The project of that name and its id in the Label Studio at ``studio_url``.

    Raises UsageError when the store has no such project, ConfigurationError when it isn't connected there.
    """
    project = get_project(session, name)
    if project.studio_project is None:
        raise ConfigurationError(
            f"project {name!r} isn't connected to Label Studio", hint="run `xner-label connect`"
        )
    if project.studio_url != studio_url:
        raise ConfigurationError(
            f"project {name!r} is connected to {project.studio_url}, the settings name {studio_url}",
            hint="correct LABEL_STUDIO_URL, or run `xner-label connect` again to move to the other server",
        )
    return project, project.studio_project


def lock_project(session: Session, project_id: int) -> None:
    """Let one process at a time decide about a project (SQLite has one writer anyway)."""
    session.get(Project, project_id, with_for_update=True)


def find_by_studio(session: Session, studio_project: int) -> Project | None:
    """The project that is connected to a Label Studio project id, if any."""
    return session.scalars(select(Project).where(Project.studio_project == studio_project)).first()
