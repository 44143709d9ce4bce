"""Predicting files into a folder of parts: what an earlier run has made is left as it is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import msgspec

from xner_label.bulk.annotator import BulkAnnotator
from xner_label.bulk.batches import batches_of_file
from xner_label.bulk.options import BulkOptions, RayCluster
from xner_label.bulk.parts import FinishedBatch, PartsFolder
from xner_label.bulk.store_output import StoreOutput, StoreTarget
from xner_label.errors import UsageError
from xner_label.progress import SILENCE, Progress
from xner_label.settings.table import Settings


class BulkReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did. ``predicted`` and ``rejected`` count records, ``parts`` those of the folder, ``made`` the
    parts of this run."""

    pipeline: str
    output: str
    predicted: int
    rejected: int
    parts: int
    made: int


def predict_files(
    settings: Settings,
    files: Sequence[Path],
    output: Path,
    options: BulkOptions,
    progress: Progress = SILENCE,
    *,
    cluster: RayCluster | None = None,
    records: int | None = None,
) -> BulkReport:
    """Predict the records of files, batch after batch, into the folder ``output``.

    However often it is interrupted, only batches that were being worked on are predicted again; a batch is known
    by its content and the pipeline's signature. Afterwards the folder holds what the files hold now, by this
    pipeline. ``cluster``: on Ray's actors, with the same result. ``records`` is how many there are, where known.

    Raises UsageError for a file that can't be read or an output that isn't a folder, and what
    :class:`~xner_label.bulk.annotator.BulkAnnotator` does.
    """
    names = [str(path) for path in files]
    if "-" in names and (len(names) > 1 or cluster is not None):
        raise UsageError("standard input can't be read beside files, or by Ray", hint="write it to a file first")
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} isn't a folder", hint="name one with -o; it gets one file per batch")
    for name in names:
        if name != "-" and not os.path.exists(name):
            raise UsageError(f"can't read {name}: there is no such file", hint="check the path")
    annotator = BulkAnnotator(settings)
    folder = PartsFolder(output, options.part_format)
    with folder.opened():
        progress.begin("predicting", records)
        if cluster is None:
            finished = _embedded(annotator, files, folder, options)
        else:
            from xner_label.bulk.ray_engine import predict_on_ray

            finished = predict_on_ray(settings, annotator.signature, files, output, options, cluster)
        done: list[FinishedBatch] = []
        for batch in finished:
            done.append(batch)
            progress.advance(batch.predicted + batch.rejected)
        manifest = folder.finish(annotator.signature, names, done)
    return BulkReport(
        pipeline=annotator.signature,
        output=str(output),
        predicted=manifest.predicted,
        rejected=manifest.rejected,
        parts=len(manifest.parts),
        made=sum(batch.made for batch in done),
    )


class StoredBulkReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did. ``predicted`` records have a prediction in the store, ``rejected`` ones haven't; ``made`` of
    the ``batches`` had something that was new; ``version`` is the pipeline's short name."""

    pipeline: str
    version: str
    project: str
    predicted: int
    rejected: int
    batches: int
    made: int


def predict_files_into_store(
    settings: Settings,
    files: Sequence[Path],
    options: BulkOptions,
    progress: Progress = SILENCE,
    *,
    rejected: Path | None = None,
    cluster: RayCluster | None = None,
    records: int | None = None,
) -> StoredBulkReport:
    """Predict the records of files, each on its own, into the project of the settings, batch after batch.

    However often it is interrupted, nothing is predicted or stored twice. What can't be predicted goes into the
    file ``rejected``, with reasons. ``cluster``: on Ray's actors, which all must reach the database.

    Raises what :func:`predict_files` does, and UsageError for a cluster elsewhere and an SQLite database.
    """
    if "-" in map(str, files) and (len(files) > 1 or cluster is not None):
        raise UsageError("standard input can't be read beside files, or by Ray", hint="write it to a file first")
    if cluster is not None and cluster.address and settings.database_url.startswith("sqlite"):
        raise UsageError("a cluster can't write into an SQLite file", hint="use PostgreSQL, or no --address")
    # an entity with a label that the project doesn't have has no place in it
    settings = replace(settings, chosen=settings.chosen | {"labels"})
    annotator = BulkAnnotator(settings)
    target = StoreTarget(settings.database_url, settings.project, settings.labels)
    with StoreOutput.opened(target, annotator.signature) as output, _side_file(rejected) as side_file:
        progress.begin("predicting", records)
        if cluster is None:
            finished = _embedded(annotator, files, output, options)
        else:
            from xner_label.bulk.ray_engine import predict_on_ray

            finished = predict_on_ray(settings, annotator.signature, files, target, options, cluster)
        counts: Counter[str] = Counter()
        for batch in finished:
            counts.update(predicted=batch.predicted, rejected=batch.rejected, batches=1, made=batch.made)
            side_file.writelines(msgspec.json.encode(record) + b"\n" for record in batch.problems)
            progress.advance(batch.predicted + batch.rejected)
        version = output.finish()
    return StoredBulkReport(
        pipeline=annotator.signature,
        version=version,
        project=settings.project,
        predicted=counts["predicted"],
        rejected=counts["rejected"],
        batches=counts["batches"],
        made=counts["made"],
    )


@contextmanager
def _side_file(path: Path | None) -> Iterator[IO[bytes]]:
    """What is written goes to a file, which is removed again when nothing was; or nowhere."""
    with Path(os.devnull if path is None else path).open("wb") as stream:
        yield stream
        written = stream.tell() if path is not None else 1
    if path is not None and not written:
        path.unlink()


def _embedded(
    annotator: BulkAnnotator, files: Sequence[Path], output: PartsFolder | StoreOutput, options: BulkOptions
) -> Iterator[FinishedBatch]:
    for number, path in enumerate(files):
        for batch in batches_of_file(path, number, options, annotator.signature, options.part_size):
            yield output.finished(batch) or output.write(batch, annotator)
