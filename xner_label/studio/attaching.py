"""One ML backend and one webhook at a project of Label Studio, whatever was there before.

The webhook carries a secret that every user of Label Studio can read: connecting with another one rotates it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from xner_label.errors import StudioError
from xner_label.settings.table import Settings
from xner_label.studio.client import Studio

# The header by which the ML backend knows that a webhook call is Label Studio's.
SECRET_HEADER = "X-XNER-Label-Secret"
WEBHOOK_ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
BACKEND_TITLE = "XNER-Label"


def attach(studio: Studio, project: int, settings: Settings, notes: list[str]) -> tuple[int | None, int | None]:
    """Attach the backend that ``settings`` name in place of any other of ours; returns its id and the webhook's.

    What can't be had is said in ``notes``. Raises StudioError; then a webhook that was made is gone again.
    """
    url = settings.backend_url.rstrip("/")
    if not url:
        notes.append("no ML backend: set backend.url (or XNER_LABEL_BACKEND_URL) and connect again")
        return None, None
    webhook = None
    if settings.webhook_secret:
        webhook, made = _webhook(studio, project, f"{url}/webhook", settings.webhook_secret)
        try:
            backend = _one_backend(studio, project, url, settings)
        except StudioError:
            if made:
                studio.write(studio.api.webhooks.delete, webhook)
            raise
    else:
        backend = _one_backend(studio, project, url, settings)
        # Label Studio gives every new backend a webhook that anybody could call.
        for hook in _webhooks(studio, project, f"{url}/webhook"):
            studio.write(studio.api.webhooks.delete, hook.id)
        notes.append(
            "no webhook: set XNER_LABEL_WEBHOOK_SECRET for `serve` and `connect` alike and connect again; "
            "`sync` doesn't need it"
        )
    if removed := detach(studio, project, keep=(backend, webhook)):
        notes.append(f"removed what was attached before: {', '.join(removed)}")
    return backend, webhook


class Attached(NamedTuple):
    """Whether Label Studio knows the backend at an address, and reached it last time; whether it calls its
    webhook, and with which secret."""

    backend: bool
    reached: bool
    webhook: bool
    secret: str


def attached(studio: Studio, project: int, url: str) -> Attached:
    """What is attached to a project for the backend at ``url``. Raises StudioError."""
    backends, hooks = _backends(studio, project, url), _webhooks(studio, project, f"{url}/webhook")
    active = [hook for hook in hooks if hook.is_active and set(WEBHOOK_ACTIONS) <= set(hook.actions or ())]
    return Attached(
        backend=bool(backends),
        reached=any(row.state == "CO" for row in backends),
        webhook=bool(active),
        secret=next(((hook.headers or {}).get(SECRET_HEADER, "") for hook in active), ""),
    )


def detach(studio: Studio, project: int, keep: tuple[int | None, int | None] = (None, None)) -> list[str]:
    """Remove every backend and webhook of ours from a project but those to ``keep``; returns their addresses."""
    backend, webhook = keep
    removed = []
    backends = [row for row in _backends(studio, project) if row.title == BACKEND_TITLE and row.id != backend]
    kept_addresses = {f"{row.url.rstrip('/')}/webhook" for row in _backends(studio, project) if row.id == backend}
    ours = {f"{row.url.rstrip('/')}/webhook" for row in backends} - kept_addresses
    for row in backends:
        studio.write(studio.api.ml.delete, row.id)
        removed.append(row.url)
    for hook in _webhooks(studio, project):
        # of our own backends, or with our header
        if hook.id != webhook and (hook.url in ours or SECRET_HEADER in (hook.headers or {})):
            studio.write(studio.api.webhooks.delete, hook.id)
            removed.append(hook.url)
    return removed


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


def _backends(studio: Studio, project: int, url: str | None = None) -> list[Any]:
    rows = studio.read(studio.api.ml.list, project=project)
    return sorted((row for row in rows if url in (None, row.url.rstrip("/"))), key=lambda row: row.id)


def _webhook(studio: Studio, project: int, url: str, secret: str) -> tuple[int, bool]:
    """The id of the one webhook, and whether it was made now."""
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
        return int(studio.write(studio.api.webhooks.create, url=url, project=project, **wanted).id), True
    if any(_comparable(getattr(ours, name)) != _comparable(value) for name, value in wanted.items()):
        studio.write(studio.api.webhooks.update, ours.id, url=url, **wanted)
    return int(ours.id), False


def _comparable(value: object) -> object:
    return sorted(value) if isinstance(value, list) else value


def _webhooks(studio: Studio, project: int, url: str | None = None) -> list[Any]:
    rows = studio.read(studio.api.webhooks.list, project=project)
    return sorted(
        (row for row in rows if row.project == project and url in (None, row.url)), key=lambda row: row.id
    )
