"""Queries about projects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from xner_label.errors import ConfigurationError, UsageError
from xner_label.store.tables import Project


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

    Raises ConfigurationError where it has others: only :func:`xner_label.store.labels.change_labels` changes them.
    """
    project = session.scalars(select(Project).where(Project.name == name)).one_or_none()
    if project is None:
        project = Project(name=name, labels=list(labels))
        session.add(project)
        session.flush()
    elif set(project.labels) != set(labels):
        raise ConfigurationError(
            f"the project {name!r} has the labels {','.join(project.labels)}, not {','.join(labels)}",
            hint="correct the settings, or run `xner-label labels --apply` to change the project's",
        )
    return project


def find_or_make(session: Session, name: str, labels: Sequence[str]) -> Project:
    """The project of that name with the labels it has; made with ``labels`` when there is none."""
    project = session.scalars(select(Project).where(Project.name == name)).one_or_none()
    return project if project is not None else ensure_project(session, name, labels)


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


def require_unclaimed(
    session: Session, project: Project, studio_url: str, studio_project: int, made: datetime
) -> None:
    """Raises UsageError when another project is connected with this one of Label Studio, made at ``made``."""
    query = select(Project).where(
        Project.studio_url == studio_url,
        Project.studio_project == studio_project,
        Project.studio_created_at == made,
        Project.id != project.id,
    )
    for other in session.scalars(query):
        raise UsageError(
            f"project {studio_project} of Label Studio is connected with project {other.name!r} of the store",
            hint="give each a project of its own, or disconnect the other one first",
        )


def release_studio_project(session: Session, studio_url: str, studio_project: int, keep: Project) -> None:
    """Let no project but ``keep`` claim this project of Label Studio: its server may have begun to count anew."""
    query = select(Project).where(
        Project.studio_url == studio_url, Project.studio_project == studio_project, Project.id != keep.id
    )
    for project in session.scalars(query):
        project.studio_url = project.studio_project = project.studio_created_at = None
        project.studio_backend = project.studio_webhook = None
    session.flush()


def lock_project(session: Session, project_id: int) -> None:
    """Let one process at a time decide about a project (SQLite has one writer anyway)."""
    session.get(Project, project_id, with_for_update=True)
