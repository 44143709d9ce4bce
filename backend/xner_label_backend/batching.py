"""Joining what concurrent requests ask for into one piece of work."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Generic, TypeVar

from xner_label.logs import told
from xner_label.tracing import span, traceparent

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOG = logging.getLogger(__name__)


class MicroBatcher(Generic[Item, Result]):
    """Calls ``work`` with up to ``limit`` items at a time, in one thread of its own.

    Nothing waits for company: an item that finds the thread idle goes at once, and what arrives meanwhile goes
    together.
    Every request contributes in turn, so that a single task doesn't wait for a request of hundreds to be through.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result]], limit: int) -> None:
        self._work = work
        self._limit = limit
        self._requests: deque[deque[tuple[Item, Future[Result]]]] = deque()
        # the trace of the request that asked last: one of those that are answered together
        self._trace: str | None = None
        self._changed = Condition()
        self._closed = False
        # A daemon: a model that never answers must not keep the process from ending.
        self._thread = Thread(target=self._run, name="predicting", daemon=True)
        self._thread.start()

    def submit(self, items: Sequence[Item]) -> list[Future[Result]]:
        """One future per item, in order. They carry what ``work`` raises."""
        request = deque((item, Future[Result]()) for item in items)
        futures = [future for _, future in request]
        with self._changed:
            if request:
                self._requests.append(request)
                self._trace = traceparent()
            self._changed.notify()
        return futures

    def waiting(self) -> int:
        """How many items nobody works on yet."""
        with self._changed:
            return sum(len(request) for request in self._requests)

    def close(self, timeout: float) -> None:
        """Drop what waits; give the work under way ``timeout`` seconds to end."""
        with self._changed:
            self._closed = True
            while self._requests:
                for _, future in self._requests.popleft():
                    future.cancel()
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while batch := self._next():
            try:
                with span("predict batch", parent=self._trace, tasks=len(batch)):
                    results = self._work([item for item, _ in batch])
                if len(results) != len(batch):
                    # nobody can tell whose are missing, and a thread that ended here would answer nobody again
                    raise ValueError(f"{len(batch)} items were given {len(results)} results")
            except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
                _LOG.warning("predicting %d tasks failed: %s", len(batch), told(error))
                for _, future in batch:
                    future.set_exception(error)
            else:
                for (_, future), result in zip(batch, results, strict=True):
                    future.set_result(result)

    def _next(self) -> list[tuple[Item, Future[Result]]]:
        """The next batch, one item of each request in turn; empty when closed."""
        batch: list[tuple[Item, Future[Result]]] = []
        with self._changed:
            while not batch and not self._closed:
                self._changed.wait_for(lambda: self._requests or self._closed)
                while self._requests and len(batch) < self._limit:
                    request = self._requests.popleft()
                    item, future = request.popleft()
                    if future.set_running_or_notify_cancel():
                        batch.append((item, future))
                    if request:
                        self._requests.append(request)
        return batch
