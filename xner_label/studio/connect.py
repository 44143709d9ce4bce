"""Connecting a project of the store with one of Label Studio; doing it again changes nothing.

What is made there: the project with its labelling configuration, the ML backend, an authenticated webhook and a
view of the tasks with the least confident first. A project that exists is joined; its annotations are left alone.
"""

from __future__ import annotations

from typing import Any

import msgspec

from xner_label.errors import StudioError, UsageError
from xner_label.settings.table import Settings
from xner_label.store import projects, reviews
from xner_label.store.database import Store
from xner_label.store.tables import Project
from xner_label.studio.client import Studio, open_studio
from xner_label.studio.labelling import find_control, labelling_config

# The header by which the ML backend knows that a webhook call is Label Studio's.
SECRET_HEADER = "X-XNER-Label-Secret"
WEBHOOK_ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
BACKEND_TITLE = "XNER-Label"
VIEW_TITLE = "Least confident first"

# Serve the least confident task first, and open it with its prediction.
_PROJECT_OPTIONS = {"sampling": "Uncertainty sampling", "show_collab_predictions": True}
# Columns of the data manager that say nothing here.
_HIDDEN_COLUMNS = (
    *("tasks:inner_id", "tasks:completed_at", "tasks:total_predictions", "tasks:avg_lead_time"),
    *("tasks:draft_exists", "tasks:file_upload", "tasks:storage_filename", "tasks:predictions_results"),
    *("tasks:annotations_results", "tasks:annotations_ids", "tasks:predictions_model_versions"),
    *("tasks:created_at", "tasks:updated_at", "tasks:updated_by", "tasks:comment_count"),
    *("tasks:unresolved_comment_count", "tasks:last_comment_updated_at", "tasks:comment_authors"),
)


class ConnectOptions(msgspec.Struct, frozen=True):
    """``studio_project`` joins that project; ``new`` makes another one even if one is connected; ``backend`` False
    leaves the ML backend and its webhook alone; ``replace_config`` overwrites the labelling configuration."""

    studio_project: int | None = None
    new: bool = False
    backend: bool = True
    replace_config: bool = False


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
    """Connect the project that ``settings`` name.

    Raises StudioError, ConfigurationError when the labelling configuration of a joined project doesn't offer our
    labels, UsageError for options that contradict.
    """
    if options.new and options.studio_project is not None:
        raise UsageError("a project is either joined or new", hint="give --project-id or --new, not both")
    with store.write() as session:
        project = projects.ensure_project(session, settings.project, settings.labels)
    with open_studio(settings) as studio:
        found, created = _project(studio, project, settings, options)
        changes: dict[str, Any] = {
            name: value for name, value in _PROJECT_OPTIONS.items() if getattr(found, name, None) != value
        }
        if options.replace_config:
            changes["label_config"] = labelling_config(settings.labels, settings.source_language)
        else:
            find_control(found.label_config, settings.labels)
        if changes:
            studio.write(studio.api.projects.update, found.id, **changes)
        notes: list[str] = []
        backend, webhook = _backend(studio, found.id, settings, options, notes)
        view = _view(studio, found.id)
    with store.write() as session:
        stored = projects.get_project(session, settings.project)
        if (stored.studio_url, stored.studio_project) != (studio.url, found.id):
            reviews.forget_studio(session, stored.id)
            stored.studio_backend = stored.studio_webhook = None
        stored.studio_url, stored.studio_project = studio.url, found.id
        if options.backend:
            stored.studio_backend, stored.studio_webhook = backend, webhook
    return Connection(
        settings.project, found.id, studio.project_url(found.id), created, backend, webhook, view, tuple(notes)
    )


def _project(studio: Studio, project: Project, settings: Settings, options: ConnectOptions) -> tuple[Any, bool]:
    """The Label Studio project to connect with, and whether it was made now."""
    if options.studio_project is not None:
        return studio.project(options.studio_project), False
    known = project.studio_project if project.studio_url == studio.url else None
    if known is not None and not options.new:
        return studio.project(known), False
    # A connect that was killed may have made the project without noting its id. The moment at which the store's
    # own row was made tells ours from one that another store gave the same name.
    mark = f"Made by XNER-Label for its project {project.name!r} of {project.created_at.isoformat()}"
    for found in studio.read(studio.api.projects.list):
        if found.description == mark and found.id != known:
            return studio.project(found.id), False
    made = studio.write(
        studio.api.projects.create,
        # Label Studio takes titles of 3 to 50 characters
        title=f"{project.name} (XNER)"[-50:],
        description=mark,
        label_config=labelling_config(settings.labels, settings.source_language),
        **_PROJECT_OPTIONS,
    )
    return studio.project(made.id), True


def _backend(
    studio: Studio, project: int, settings: Settings, options: ConnectOptions, notes: list[str]
) -> tuple[int | None, int | None]:
    """Attach exactly one ML backend and one webhook; returns their ids."""
    if not options.backend:
        return None, None
    url = settings.backend_url.rstrip("/")
    if not url:
        notes.append("no ML backend: set backend.url (or XNER_LABEL_BACKEND_URL) and connect again")
        return None, None
    if settings.webhook_secret:
        webhook = _webhook(studio, project, f"{url}/webhook", settings.webhook_secret)
        return _one_backend(studio, project, url, settings), webhook
    backend = _one_backend(studio, project, url, settings)
    # Label Studio gives every new backend a webhook that anybody could call.
    for hook in _webhooks(studio, project, f"{url}/webhook"):
        studio.write(studio.api.webhooks.delete, hook.id)
    notes.append(
        "no webhook: set XNER_LABEL_WEBHOOK_SECRET for `serve` and `connect` alike and connect again; "
        "`sync` doesn't need it"
    )
    return backend, None


def _one_backend(studio: Studio, project: int, url: str, settings: Settings) -> int:
    wanted: dict[str, Any] = {"title": BACKEND_TITLE, "auth_method": "NONE"}
    if settings.backend_user:
        wanted |= {
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": settings.backend_user,
            "basic_auth_pass": settings.backend_password,
        }
    ours, *surplus = _backends(studio, project, url) or [None]
    for row in surplus:
        studio.write(studio.api.ml.delete, row.id)
    if ours is not None:
        # the password can't be read back, so whether it changed isn't known
        if settings.backend_user or any(getattr(ours, name) != value for name, value in wanted.items()):
            studio.write(studio.api.ml.update, ours.id, url=url, project=project, **wanted)
        return int(ours.id)
    try:
        return int(studio.write(studio.api.ml.create, url=url, project=project, **wanted).id)
    except StudioError:
        # with only one of its two address checks switched off, Label Studio refuses and keeps the row
        for ghost in _backends(studio, project, url):
            studio.write(studio.api.ml.delete, ghost.id)
        raise


def _backends(studio: Studio, project: int, url: str) -> list[Any]:
    rows = studio.read(studio.api.ml.list, project=project)
    return sorted((row for row in rows if row.url.rstrip("/") == url), key=lambda row: row.id)


def _webhook(studio: Studio, project: int, url: str, secret: str) -> int:
    wanted = {
        "headers": {SECRET_HEADER: secret},
        "actions": list(WEBHOOK_ACTIONS),
        "send_for_all_actions": False,
        "send_payload": True,
        "is_active": True,
    }
    ours, *surplus = _webhooks(studio, project, url) or [None]
    for row in surplus:
        studio.write(studio.api.webhooks.delete, row.id)
    if ours is None:
        return int(studio.write(studio.api.webhooks.create, url=url, project=project, **wanted).id)
    if any(_comparable(getattr(ours, name)) != _comparable(value) for name, value in wanted.items()):
        studio.write(studio.api.webhooks.update, ours.id, url=url, **wanted)
    return int(ours.id)


def _comparable(value: object) -> object:
    return sorted(value) if isinstance(value, list) else value


def _webhooks(studio: Studio, project: int, url: str) -> list[Any]:
    rows = studio.read(studio.api.webhooks.list, project=project)
    return sorted((row for row in rows if row.project == project and row.url == url), key=lambda row: row.id)


def _view(studio: Studio, project: int) -> int:
    for view in studio.read(studio.api.views.list, project=project):
        if isinstance(view.data, dict) and view.data.get("title") == VIEW_TITLE:
            return int(view.id)
    data = {
        "title": VIEW_TITLE,
        "type": "list",
        "ordering": ["tasks:predictions_score"],
        "filters": {"conjunction": "and", "items": []},
        "hiddenColumns": {"explore": list(_HIDDEN_COLUMNS), "labeling": list(_HIDDEN_COLUMNS)},
    }
    return int(studio.write(studio.api.views.create, project=project, data=data).id)
