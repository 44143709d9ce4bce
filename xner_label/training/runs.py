"""Model runs: from the store's data to a registered model, and from a registered model back to one that answers.

A run's files are written beside their place and renamed; only then is the run recorded. So whatever is recorded
is whole, whenever the process was killed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

import xner_label
from xner_label.checkpoints.devices import ANYWHERE, PlacementRequest
from xner_label.errors import ConfigurationError, UsageError
from xner_label.progress import SILENCE, Progress
from xner_label.store import projects
from xner_label.store.base import utc_now
from xner_label.store.database import Store
from xner_label.store.tables import ModelRun
from xner_label.store.tasks import text_hash
from xner_label.training import crf, fine_tuning
from xner_label.training.data import DataOptions, DataReport, TrainingData, collect
from xner_label.training.evaluation import SplitScores, score_split
from xner_label.training.fine_tuning import FineTuningOptions
from xner_label.training.model import NerModel

_TRAINED_ON = "trained-on.json"
# Files of a run that are no part of its model.
INTERNAL_FILES = (_TRAINED_ON,)


class TrainOptions(msgspec.Struct, frozen=True):
    """How to train. ``checkpoint``: the model to fine-tune for token classification, a path or a name; None
    trains a CRF, which has no randomness and needs none of ``fine_tuning``."""

    data: DataOptions = DataOptions()
    checkpoint: str | None = None
    fine_tuning: FineTuningOptions = FineTuningOptions()


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """A finished run. ``signature`` names everything that made the model: software, data, options.

    ``dev`` is the gold that the promotion gate looks at, ``test`` the gold that decides nothing; None where
    there is none. ``fit_seconds`` is wall time.
    """

    version: str
    kind: str
    path: str
    signature: str
    data: DataReport
    dev: SplitScores | None
    test: SplitScores | None
    fit_seconds: float


def preview(store: Store, project: str, options: TrainOptions) -> DataReport:
    """Which data a run would use. Raises UsageError when there is no such project."""
    with store.read() as session:
        return collect(session, project, options.data).report


def train(
    store: Store,
    project: str,
    folder: Path,
    options: TrainOptions | None = None,
    progress: Progress = SILENCE,
    where: PlacementRequest = ANYWHERE,
) -> RunReport:
    """Train a model on a project's gold and silver, judge it, and record it under ``folder``.

    ``progress`` is told which stage begins; ``where`` is where a checkpoint is fine-tuned and judged. Raises
    UsageError when the project is unknown or has nothing to learn from, ConfigurationError when the folder can't
    be written or the checkpoint can't be used.
    """
    options = options or TrainOptions()
    with store.read() as session:
        project_id = projects.get_project(session, project).id
        data = collect(session, project, options.data)
    if not (data.gold or data.silver):
        raise UsageError(
            f"project {project!r} has nothing to learn from",
            hint="run `xner-label predict` for silver, or review tasks and run `xner-label sync`",
        )
    progress.begin(f"training on {len(data.gold)} gold and {len(data.silver)} silver tasks")
    with _workspace(folder) as workspace:
        began = time.perf_counter()
        model = _fit(data, options, workspace, progress, where)
        seconds = time.perf_counter() - began
        progress.begin("judging")
        dev, test = score_split(model, data.dev), score_split(model, data.test)
        version = f"{model.kind}-{utc_now():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        path = _write(model, data, workspace / version, folder / version)
    signature = _signature(model.kind, data, options)
    run = ModelRun(
        project_id=project_id,
        version=version,
        kind=model.kind,
        path=version,
        gold_tasks=len(data.gold),
        silver_tasks=len(data.silver),
        config={
            "signature": signature,
            "options": msgspec.to_builtins(options),
            "data": msgspec.to_builtins(data.report),
        },
        metrics={"dev": _builtins(dev), "test": _builtins(test)},
    )
    try:
        with store.write() as session:
            session.add(run)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return RunReport(
        version=version,
        kind=model.kind,
        path=str(path),
        signature=signature,
        data=data.report,
        dev=dev,
        test=test,
        fit_seconds=seconds,
    )


def load_model(run: ModelRun, folder: Path, where: PlacementRequest = ANYWHERE) -> NerModel:
    """Open the model of a run in the models' ``folder``; a checkpoint answers ``where`` it is asked to.

    Raises ConfigurationError when its files are missing or don't fit, or it can't run there.
    """
    files = run_folder(run, folder)
    if not files.is_dir():
        raise ConfigurationError(
            f"the files of {run.version} are not in {files}",
            hint="put the folder back, set training.folder to where it is, or train again with `xner-label train`",
        )
    if run.kind == crf.KIND:
        return crf.CrfModel.load(files)
    if run.kind == fine_tuning.KIND:
        return fine_tuning.TransformersModel.load(files, where)
    raise ConfigurationError(
        f"{run.version} is of kind {run.kind!r}, which this version can't load",
        hint="use the version of xner-label that trained it",
    )


def run_folder(run: ModelRun, folder: Path) -> Path:
    """Where the files of a run are, in the models' ``folder`` of this machine.

    Earlier versions recorded an absolute path; it counts where it still leads to the files.
    """
    recorded = Path(run.path)
    if recorded.is_absolute() and recorded.is_dir():
        return recorded
    return folder / recorded.name


def trained_on(run: ModelRun, folder: Path) -> frozenset[str]:
    """SHA-256 (hex) of the texts whose gold a run in the models' ``folder`` has learned from."""
    file = run_folder(run, folder) / _TRAINED_ON
    try:
        return frozenset(msgspec.json.decode(file.read_bytes(), type=list[str]))
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(
            f"{file} can't be read: {error}", hint="put it back, or train again with `xner-label train`"
        ) from None


@contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    """A folder inside the models' folder that is gone afterwards."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        workspace = tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-")
    except OSError as error:
        raise ConfigurationError(
            f"can't write models to {folder}: {error.strerror}", hint="set training.folder to a folder you own"
        ) from error
    with workspace as name:
        yield Path(name)


def _fit(
    data: TrainingData, options: TrainOptions, workspace: Path, progress: Progress, where: PlacementRequest
) -> NerModel:
    cut = options.data.min_silver_confidence
    if options.checkpoint is None:
        return crf.train_crf(data, cut)
    folder = workspace / "fine-tuned"
    return fine_tuning.fine_tune(data, options.checkpoint, folder, cut, options.fine_tuning, progress, where)


def _write(model: NerModel, data: TrainingData, beside: Path, target: Path) -> Path:
    """Save a model ``beside`` its place and move it there whole."""
    beside.mkdir()
    model.save(beside)
    learned = sorted({text_hash(item.sentence.text) for item in data.gold})
    (beside / _TRAINED_ON).write_bytes(msgspec.json.encode(learned))
    for file in beside.rglob("*"):
        if file.is_file():
            _flush(file)
    os.replace(beside, target)
    return target.resolve()


def _flush(file: Path) -> None:
    """Make sure that the file's content outlives a power cut before the run is recorded."""
    with open(file, "rb") as stream:
        os.fsync(stream.fileno())


def _signature(kind: str, data: TrainingData, options: TrainOptions) -> str:
    learned = [(item.sentence.text, item.entities) for item in data.gold]
    silver = [(item.text, item.silver) for item in data.silver]
    digest = hashlib.sha256(msgspec.json.encode([learned, silver, options])).hexdigest()[:12]
    counts = f"gold={len(data.gold)}|silver={len(data.silver)}"
    return f"xner-label={xner_label.__version__}|{kind}|{counts}|data+options={digest}"


def _builtins(scores: SplitScores | None) -> Any:
    return None if scores is None else msgspec.to_builtins(scores)
