"""Whether what is connected still is: asked, not concluded from the settings."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from xner_label.errors import XnerLabelError
from xner_label.logs import REQUEST_HEADER, run_id
from xner_label.reporting.check import Check
from xner_label.settings.table import Settings
from xner_label.tracing import trace_headers

# Seconds that Label Studio, too, would wait for an answer.
_TIMEOUT = 3.0
_LONG = timedelta(days=7)


def backend_checks(settings: Settings) -> Iterator[Check]:
    """The ML backend and its webhooks, where an address for it is set."""
    if settings.backend_url:
        yield _backend(settings.backend_url.rstrip("/"))
        yield _webhooks(settings)


def _backend(url: str) -> Check:
    try:
        request = urllib.request.Request(f"{url}/health", headers={REQUEST_HEADER: run_id(), **trace_headers()})  # noqa: S310 - http(s) by its rule
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
            healthy = json.load(response).get("status") == "UP"
    except (OSError, ValueError, AttributeError) as error:
        reason = str(getattr(error, "reason", error))
        return Check("ML backend", "no", f"{url} doesn't answer: {reason}", "start `xner-label serve` there")
    if not healthy:
        return Check("ML backend", "no", f"what answers at {url} isn't an ML backend", "correct backend.url")
    return Check("ML backend", "ok", f"answers at {url}")


def _webhooks(settings: Settings) -> Check:
    if settings.webhook_secret:
        return Check("webhooks", "ok", "there is a secret for them")
    remedy = "set XNER_LABEL_WEBHOOK_SECRET for `serve` and `connect` alike, then run `xner-label connect`"
    return Check("webhooks", "no", "without a secret there are none", remedy)


def project_checks(settings: Settings) -> Iterator[Check]:
    """What the store says about Label Studio, where its project is connected, against what is there."""
    from xner_label.store import projects, reviews
    from xner_label.store.database import open_store

    try:
        with open_store(settings.database_url) as store, store.read() as session:
            project = projects.get_project(session, settings.project)
            if project.studio_project is None:
                return
            unshown = reviews.unshown_items(session, project.id)
            synced = reviews.last_sync(session, project.id)
    except XnerLabelError:
        return  # other checks tell
    yield _connected(settings)
    if unshown:
        found = f"{unshown} waiting tasks aren't known to show their prediction"
        yield Check("predictions shown", "no", found, "run `xner-label push`")
    else:
        yield Check("predictions shown", "ok", "every waiting task shows the prediction it should")
    if synced is None or datetime.now(UTC) - synced > _LONG:
        when = "never" if synced is None else f"{synced:%Y-%m-%d}"
        yield Check("last sync", "no", when, "run `xner-label sync`, best from cron")
    else:
        yield Check("last sync", "ok", f"{synced:%Y-%m-%d %H:%M} UTC")


def _connected(settings: Settings) -> Check:
    from xner_label.studio.identity import check_connection

    try:
        return Check("connected project", "ok", check_connection(settings))
    except XnerLabelError as error:
        return Check("connected project", "no", error.args[0], error.hint)
