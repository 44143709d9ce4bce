"""Whether what is connected still is: asked, not concluded from the settings."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from xner_label.errors import XnerLabelError
from xner_label.logs import REQUEST_HEADER, run_id
from xner_label.reporting.check import Check
from xner_label.settings.table import Settings
from xner_label.tracing import trace_headers
from xner_label.wording import counted

# Seconds that Label Studio, too, would wait for an answer.
_TIMEOUT = 3.0
_LONG = timedelta(days=7)
# What the backend takes note of and does nothing about.
_NO_ACTION = {"action": "DOCTOR"}


def backend_checks(settings: Settings) -> Iterator[Check]:
    """The ML backend and its webhooks, where an address for it is set."""
    if not settings.backend_url:
        return
    url = settings.backend_url.rstrip("/")
    backend = _backend(settings, url)
    yield backend
    yield _webhooks(settings, url, answers=backend.verdict == "ok")


def _backend(settings: Settings, url: str) -> Check:
    try:
        health = _ask(settings, f"{url}/health")
        healthy = health.get("status") == "UP"
        served = _ask(settings, f"{url}/setup", {"project": "0.0"}).get("model_version") if healthy else None
    except urllib.error.HTTPError as error:
        if error.code == 401:
            remedy = "set backend.user and XNER_LABEL_BACKEND_PASSWORD for `serve` and here alike"
            return Check("ML backend", "no", f"{url} refuses the user or the password", remedy)
        if error.code in (404, 405):
            return Check("ML backend", "no", f"what answers at {url} isn't an ML backend", "correct backend.url")
        return Check("ML backend", "no", f"{url} answers with {error.code}", "look into its log")
    except (OSError, ValueError, AttributeError) as error:
        reason = str(getattr(error, "reason", error))
        return Check("ML backend", "no", f"{url} doesn't answer: {reason}", "start `xner-label serve` there")
    if not healthy or not isinstance(served, str):
        return Check("ML backend", "no", f"what answers at {url} isn't an ML backend", "correct backend.url")
    ours = _served_version(settings)
    if ours is not None and ours != served:
        remedy = "let `serve` and this command use the same database and project"
        return Check("ML backend", "no", f"{url} serves {served}, and the store {ours}", remedy)
    return Check("ML backend", "ok", f"{url} answers and serves {served}")


def _ask(settings: Settings, url: str, body: object = None, headers: dict[str, str] | None = None) -> Any:
    """The JSON document that the backend answers with, asked as Label Studio would."""
    sent = {REQUEST_HEADER: run_id(), "Content-Type": "application/json", **trace_headers(), **(headers or {})}
    if settings.backend_user:
        credentials = f"{settings.backend_user}:{settings.backend_password}".encode()
        sent["Authorization"] = f"Basic {base64.b64encode(credentials).decode()}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, sent)  # noqa: S310 - http(s) by the setting's rule
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
        return json.load(response)


def _served_version(settings: Settings) -> str | None:
    """What the store says is served; None where it can't say or nothing is."""
    from xner_label.store import runs
    from xner_label.store.database import open_store
    from xner_label.store.pipelines import readable_name

    if settings.database_url.startswith("sqlite:///") and not Path(settings.database_url[10:]).is_file():
        return None  # opening it would make it
    try:
        with open_store(settings.database_url) as store, store.read() as session:
            serving = runs.serving(session, settings.project)
    except XnerLabelError:
        return None
    return None if serving is None or serving.version is None else readable_name(serving.version)


def _webhooks(settings: Settings, url: str, *, answers: bool) -> Check:
    remedy = "set XNER_LABEL_WEBHOOK_SECRET for `serve` and `connect` alike, then run `xner-label connect`"
    if not settings.webhook_secret:
        return Check("webhooks", "no", "without a secret there are none", remedy)
    if not answers:
        return Check("webhooks", "no", "the backend, which takes them, doesn't answer", "see above")
    from xner_label.studio.attaching import SECRET_HEADER

    try:
        _ask(settings, f"{url}/webhook", _NO_ACTION, {SECRET_HEADER: settings.webhook_secret})
    except (OSError, ValueError) as error:
        code = getattr(error, "code", None)
        refusal = "the backend has another secret" if code == 401 else f"the backend refuses them: {code or error}"
        return Check("webhooks", "no", refusal, remedy)
    return Check("webhooks", "ok", "the backend takes them with this secret")


def project_checks(settings: Settings) -> Iterator[Check]:
    """What the store says about Label Studio, where its project is connected, against what is there."""
    from xner_label.store import projects, reviews, runs, sync_state
    from xner_label.store.database import open_store

    try:
        with open_store(settings.database_url) as store, store.read() as session:
            project = projects.get_project(session, settings.project)
            run = runs.promoted_run(session, project.id)
            connected = project.studio_project is not None
            unshown = reviews.unshown_items(session, project.id)
            synced = sync_state.last_sync(session, project.id)
    except XnerLabelError:
        return  # other checks tell
    if run is not None:
        recorded = Path(run.path)
        folder = recorded if recorded.is_dir() else Path(settings.training_folder).expanduser() / recorded.name
        if folder.is_dir():
            yield Check("served model", "ok", str(folder))
        else:
            remedy = "put it back, set training.folder, or run `xner-label rollback`"
            yield Check("served model", "no", f"there is no {folder}", remedy)
    if not connected:
        return
    yield from _connected(settings)
    if unshown:
        missing = counted(
            unshown,
            "waiting task isn't known to show its prediction",
            "waiting tasks aren't known to show their prediction",
        )
        yield Check("predictions shown", "no", missing, "run `xner-label push`")
    else:
        yield Check("predictions shown", "ok", "every waiting task shows the prediction it should")
    if synced is None or datetime.now(UTC) - synced > _LONG:
        when = "never" if synced is None else f"{synced:%Y-%m-%d}"
        yield Check("last sync", "no", when, "run `xner-label sync`, best from cron")
    else:
        yield Check("last sync", "ok", f"{synced:%Y-%m-%d %H:%M} UTC")


def _connected(settings: Settings) -> Iterator[Check]:
    from xner_label.studio.identity import check_connection

    try:
        where, attached = check_connection(settings)
    except XnerLabelError as error:
        yield Check("connected project", "no", error.args[0], error.hint)
        return
    yield Check("connected project", "ok", where)
    if not settings.backend_url:
        return
    missing = [
        what
        for what, there in (
            ("it doesn't know the backend", attached.backend),
            ("it couldn't reach the backend", attached.reached or not attached.backend),
            ("it calls no webhook", attached.webhook or not settings.webhook_secret),
            (
                "it calls the webhook with another secret",
                not attached.webhook or attached.secret == settings.webhook_secret,
            ),
        )
        if not there
    ]
    if missing:
        yield Check("attached backend", "no", f"Label Studio: {'; '.join(missing)}", "run `xner-label connect`")
    else:
        yield Check("attached backend", "ok", "Label Studio reaches the backend")
