"""What happens after a webhook or a press of Start Training: a job in the database, which a worker takes.

Nothing depends on webhooks: they get lost, and `xner-label sync` polls.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from threading import Condition, Event, Thread
from typing import Any

from xner_label.errors import XnerLabelError
from xner_label.jobs.worker import POLL, Worker
from xner_label.logs import current_fields, run_id, told
from xner_label.store import jobs, projects
from xner_label.store.database import Store
from xner_label.tracing import trace_headers

_LOG = logging.getLogger(__name__)


class JobIntake:
    """Writes jobs down in a thread of its own: the database may be slow, and whoever asks has a second.

    ``delays`` are the seconds after which a job of a kind is due, put off while it is asked for again.
    """

    def __init__(self, store: Store, project: str, delays: Mapping[str, float]) -> None:
        self._store = store
        self._project = project
        self._delays = delays
        self._asked: dict[str, dict[str, Any]] = {}
        self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._run, name="writing down jobs", daemon=True)
        self._thread.start()

    def ask_for(self, kind: str) -> None:
        """Ask for a job; returns at once."""
        with self._changed:
            self._asked.setdefault(kind, {"run": run_id(), **_asking()})
            self._changed.notify()

    def close(self, timeout: float) -> None:
        """Take no more; what was asked for gets ``timeout`` seconds to be written down."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while kinds := self._next():
            try:
                with self._store.write() as session:
                    project = projects.get_project(session, self._project).id
                    for kind, asked_by in kinds.items():
                        jobs.enqueue(
                            session, project, kind, {jobs.ASKED_BY: asked_by}, self._delays.get(kind, 0.0)
                        )
            except XnerLabelError as error:
                _LOG.warning("not written down: %s: %s", ", ".join(kinds), told(error))

    def _next(self) -> dict[str, dict[str, Any]]:
        """What was asked for since, and by whom, once there is something; nothing when closed."""
        with self._changed:
            while not self._asked and not self._closed:
                self._changed.wait()
            asked, self._asked = dict(sorted(self._asked.items())), {}
            return asked


def _asking() -> dict[str, Any]:
    """The ids of the request that is answered just now."""
    fields = current_fields()
    request = {"request": fields["request"]} if "request" in fields else {}
    return {**request, **trace_headers()}


class EmbeddedWorker:
    """A worker inside the backend, for jobs that are soon done; it waits for the project to be made."""

    def __init__(self, make: Callable[[], Worker]) -> None:
        self._make = make
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="working", daemon=True)
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Take no more jobs; one under way gets ``timeout`` seconds, and else is taken again elsewhere."""
        self._stopping.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._make().run(self._stopping, {})
            except XnerLabelError:
                self._stopping.wait(POLL)
