"""Whether a project of Label Studio is the one that was connected.

A server whose data is lost begins to count anew: another project then has the number, and its tasks have the
numbers, of what was there before. Taking it for the old one would mean that everything synced from that was
deleted.
"""

from __future__ import annotations

from typing import Any

from xner_label.errors import StudioError
from xner_label.settings.table import Settings
from xner_label.store import projects
from xner_label.store.database import open_store
from xner_label.store.tables import Project
from xner_label.studio.attaching import Attached, attached
from xner_label.studio.client import open_studio
from xner_label.studio.fetching import moment
from xner_label.studio.labelling import control_of_project

_MARK = "Made by XNER-Label for its project"


def mark_of(project: Project) -> str:
    """The description of a project that we make: it tells ours from one that another store gave the same name."""
    return f"{_MARK} {project.name!r} of {project.created_at.isoformat()}"


def is_connected(project: Project, studio_row: Any) -> bool:
    """Whether ``studio_row``, a project of Label Studio with the number that is stored, is the connected one."""
    if project.studio_created_at is not None:
        return project.studio_created_at == moment(studio_row.created_at)
    # connected before the time was noted: what we made carries a mark, what was joined doesn't
    description = studio_row.description or ""
    return not description.startswith(_MARK) or description == mark_of(project)


def require_connected(project: Project, studio_row: Any) -> None:
    """Raises StudioError when ``studio_row`` isn't the connected project but another one with its number."""
    if not is_connected(project, studio_row):
        raise StudioError(
            f"project {studio_row.id} of Label Studio isn't the one that was connected: "
            f"it was made {moment(studio_row.created_at):%Y-%m-%d %H:%M} UTC, as if the server had begun anew",
            hint="restore its database from a backup, or run `xner-label connect --new`: annotations that were "
            "synced stay, everything else goes out again",
        )


def check_connection(settings: Settings) -> tuple[str, Attached]:
    """Where the connected project is, and what is attached to it. Raises StudioError when it is gone or another
    one, ConfigurationError when none is connected, or its labelling configuration lost a label."""
    with open_studio(settings) as studio:
        with open_store(settings.database_url) as store, store.read() as session:
            project, number = projects.connected_project(session, settings.project, studio.url)
        studio_project = studio.project(number)
        require_connected(project, studio_project)
        control_of_project(studio_project, project)
        return studio.project_url(number), attached(studio, number, settings.backend_url.rstrip("/"))
