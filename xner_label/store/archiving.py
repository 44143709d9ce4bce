"""Old predictions into a file, before they leave the store."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from sqlalchemy import select

from xner_label import entities
from xner_label.new_file import new_file
from xner_label.store import predictions
from xner_label.store.database import Store
from xner_label.store.tables import Project

# Predictions read at a time.
_BATCH = 2_000


class ArchivedPrediction(entities.Prediction, frozen=True, omit_defaults=True, kw_only=True):
    """A prediction with what the store knew beside it."""

    project: str
    version: str
    created_at: datetime


def archive(store: Store, ids: Sequence[int], path: Path) -> None:
    """Write these predictions, by id, to a new file: JSON Lines, packed with gzip.

    The file appears when it is whole and on the disk. Raises UsageError for one that is there already, and for a
    folder that can't be written to.
    """
    encoder = msgspec.json.Encoder()
    with (
        new_file(path, "an archive") as stream,
        gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed,
    ):
        for record in _records(store, ids):
            packed.write(encoder.encode(record) + b"\n")


def _records(store: Store, ids: Sequence[int]) -> Iterator[ArchivedPrediction]:
    for start in range(0, len(ids), _BATCH):
        with store.read() as session:
            projects = dict(session.execute(select(Project.id, Project.name)).all())
            pairs = predictions.by_id(session, ids[start : start + _BATCH])
            for task, prediction in sorted(pairs, key=lambda pair: pair[1].id):
                known = predictions.to_record(task, prediction)
                yield ArchivedPrediction(
                    **msgspec.structs.asdict(known),
                    project=projects[task.project_id],
                    version=prediction.pipeline.name,
                    created_at=prediction.created_at,
                )
