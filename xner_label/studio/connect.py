"""Connecting a project of the store with one of Label Studio; doing it again changes nothing.

What is made there: the project with its labelling configuration, the ML backend, an authenticated webhook and a
view of the tasks with the least confident first. A project that exists is joined; its annotations are left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from xner_label.errors import ConfigurationError, UsageError
from xner_label.progress import SILENCE
from xner_label.settings.table import Settings
from xner_label.store import projects, reviews, tasks
from xner_label.store.database import Store
from xner_label.store.gold import gold_of
from xner_label.store.tables import Project
from xner_label.studio.attaching import attach, detach
from xner_label.studio.client import Studio, open_studio
from xner_label.studio.fetching import moment
from xner_label.studio.identity import is_connected, mark_of, require_connected
from xner_label.studio.instructions import are_ours, instructions
from xner_label.studio.labelling import (
    EXTERNAL_ID,
    MIN_CONFIDENCE,
    SOURCE,
    Control,
    find_control,
    labelling_config,
    shown_fields,
    upgraded_config,
)
from xner_label.studio.task_fields import refresh_fields
from xner_label.studio.views import ensure_views
from xner_label.wording import counted

# Serve the least confident task first, and open it with its prediction.
_PROJECT_OPTIONS = {"sampling": "Uncertainty sampling", "show_collab_predictions": True}


class ConnectOptions(msgspec.Struct, frozen=True):
    """``studio_project`` joins that project; ``new`` makes another one even if one is connected; ``backend`` False
    leaves the ML backend and its webhook alone; ``replace_config`` overwrites the labelling configuration;
    ``text_field`` and ``source_field`` name the fields in which a joined project shows the text and its source."""

    studio_project: int | None = None
    new: bool = False
    backend: bool = True
    replace_config: bool = False
    text_field: str | None = None
    source_field: str | None = None


class Connection(msgspec.Struct, frozen=True):
    """What is connected now. ``notes`` say what was left out and how to have it."""

    project: str
    studio_project: int
    url: str
    created: bool
    backend: int | None
    webhook: int | None
    view: int
    notes: tuple[str, ...]


def connect(store: Store, settings: Settings, options: ConnectOptions) -> Connection:
    """Connect the project that ``settings`` name. The store is changed only once everything else went well.

    Raises StudioError, ConfigurationError when the labelling configuration of a joined project doesn't offer our
    labels or shows fields that nobody fills, UsageError for options that contradict.
    """
    if options.new and options.studio_project is not None:
        raise UsageError("a project is either joined or new", hint="give --project-id or --new, not both")
    with store.write() as session:
        project = projects.find_or_make(session, settings.project, settings.labels)
    with open_studio(settings) as studio:
        studio_row, created = _project(studio, project, settings, options)
        same = not created and _is_same(project, studio, studio_row)
        with store.read() as session:
            projects.require_unclaimed(session, project, studio.url, studio_row.id, moment(studio_row.created_at))
        control = _control(studio_row, project if same else None, settings, options)
        changes: dict[str, Any] = {
            name: value for name, value in _PROJECT_OPTIONS.items() if getattr(studio_row, name, None) != value
        }
        if options.replace_config:
            changes["label_config"] = labelling_config(settings.labels, settings.source_language)
        elif upgraded := upgraded_config(studio_row.label_config):
            changes["label_config"] = upgraded
            control = msgspec.structs.replace(control, guides=True)
        changes |= _instructed(store, studio_row, project, settings)
        already_pushed = {} if same or created else _already_there(store, studio, project, studio_row.id, control)
        if changes:
            studio.write(studio.api.projects.update, studio_row.id, **changes)
        notes: list[str] = []
        backend, webhook = attach(studio, studio_row.id, settings, notes) if options.backend else (None, None)
        view = ensure_views(studio, studio_row.id)
        with store.write() as session:
            stored = projects.get_project(session, settings.project)
            if not same:
                _leave(session, stored, notes)
                projects.release_studio_project(session, studio.url, studio_row.id, stored)
            stored.labels = list(settings.labels)
            stored.studio_url, stored.studio_project = studio.url, studio_row.id
            stored.studio_created_at = moment(studio_row.created_at)
            stored.studio_text_field = options.text_field or (stored.studio_text_field if same else None)
            stored.studio_source_field = None if control.source_key == SOURCE else control.source_key
            if options.backend:
                stored.studio_backend, stored.studio_webhook = backend, webhook
            reviews.mark_pushed(session, already_pushed)
        if same:
            refresh_fields(store, studio, stored, control, SILENCE)
    return Connection(
        settings.project,
        studio_row.id,
        studio.project_url(studio_row.id),
        created,
        backend,
        webhook,
        view,
        tuple(notes),
    )


def _instructed(store: Store, studio_row: Any, project: Project, settings: Settings) -> dict[str, Any]:
    """The change to a project of Label Studio that brings its instructions up to date, unless people wrote
    them."""
    with store.read() as session:
        text = instructions(settings.labels, _examples(session, project.id))
    if studio_row.expert_instruction == text or not are_ours(studio_row.expert_instruction):
        return {}
    return {"expert_instruction": text, "show_instruction": True}


def disconnect(store: Store, settings: Settings) -> list[str]:
    """Remove our ML backend and webhook from the connected project and forget the connection; the project over
    there, its tasks and annotations stay. Returns the addresses that were removed.

    Raises StudioError, ConfigurationError when the project isn't connected.
    """
    with open_studio(settings) as studio:
        with store.read() as session:
            project, studio_project = projects.connected_project(session, settings.project, studio.url)
        removed: list[str] = []
        studio_row = _existing(studio, studio_project)
        if studio_row is not None and is_connected(project, studio_row):
            removed = detach(studio, studio_project)
    with store.write() as session:
        _leave(session, projects.get_project(session, settings.project), [])
    return removed


def _existing(studio: Studio, number: int) -> Any:
    """A project of the server, None when it was deleted."""
    rows = studio.read(studio.api.projects.list)
    return studio.project(number) if any(row.id == number for row in rows) else None


def _is_same(project: Project, studio: Studio, studio_row: Any) -> bool:
    """Whether the store is connected with exactly this project already."""
    return (project.studio_url, project.studio_project) == (studio.url, studio_row.id) and is_connected(
        project, studio_row
    )


def _control(studio_row: Any, connected: Project | None, settings: Settings, options: ConnectOptions) -> Control:
    """The control of the project to connect with, checked."""
    if options.replace_config:
        return find_control(labelling_config(settings.labels, settings.source_language), settings.labels)
    text_field = options.text_field or (connected.studio_text_field if connected else None)
    source_field = options.source_field or (connected.studio_source_field if connected else None) or SOURCE
    control = find_control(studio_row.label_config, settings.labels, text_field=text_field)
    filled = {control.text_key, source_field, SOURCE, EXTERNAL_ID, MIN_CONFIDENCE}
    empty = [name for name in shown_fields(studio_row.label_config) if name not in filled]
    if empty:
        names = ", ".join(f"${name}" for name in empty)
        raise ConfigurationError(
            f"project {studio_row.id} of Label Studio shows {names}, which we don't fill",
            hint=f"if that is where the source belongs, `xner-label connect --source-field {empty[0]}`; if it is "
            "the text, --text-field; else take it out of the labelling configuration",
        )
    return msgspec.structs.replace(control, source_key=source_field)


def _already_there(
    store: Store, studio: Studio, project: Project, studio_project: int, control: Control
) -> Mapping[int, int]:
    """Which of our tasks a project that is joined holds already: a push must not send them once more."""
    with store.read() as session:
        if not reviews.count_items(session, project.id)[0]:
            return {}
        texts = {task.external_id: task for task in tasks.iterate_tasks(session, project.id)}
        by_task: dict[int, int] = {}
        for row in studio.tasks(studio_project, include="id,data"):
            task = texts.get(str(row.data.get(EXTERNAL_ID)))
            if task is not None and task.text == row.data.get(control.text_key):
                by_task.setdefault(task.id, row.id)
        return by_task


def _leave(session: Session, project: Project, notes: list[str]) -> None:
    """Forget the project of Label Studio that was connected so far."""
    if project.studio_project is not None:
        waiting = reviews.count_open(session, project.id)
        notes.append(
            f"project {project.studio_project} at {project.studio_url} is left as it is"
            + (f"; {counted(waiting, 'task')} waited there, to go out again with the next push" if waiting else "")
        )
    reviews.forget_studio(session, project.id)
    project.studio_url = project.studio_project = project.studio_created_at = None
    project.studio_backend = project.studio_webhook = None
    project.studio_text_field = project.studio_source_field = None


def _project(studio: Studio, project: Project, settings: Settings, options: ConnectOptions) -> tuple[Any, bool]:
    """The Label Studio project to connect with, and whether it was made now."""
    if options.studio_project is not None:
        return studio.project(options.studio_project), False
    if project.studio_url == studio.url and project.studio_project is not None and not options.new:
        studio_row = studio.project(project.studio_project)
        require_connected(project, studio_row)
        return studio_row, False
    # a connect that was killed may have made the project, which is empty then, without noting its id
    for studio_row in studio.read(studio.api.projects.list):
        ours = studio_row.description == mark_of(project) and not studio_row.task_number
        if ours and not _is_same(project, studio, studio_row):
            return studio.project(studio_row.id), False
    made = studio.write(
        studio.api.projects.create,
        # Label Studio takes titles of 3 to 50 characters
        title=" ".join([project.name, settings.target_language, "(XNER)"]).replace("  ", " ")[-50:],
        description=mark_of(project),
        label_config=labelling_config(settings.labels, settings.source_language),
        **_PROJECT_OPTIONS,
    )
    return studio.project(made.id), True


def _examples(session: Session, project_id: int) -> dict[str, list[str]]:
    """Words that people marked, by label, the commonest first."""
    counts: dict[str, Counter[str]] = {}
    for item in gold_of(session, project_id):
        for entity in item.entities:
            counts.setdefault(entity.label, Counter())[item.task.text[entity.start : entity.end]] += 1
    return {label: [words for words, _ in counter.most_common(10)] for label, counter in counts.items()}
