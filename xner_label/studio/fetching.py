"""What a sync asks Label Studio for: the tasks that changed, in full those with something new, and what is
gone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from xner_label.errors import StudioError
from xner_label.progress import SILENCE, Progress
from xner_label.store import syncing
from xner_label.store.database import Store
from xner_label.store.syncing import State
from xner_label.studio.answers import NotAnsweredError
from xner_label.studio.client import Studio

_CHANGED = "id,data,updated_at,annotations"


class Fetched(msgspec.Struct, frozen=True):
    """What Label Studio said: the changed tasks, in full those with unknown annotations, the ids that are gone,
    and e-mail addresses by user id."""

    changed: list[Any]
    full: dict[int, Any]
    gone: set[int]
    users: dict[int, str]


def fetch(
    store: Store,
    studio: Studio,
    project_id: int,
    studio_project: int,
    since: datetime | None,
    progress: Progress = SILENCE,
) -> Fetched:
    """Ask for everything that changed after ``since`` (None: for everything). Raises StudioError."""
    progress.begin("asking for tasks")
    changed = []
    for task in studio.tasks(studio_project, changed_after=since, include=_CHANGED):
        changed.append(task)
        progress.advance()
    with store.read() as session:
        known = syncing.studio_tasks(session, project_id, [task.id for task in changed])
        expected = syncing.count_studio_tasks(session, project_id) + len(changed) - len(known)
    gone: set[int] = set()
    # Counting is cheap, so the ids of all tasks are asked for only when they can't be those that are expected.
    if studio.count_tasks(studio_project) != expected:
        with store.read() as session:
            known = syncing.studio_tasks(session, project_id)
        present = {task.id for task in studio.tasks(studio_project, include="id")}
        named = {task.id for task in changed} | known.keys()
        gone = named - present
        # what came back without a change of its own, as after a backup was restored
        changed += studio.full_tasks(studio_project, sorted(present - named), include=_CHANGED)
    for task in changed:
        if not isinstance(task.annotations, list):
            raise NotAnsweredError(
                f"Label Studio at {studio.url} lists task {task.id} without its annotations",
                hint="look into its log; nothing was concluded from this answer",
            )
    with store.read() as session:
        states = syncing.states(session, [known[task.id] for task in changed if task.id in known])
    unseen = [task.id for task in changed if _is_unseen(task, states.get(known.get(task.id, 0), {}))]
    progress.begin("asking for annotations", len(unseen))
    full = {}
    for task in studio.full_tasks(studio_project, unseen):
        full[task.id] = task
        progress.advance()
    users = user_names(studio) if full else {}
    return Fetched([task for task in changed if task.id not in gone], full, gone, users)


def moment(value: str | datetime) -> datetime:
    """A time of Label Studio's in UTC."""
    return (value if isinstance(value, datetime) else datetime.fromisoformat(value)).astimezone(UTC)


def _is_unseen(task: Any, states: Mapping[int, State]) -> bool:
    """Whether the task has an annotation that isn't known, is newer than what is known, or counts as deleted."""
    return any(
        (state := states.get(stub["id"])) is None or state.gone or state.updated_at < moment(stub["updated_at"])
        for stub in task.annotations
    )


def user_names(studio: Studio) -> dict[int, str]:
    """E-mail addresses by user id; none where the token may not list users."""
    try:
        return {user.id: user.email for user in studio.read(studio.api.users.list)}
    except NotAnsweredError:
        raise
    except StudioError:
        return {}
