"""Predicting files into a folder of parts: what an earlier run has made is left as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from xner_label.bulk.annotator import BulkAnnotator
from xner_label.bulk.batches import batches_of_file
from xner_label.bulk.options import BulkOptions, RayCluster
from xner_label.bulk.parts import FinishedBatch, PartsFolder
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
    annotator = BulkAnnotator(settings)
    folder = PartsFolder(output, options.part_format)
    with folder.opened():
        progress.begin("predicting", records)
        if cluster is None:
            finished = _embedded(annotator, files, folder, options)
        else:
            from xner_label.bulk.ray_engine import predict_on_ray

            finished = predict_on_ray(settings, annotator.signature, files, folder, options, cluster)
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


def _embedded(
    annotator: BulkAnnotator, files: Sequence[Path], folder: PartsFolder, options: BulkOptions
) -> Iterator[FinishedBatch]:
    for number, path in enumerate(files):
        for batch in batches_of_file(path, number, options, annotator.signature, options.part_size):
            yield folder.finished(batch) or annotator.write(batch, folder)
