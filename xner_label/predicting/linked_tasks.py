"""The tasks of a project that can be projected, as often as they are needed, a batch at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from xner_label.entities import Task
from xner_label.errors import RecordError
from xner_label.predicting.completion import TASKS_PER_BATCH, Completion, StoredTask, ready_to_project
from xner_label.progress import Progress
from xner_label.store import tasks
from xner_label.store.database import Store


class LinkedTasks:
    """Stored tasks with source, source entities and links.

    :meth:`prepare` lets the stages add what they lack, once. Up to ``held`` tasks are kept in memory; of more,
    each batch is put together again from what the store has of the stages. ``left_out`` counts those that can't be
    projected, by reason; ``with_source`` says whether any has a source. ``without_source``: tasks that have
    none can be projected, too.
    """

    def __init__(
        self, store: Store, completion: Completion, ids: Sequence[int], held: int, *, without_source: bool = False
    ) -> None:
        self._store = store
        self._completion = completion
        self._ids = ids
        self._limit = held
        self._without_source = without_source
        self._held: list[tuple[int, Task]] | None = []
        self._count = 0
        self.left_out: Counter[str] = Counter()
        self.with_source = False

    def __len__(self) -> int:
        return self._count

    def stream(self, only: Sequence[int]) -> Iterator[list[tuple[int, Task]]]:
        """The tasks, each batch completed as it is asked for, with an id in ``only``: for a single pass, without
        :meth:`prepare`, where no stage learns from all. ``left_out`` counts them as they are met."""
        wanted = None if len(only) == len(self._ids) else set(only)
        for batch in self._ready(self._ids):
            aligned = self._aligned(batch)
            self._count += len(aligned)
            yield [pair for pair in aligned if wanted is None or pair[0] in wanted]

    def prepare(self, progress: Progress) -> None:
        """Complete all tasks. An aligner that learns sees all of them, in memory, before it links the first."""
        progress.begin("translating and tagging", len(self._ids))
        ready: list[tuple[int, Task]] = []
        holding = True
        for batch in self._ready(self._ids, progress):
            self._count += len(batch)
            ready += batch
            holding = holding and len(ready) <= self._limit
            if not holding and not self._completion.learns_links:
                ready.clear()
        progress.begin("aligning", self._count)
        self._completion.learn_links([task for _, task in ready])
        if holding:
            self._held = self._aligned(ready, progress)
            self._count = len(self._held)
            return
        ready.clear()
        self._held = None
        if self._completion.aligns:
            # counted anew: some can't be linked
            self.left_out.clear()
            self._count = sum(len(self._aligned(batch, progress)) for batch in self._ready(self._ids))

    def batches(self, only: Sequence[int] | None = None) -> Iterator[list[tuple[int, Task]]]:
        """The tasks by their id in the store; of those with an id in ``only`` alone, where given, in order."""
        if self._held is not None:
            chosen = None if only is None else set(only)
            wanted = [pair for pair in self._held if chosen is None or pair[0] in chosen]
            for start in range(0, len(wanted), TASKS_PER_BATCH):
                yield wanted[start : start + TASKS_PER_BATCH]
            return
        known = self.left_out
        self.left_out = Counter()  # what the stages say again was counted before
        for batch in self._ready(self._ids if only is None else only):
            yield self._aligned(batch)
        self.left_out = known

    def _ready(self, ids: Sequence[int], progress: Progress | None = None) -> Iterator[list[tuple[int, Task]]]:
        pages = (ids[start : start + TASKS_PER_BATCH] for start in range(0, len(ids), TASKS_PER_BATCH))
        for stored, complete in self._completion.completed_batches(map(self._stored, pages)):
            if progress is not None:
                progress.advance(len(stored))
            self.with_source |= any(isinstance(task, Task) and task.source is not None for task in complete)
            ready, left_out = ready_to_project(stored, complete, without_source=self._without_source)
            self.left_out += left_out
            yield ready

    def _stored(self, ids: Sequence[int]) -> list[StoredTask]:
        with self._store.read() as session:
            return [StoredTask.of(row) for row in tasks.rows_by_ids(session, ids)]

    def _aligned(self, batch: list[tuple[int, Task]], progress: Progress | None = None) -> list[tuple[int, Task]]:
        aligned = self._completion.aligned(batch, progress) if progress else self._completion.aligned(batch)
        self.left_out.update(str(task) for _, task in aligned if isinstance(task, RecordError))
        return [(key, task) for key, task in aligned if isinstance(task, Task)]
