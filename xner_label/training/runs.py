"""Model runs: from the store's data to a registered model, and from a registered model back to one that answers.

A run's files are written beside their place and renamed; only then is the run recorded. So whatever is recorded
is whole, whenever the process was killed. Two processes never train a model of the same project at once.
"""

from __future__ import annotations

import hashlib
import platform
import secrets
import time
from pathlib import Path
from typing import Any

import msgspec

import xner_label
from xner_label.checkpoints.devices import ANYWHERE, PlacementRequest
from xner_label.entities import text_hash
from xner_label.errors import ConfigurationError, UsageError
from xner_label.evaluation.text_alone import TextAlone
from xner_label.progress import SILENCE, Progress
from xner_label.store import projects, runs
from xner_label.store.base import utc_now
from xner_label.store.database import Store
from xner_label.store.tables import ModelRun
from xner_label.training import crf, fine_tuning
from xner_label.training.data import DataOptions, DataReport, TrainingData, collect, count_new_gold
from xner_label.training.evaluation import SplitScores, compare_text_alone, score_split
from xner_label.training.fine_tuning_job import FineTuningOptions
from xner_label.training.model import NerModel
from xner_label.training.recipes.choice import train_crf
from xner_label.training.run_files import RunFiles, run_folder
from xner_label.wording import counted

# What a training calls itself where it locks others out.
TRAINING = "training a model of project"


class TrainOptions(msgspec.Struct, frozen=True):
    """How to train. ``checkpoint``: the model to fine-tune for token classification, a path or a name; None
    trains a CRF, which has no randomness and needs none of ``fine_tuning``."""

    data: DataOptions = DataOptions()
    checkpoint: str | None = None
    fine_tuning: FineTuningOptions = FineTuningOptions()


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """A finished run. ``signature`` names everything that made the model: software, data, options.

    ``dev`` is the gold that the promotion gate looks at, ``test`` the gold that decides nothing; None where
    there is none. ``text_alone``: how it answers texts that come without a source; None where dev says too
    little. ``fit_seconds`` is wall time.
    """

    version: str
    kind: str
    path: str
    signature: str
    data: DataReport
    dev: SplitScores | None
    test: SplitScores | None
    text_alone: TextAlone | None
    fit_seconds: float


def preview(store: Store, project: str, options: TrainOptions) -> DataReport:
    """Which data a run would use. Raises UsageError when there is no such project."""
    with store.read() as session:
        return collect(session, project, options.data).report


def new_gold(store: Store, project: str, options: DataOptions | None = None) -> int:
    """How many tasks have gold that the newest run of a project hasn't learned from.

    Raises UsageError when there is no such project.
    """
    with store.read() as session:
        known = runs.model_runs(session, projects.get_project(session, project).id)[-1:]
        learned = {row.id for run in known for row in runs.annotations_of(session, run)}
        return count_new_gold(session, project, learned, options)


def train(
    store: Store,
    project: str,
    folder: Path,
    options: TrainOptions | None = None,
    progress: Progress = SILENCE,
    where: PlacementRequest = ANYWHERE,
) -> RunReport:
    """Train a model on a project's gold and silver, judge it, and record it under ``folder``.

    What killed trainings of the project left in the folder is removed. ``progress`` is told which stage begins;
    ``where`` is where a checkpoint is fine-tuned and judged. Raises StoreUnavailableError while another process
    trains a model of the same project, UsageError when the project is unknown or has nothing to learn from,
    ConfigurationError when the folder can't be written or the checkpoint can't be used.
    """
    options = options or TrainOptions()
    with store.exclusively(f"{TRAINING} {project!r}"):
        return _train(store, project, folder, options, progress, where)


def _train(
    store: Store, project: str, folder: Path, options: TrainOptions, progress: Progress, where: PlacementRequest
) -> RunReport:
    files = RunFiles(folder, store.url, project)
    with store.read() as session:
        project_id = projects.get_project(session, project).id
        data = collect(session, project, options.data)
        files.remove_unfinished({run.version for run in runs.model_runs(session, project_id)})
    if not (data.gold or data.silver):
        raise UsageError(
            f"project {project!r} has nothing to learn from",
            hint="run `xner-label predict` for silver, or review tasks and run `xner-label sync`",
        )
    progress.begin(f"training on {len(data.gold)} gold and {counted(len(data.silver), 'silver task')}")
    with files.workspace() as workspace:
        began = time.perf_counter()
        model = _fit(data, options, files, workspace, progress, where)
        seconds = time.perf_counter() - began
        progress.begin("judging")
        dev, test = score_split(model, data.dev), score_split(model, data.test)
        text_alone = compare_text_alone(model, data.dev)
        version = f"{model.kind}-{utc_now():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        learned_texts = {text_hash(item.sentence.text) for item in data.gold}
        path, artefact = files.put(model, learned_texts, version, workspace)
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
            "data_hash": _data_hash(data),
            "code": {"xner-label": xner_label.__version__, "python": platform.python_version()},
        },
        metrics={"dev": _builtins(dev), "test": _builtins(test), "text_alone": _builtins(text_alone)},
        artefact=artefact,
    )
    try:
        with store.write() as session:
            runs.add_run(session, run, data.annotations)
    except BaseException:
        files.withdraw(version)
        raise
    files.recorded(version)
    return RunReport(
        version=version,
        kind=model.kind,
        path=str(path),
        signature=signature,
        data=data.report,
        dev=dev,
        test=test,
        text_alone=text_alone,
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


def _fit(
    data: TrainingData,
    options: TrainOptions,
    files: RunFiles,
    workspace: Path,
    progress: Progress,
    where: PlacementRequest,
) -> NerModel:
    rules = options.data.rules
    if options.checkpoint is None:
        return train_crf(data, rules)
    resumable = files.resumable(_digest(data, options))
    return fine_tuning.fine_tune(
        data,
        options.checkpoint,
        workspace / "fine-tuned",
        rules,
        options.fine_tuning,
        progress,
        where,
        scratch=resumable,
    )


def _signature(kind: str, data: TrainingData, options: TrainOptions) -> str:
    counts = f"gold={len(data.gold)}|silver={len(data.silver)}"
    return f"xner-label={xner_label.__version__}|{kind}|{counts}|data+options={_digest(data, options)}"


def _digest(data: TrainingData, options: TrainOptions) -> str:
    """Twelve hex digits of all that is learned from and how."""
    return hashlib.sha256(_data_hash(data).encode() + msgspec.json.encode(options)).hexdigest()[:12]


def _data_hash(data: TrainingData) -> str:
    """SHA-256 (hex) of everything that is learned from."""
    learned = [(item.sentence, item.entities) for item in data.gold]
    facts = [(item.text, item.silver, item.source, item.source_entities, rest) for item, *rest in learned]
    silver = [(item.text, item.silver, item.source, item.source_entities) for item in data.silver]
    return hashlib.sha256(msgspec.json.encode([facts, silver])).hexdigest()


def _builtins(scores: SplitScores | TextAlone | None) -> Any:
    return None if scores is None else msgspec.to_builtins(scores)
