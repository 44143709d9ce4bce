"""Whether a project of Label Studio is the one that was connected.

A server whose data is lost begins to count anew: another project then has the number, and its tasks have the
numbers, of what was there before. Taking it for the old one would mean that everything synced from that was
deleted.
"""

from __future__ import annotations

from typing import Any

from xner_label.errors import StudioError
from xner_label.store.tables import Project
from xner_label.studio.fetching import moment

_MARK = "Made by XNER-Label for its project"


def mark_of(project: Project) -> str:
    """The description of a project that we make: it tells ours from one that another store gave the same name."""
    return f"{_MARK} {project.name!r} of {project.created_at.isoformat()}"


def is_connected(project: Project, found: Any) -> bool:
    """Whether ``found``, a project of Label Studio with the number that is stored, is the connected one."""
    if project.studio_created_at is not None:
        return project.studio_created_at == moment(found.created_at)
    # connected before the time was noted: what we made carries a mark, what was joined doesn't
    description = found.description or ""
    return not description.startswith(_MARK) or description == mark_of(project)


def require_connected(project: Project, found: Any) -> None:
    """Raises StudioError when ``found`` isn't the connected project but another one with its number."""
    if not is_connected(project, found):
        raise StudioError(
            f"project {found.id} of Label Studio isn't the one that was connected: "
            f"it was made {moment(found.created_at):%Y-%m-%d %H:%M} UTC, as if the server had begun anew",
            hint="restore its database from a backup, or run `xner-label connect --new`: annotations that were "
            "synced stay, everything else goes out again",
        )
