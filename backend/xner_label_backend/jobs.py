"""What happens after a webhook. Nothing depends on it: webhooks get lost, and `xner-label sync` polls."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Condition, Thread

from xner_label.errors import XnerLabelError

_LOG = logging.getLogger(__name__)

# While people go on annotating, a synchronisation waits at most this many quiet periods.
_PATIENCE = 10


class Debouncer:
    """Runs ``job`` in a thread of its own once ``quiet`` seconds have passed without another ``note``.

    A job that fails is logged and left to the next note.
    """

    def __init__(self, job: Callable[[], None], quiet: float) -> None:
        self._job = job
        self._quiet = quiet
        self._first = self._last = 0.0
        self._due = self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._run, name="synchronising", daemon=True)
        self._thread.start()

    def note(self) -> None:
        """Something happened; returns at once."""
        with self._changed:
            self._last = time.monotonic()
            if not self._due:
                self._first, self._due = self._last, True
            self._changed.notify()

    def close(self, timeout: float) -> None:
        """Run nothing more; give a job under way ``timeout`` seconds to end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while self._wait():
            try:
                self._job()
            except XnerLabelError as error:
                _LOG.warning("not synchronised: %s", error)
            except Exception:  # noqa: BLE001 - the next webhook finds the thread alive
                _LOG.exception("not synchronised")

    def _wait(self) -> bool:
        """Wait until the job is due; False when closed."""
        with self._changed:
            while not self._closed:
                if not self._due:
                    self._changed.wait()
                    continue
                due_at = min(self._last + self._quiet, self._first + _PATIENCE * self._quiet)
                left = due_at - time.monotonic()
                if left <= 0:
                    self._due = False
                    return True
                self._changed.wait(left)
            return False
