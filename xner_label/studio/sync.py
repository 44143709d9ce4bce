"""Taking over what people did in Label Studio, incrementally and as often as one likes.

A sync asks for the tasks that changed since the last one began (by the server's own clock, and a little further
back), fetches annotations it has not seen in that state, and writes them together with the new cursor in one
transaction. One that finds that another sync has written meanwhile throws away what it fetched and asks again:
what it knows may be older than what is stored. Webhooks are not needed: they may be lost, polling isn't.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.orm import Session

from xner_label.errors import CheckFailedError, ConfigurationError, ContractError, PartialError, UsageError
from xner_label.progress import SILENCE, Progress
from xner_label.settings.table import Settings
from xner_label.store import projects, set_aside, sync_state, syncing
from xner_label.store.database import Store
from xner_label.studio.client import Studio, open_studio
from xner_label.studio.fetching import Fetched, fetch, moment
from xner_label.studio.following import follow_newest
from xner_label.studio.hearing_names import sync_names
from xner_label.studio.identity import require_connected
from xner_label.studio.labelling import Control, control_of_project
from xner_label.studio.recording import Recorder
from xner_label.studio.showing_conflicts import show_conflicts
from xner_label.studio.sync_report import SyncReport

# A request that began before ours may commit after it, and several servers' clocks may differ a little.
_OVERLAP = timedelta(seconds=60)
# How often a sync begins again because another one was quicker.
_ATTEMPTS = 10
# More deletions than this, in number and as a share, look like an accident on the other side.
_MANY = 10
_SHARE = 0.2


def sync(
    store: Store,
    settings: Settings,
    progress: Progress = SILENCE,
    *,
    full: bool = False,
    allow_deletions: bool = False,
) -> SyncReport:
    """Take over every change since the last sync; ``full`` looks at every task again.

    Raises StudioError, ConfigurationError when the project isn't connected, ContractError when its labelling
    configuration lost a label, CheckFailedError for deletions on a large scale unless ``allow_deletions``,
    PartialError when other syncs were always quicker; then nothing is written. Annotations that break the contract
    are left out and named in the report.
    """
    with open_studio(settings) as studio:
        for _ in range(_ATTEMPTS):
            report = _attempt(store, studio, settings, progress, full=full, allow_deletions=allow_deletions)
            if report is not None:
                with store.read() as session:
                    project, number = projects.connected_project(session, settings.project, studio.url)
                report.names = sync_names(store, studio, project)
                control = control_of_project(studio.project(number), project)
                report.refreshed, report.reordered = follow_newest(store, studio, project, control, progress)
                report.conflicts_shown = show_conflicts(store, studio, project, control)
                return report
    raise PartialError(
        f"{_ATTEMPTS} other syncs were quicker than this one; it has written nothing",
        hint="run `xner-label sync` from one place at a time",
    )


def acknowledge(store: Store, settings: Settings, annotations: Sequence[int], reason: str) -> list[int]:
    """Note that these annotations, which a sync refuses, need not be named again; returns their numbers.

    Raises what ``sync`` raises, and UsageError for a number that isn't refused; then none is noted.
    """
    refused = {rejected.annotation: rejected for rejected in sync(store, settings).rejected}
    unknown = [number for number in annotations if number not in refused]
    if unknown:
        raise UsageError(
            f"sync doesn't refuse annotation {', '.join(map(str, unknown))}",
            hint=f"it refuses {', '.join(map(str, refused)) or 'none'}",
        )
    chosen = [refused[number] for number in dict.fromkeys(annotations)]
    with store.write() as session:
        project_id = projects.get_project(session, settings.project).id
        problems = {(item.annotation, item.updated_at): item.problem for item in chosen}
        set_aside.acknowledge(session, project_id, problems, reason)
    sync(store, settings)
    return [item.annotation for item in chosen]


def _attempt(
    store: Store, studio: Studio, settings: Settings, progress: Progress, *, full: bool, allow_deletions: bool
) -> SyncReport | None:
    """One sync; None when another one wrote while this one asked."""
    with store.read() as session:
        project, studio_project = projects.connected_project(session, settings.project, studio.url)
        generation = sync_state.generation(session, project.id)
        cursor = None if full else sync_state.get_cursor(session, project.id)
    began = studio.clock()
    connected = studio.project(studio_project)
    require_connected(project, connected)
    try:
        control = control_of_project(connected, project)
    except ConfigurationError as error:
        raise ContractError(error.args[0], hint=error.hint) from error
    since = None if cursor is None else cursor - _OVERLAP
    fetched = fetch(store, studio, project.id, studio_project, since, progress)
    report = SyncReport(project.name, changed_tasks=len(fetched.changed))
    with store.write() as session:
        projects.lock_project(session, project.id)
        if sync_state.generation(session, project.id) != generation:
            return None
        stored = projects.get_project(session, project.name)
        stored.studio_created_at = moment(connected.created_at)
        stored.majority = settings.disagreements == "majority"
        _write(store, session, project.id, control, fetched, report, allow_deletions=allow_deletions)
        blocked = {rejected.studio_task for rejected in report.rejected}
        held = [moment(task.updated_at) for task in fetched.changed if task.id in blocked]
        newest = [moment(task.updated_at) for task in fetched.changed]
        report.cursor = min([*held, max([*newest, *([cursor] if cursor else [])], default=began), began])
        sync_state.set_cursor(session, project.id, report.cursor)
    return report


def _write(
    store: Store,
    session: Session,
    project_id: int,
    control: Control,
    fetched: Fetched,
    report: SyncReport,
    *,
    allow_deletions: bool,
) -> None:
    acknowledged = set_aside.acknowledged(session, project_id)
    Recorder(session, project_id, control, fetched, report, acknowledged).run()
    if allow_deletions:
        return
    for count, count_all, what in (
        (report.deleted, syncing.count_annotations, "annotations"),
        (report.deleted_tasks, syncing.count_studio_tasks, "tasks"),
    ):
        if count <= _MANY:
            continue
        with store.read() as before:  # this transaction isn't committed
            of = count_all(before, project_id)
        if count >= _SHARE * of:
            raise CheckFailedError(
                f"{count} of {of} {what} are gone from Label Studio; nothing was taken over",
                hint="look there whether that is meant; if so, run `xner-label sync --allow-deletions`",
            )
