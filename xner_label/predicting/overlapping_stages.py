"""Stages that work at the same time, each on another batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import Empty, Full, Queue
from typing import Any, TypeVar

T = TypeVar("T")

# Seconds between two looks at whether the consumer has gone.
_PATIENCE = 0.1
_END = object()


class _Failure:
    """An exception on its way to the consumer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def chained(batches: Iterable[T], stages: Sequence[Callable[[T], T]], *, depth: int = 2) -> Iterator[T]:
    """Send batches through all stages, in order, each stage in a thread of its own.

    While one stage waits for a GPU or a disk, the others go on. At most ``depth`` batches wait in front of each
    stage and of the consumer, which bounds memory however long the input is. An exception in a stage, or in
    ``batches``, is raised here after the batches before it; a consumer that stops early stops the stages.
    """
    stopped = threading.Event()
    queues: list[Queue[Any]] = [Queue(depth) for _ in range(len(stages) + 1)]
    workers = [threading.Thread(target=_feed, args=(batches, queues[0], stopped), daemon=True)]
    for stage, source, sink in zip(stages, queues, queues[1:], strict=False):
        workers.append(threading.Thread(target=_work, args=(stage, source, sink, stopped), daemon=True))
    for worker in workers:
        worker.start()
    try:
        while (batch := _take(queues[-1], stopped)) is not _END:
            if isinstance(batch, _Failure):
                raise batch.error
            yield batch
    finally:
        stopped.set()
        for worker in workers:
            worker.join()


def _feed(batches: Iterable[Any], sink: Queue[Any], stopped: threading.Event) -> None:
    try:
        for batch in batches:
            if not _put(sink, batch, stopped):
                return
    except BaseException as error:  # noqa: BLE001 - raised again by the consumer
        _put(sink, _Failure(error), stopped)
    else:
        _put(sink, _END, stopped)


def _work(stage: Callable[[Any], Any], source: Queue[Any], sink: Queue[Any], stopped: threading.Event) -> None:
    while True:
        batch = _take(source, stopped)
        if batch is not _END and not isinstance(batch, _Failure):
            try:
                batch = stage(batch)
            except BaseException as error:  # noqa: BLE001 - raised again by the consumer
                batch = _Failure(error)
        if not _put(sink, batch, stopped) or batch is _END or isinstance(batch, _Failure):
            return


def _put(sink: Queue[Any], batch: Any, stopped: threading.Event) -> bool:
    while not stopped.is_set():
        try:
            sink.put(batch, timeout=_PATIENCE)
        except Full:
            continue
        return True
    return False


def _take(source: Queue[Any], stopped: threading.Event) -> Any:
    while not stopped.is_set():
        try:
            return source.get(timeout=_PATIENCE)
        except Empty:
            continue
    return _END
