"""Bulk prediction into a store: each batch in one transaction, tasks and predictions together.

A record is known by its id and text, a prediction by its task and pipeline: what is there already is neither
predicted nor stored again, however often a run is interrupted, and by however many processes it is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from xner_label.bulk.annotator import BulkAnnotator
from xner_label.bulk.batches import Batch, RejectedRecord
from xner_label.bulk.parts import FinishedBatch
from xner_label.entities import Prediction, Task, text_hash
from xner_label.errors import RecordError
from xner_label.exchange.checking import checked_task
from xner_label.exchange.importing import DEFAULT_SPLIT
from xner_label.exchange.readers.interface import ImportedTask
from xner_label.store import predictions, projects, tasks
from xner_label.store.database import Store, open_store
from xner_label.store.pipelines import ensure_pipeline, find_name
from xner_label.store.tables import Project
from xner_label.store.task_import import import_tasks


class StoreTarget(msgspec.Struct, frozen=True):
    """Which project of which database the predictions go into; ``labels`` are those of a new one."""

    url: str
    project: str
    labels: tuple[str, ...]


class StoreOutput:
    """A project that batches go into. ``signature`` is the pipeline's."""

    def __init__(self, store: Store, target: StoreTarget, signature: str) -> None:
        self._store = store
        self._signature = signature
        with store.write() as session:
            self._project = projects.ensure_project(session, target.project, target.labels).id

    @classmethod
    @contextmanager
    def opened(cls, target: StoreTarget, signature: str) -> Iterator[StoreOutput]:
        """For the length of a block. Raises what :func:`xner_label.store.database.open_store` does, and
        ConfigurationError where the project has other labels."""
        with open_store(target.url) as store:
            yield cls(store, target, signature)

    def finished(self, batch: Batch) -> FinishedBatch | None:
        """The batch, where the store has a prediction of each of its records; None where some are to be made."""
        if batch.rejected or len(self._predicted(batch)) < len(batch.tasks):
            return None
        return _finished(batch, (), made=False)

    def write(self, batch: Batch, annotator: BulkAnnotator) -> FinishedBatch:
        """Predict what the store lacks of a batch, and store it."""
        known = self._predicted(batch)
        rejected = list(batch.rejected)
        missing: list[tuple[int, Task]] = []
        for line, task in batch.tasks:
            if str(task.id) in known:
                continue
            try:
                missing.append((line, _storable(task)))
            except RecordError as error:
                rejected.append(RejectedRecord.of(batch.file, line, error, task.id))
        results = annotator.predict([task for _, task in missing])
        good: list[tuple[int, Prediction]] = []
        for place, ((line, task), result) in enumerate(zip(missing, results, strict=True)):
            if isinstance(result, RecordError):
                rejected.append(RejectedRecord.of(batch.file, line, result, task.id))
            else:
                good.append((place, result))
        with self._store.write() as session:
            brought = [
                (missing[place][1], batch.splits.get(missing[place][0], DEFAULT_SPLIT)) for place, _ in good
            ]
            refused = import_tasks(session, self._project, brought).refused
            ids = tasks.ids_by_external(session, self._project, [str(task.id) for task, _ in brought])
            new = [
                (ids[str(prediction.id)], prediction)
                for number, (_, prediction) in enumerate(good)
                if number not in refused
            ]
            predictions.add_predictions(session, new)
        for number, problem in refused.items():
            line, task = missing[good[number][0]]
            rejected.append(RejectedRecord.of(batch.file, line, problem, task.id))
        return _finished(batch, sorted(rejected, key=lambda record: record.line), made=bool(missing))

    def finish(self) -> str:
        """Make the pipeline the project's, where it has none or this one has predicted all of its tasks; returns
        its short name."""
        with self._store.write() as session:
            current = ensure_pipeline(session, self._signature)
            project = session.get_one(Project, self._project)
            if project.pipeline is None or not predictions.unpredicted_ids(session, self._project, current.name):
                project.pipeline = current
        self._store.refresh_statistics()
        return current.name

    def _predicted(self, batch: Batch) -> set[str]:
        """External ids of the records that the store has, with this text and a prediction by this pipeline."""
        names = {str(task.id): task.text for _, task in batch.tasks}
        with self._store.read() as session:
            version = find_name(session, self._signature)
            if version is None:
                return set()
            stored = tasks.identities(session, self._project, list(names))
            same = {
                identity.id: name
                for name, identity in stored.items()
                if identity.text_hash == text_hash(names[name])
            }
            done = predictions.predicted_among(session, list(same), version)
        return {same[task_id] for task_id in done}


def _storable(task: Task) -> Task:
    """The task as an import would store it, whatever its labels. Raises RecordError where it would refuse it."""
    labels = {entity.label for entity in task.source_entities or ()}
    return checked_task(ImportedTask(task), labels, drop=False, needs_entities=False)[0]


def _finished(batch: Batch, rejected: Sequence[RejectedRecord], *, made: bool) -> FinishedBatch:
    return FinishedBatch(
        file_number=batch.file_number,
        number=batch.number,
        digest=batch.digest,
        first_line=batch.first_line,
        predicted=batch.records - len(rejected),
        rejected=len(rejected),
        made=made,
        problems=list(rejected),
    )
