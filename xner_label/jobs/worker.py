"""A worker: takes jobs that are due, keeps them while it works, and says how they ended."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

import msgspec

from xner_label.errors import PartialError, StudioError, XnerLabelError
from xner_label.jobs.kinds import KINDS
from xner_label.logs import log_fields, told
from xner_label.progress import SILENCE, Progress
from xner_label.settings.table import Settings
from xner_label.store import jobs, projects
from xner_label.store.database import Store
from xner_label.tracing import CARRIER, span

_LOG = logging.getLogger(__name__)

# Seconds that a job is held without a sign of life, and between two looks for something due.
LEASE = 60.0
POLL = 2.0
# Seconds after which a job is tried again that failed for a reason that may pass.
_AGAIN = 60.0


class Done(msgspec.Struct, frozen=True):
    """A job that ended: ``outcome`` holds its counts, ``problem`` says why it failed (None: it didn't)."""

    id: int
    kind: str
    outcome: dict[str, Any] | None
    problem: str | None


class Worker:
    """Works on the jobs of one project, of some kinds. ``ended`` hears of every job that ended.

    Raises UsageError when the store has no such project.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        kinds: Collection[str] = tuple(KINDS),
        *,
        lease: float = LEASE,
        progress: Progress = SILENCE,
        ended: Callable[[Done], None] = lambda done: None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._kinds = tuple(kinds)
        self._lease = lease
        self._progress = progress
        self._ended = ended
        self._interrupted: Callable[[], bool] = lambda: False
        # A host may run several workers, and a process id comes again.
        self._name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        with store.read() as session:
            self._project = projects.get_project(session, settings.project).id

    def run_due(self, stopping: Event | None = None) -> tuple[int, int]:
        """Do everything that is due; returns how many jobs ended well and how many failed."""
        well = failed = 0
        while stopping is None or not stopping.is_set():
            with self._store.write() as session:
                claim = jobs.claim(session, self._project, self._name, self._kinds, self._lease)
            if claim is None:
                break
            done = self._do(claim)
            well, failed = well + (done.problem is None), failed + (done.problem is not None)
            self._ended(done)
        return well, failed

    def run(
        self, stopping: Event, every: Mapping[str, float], interrupted: Callable[[], bool] = lambda: False
    ) -> None:
        """Do what is due until ``stopping`` is set; ``every`` asks for a kind once so many seconds have passed
        since one was last begun. A store that is out of reach is waited for, unless what it was asked was
        ``interrupted``."""
        self._interrupted = interrupted
        while not (stopping.is_set() or interrupted()):
            try:
                self._ask_for(every)
                self.run_due(stopping)
            except PartialError as error:
                _LOG.warning("no jobs are taken: %s", told(error))
            stopping.wait(POLL)

    def _ask_for(self, every: Mapping[str, float]) -> None:
        for kind, seconds in every.items():
            if seconds > 0:
                with self._store.read() as session:
                    due = jobs.is_due_again(session, self._project, kind, seconds)
                if due:
                    with self._store.write() as session:
                        jobs.enqueue(session, self._project, kind, self._conditions(kind))

    def _conditions(self, kind: str) -> dict[str, int]:
        """What a job must find to do anything, where nobody but the clock asked for it."""
        least = self._settings.train_if_new_gold
        return {"if_new_gold": least} if kind == "train" and least else {}

    def _do(self, claim: jobs.Claim) -> Done:
        asked_by = claim.options.get(jobs.ASKED_BY, {})
        names = {f"asked_by_{name}": value for name, value in asked_by.items() if name in ("run", "request")}
        with (
            log_fields(job=claim.id, kind=claim.kind, attempt=claim.attempt, **names),
            span(f"job {claim.kind}", parent=asked_by.get(CARRIER), job=claim.id, attempt=claim.attempt),
        ):
            return self._run(claim)

    def _run(self, claim: jobs.Claim) -> Done:
        _LOG.info("job %d: %s begins, attempt %d", claim.id, claim.kind, claim.attempt)
        try:
            with self._kept(claim):
                outcome = KINDS[claim.kind](self._store, self._settings, claim.options, self._progress)
        except Exception as error:  # noqa: BLE001 - the next job finds the worker alive
            if self._interrupted():
                self._release(claim)
                raise KeyboardInterrupt from None
            if not isinstance(error, XnerLabelError):
                _LOG.exception("job %d: %s", claim.id, claim.kind)
            return self._failed(claim, error)
        except BaseException:
            self._release(claim)
            raise
        with self._store.write() as session:
            if not jobs.finish(session, claim.id, self._name, outcome, None):
                _LOG.warning("job %d took so long to show a sign of life that another worker has it", claim.id)
        _LOG.info("job %d: %s done, %s", claim.id, claim.kind, outcome)
        return Done(claim.id, claim.kind, outcome, None)

    def _release(self, claim: jobs.Claim) -> None:
        """Leave the job to the next worker."""
        with suppress(XnerLabelError), self._store.write() as session:
            jobs.release(session, claim.id, self._name)

    def _failed(self, claim: jobs.Claim, error: Exception) -> Done:
        """Record why; what may pass is tried again in a while."""
        problem = told(error)
        _LOG.warning("job %d: %s failed: %s", claim.id, claim.kind, problem)
        with self._store.write() as session:
            jobs.finish(session, claim.id, self._name, None, problem)
            if isinstance(error, StudioError | PartialError):
                jobs.enqueue(session, self._project, claim.kind, claim.options, _AGAIN)
        return Done(claim.id, claim.kind, None, problem)

    @contextmanager
    def _kept(self, claim: jobs.Claim) -> Iterator[None]:
        """Show signs of life while the block runs."""
        done = Event()

        def prolong() -> None:
            while not done.wait(self._lease / 3):
                try:
                    with self._store.write() as session:
                        jobs.prolong(session, claim.id, self._name, self._lease)
                except XnerLabelError as error:  # the next sign may arrive
                    _LOG.warning("job %d shows no sign of life: %s", claim.id, told(error))

        thread = Thread(target=prolong, name=f"keeping job {claim.id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
