"""The kinds of jobs: each does what the command of its name does, with the settings of the worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xner_label.progress import Progress
from xner_label.settings.table import Settings
from xner_label.store.database import Store

# Does the work and returns counts for people, nothing that a task says. ``options`` come with the job.
Run = Callable[[Store, Settings, Mapping[str, Any], Progress], dict[str, Any]]


def _sync(store: Store, settings: Settings, options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    from xner_label.studio.sync import sync

    report = sync(store, settings, progress)
    counts = {"added": report.added, "updated": report.updated, "deleted": report.deleted}
    return counts | {"unusable": len(report.rejected)}


def _predict(store: Store, settings: Settings, options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    from xner_label.pipeline.checking import require_stages
    from xner_label.predicting.predictor import Predictor
    from xner_label.store.labels import agreed

    require_stages(settings)
    report = Predictor(store, agreed(store, settings)).predict_project(progress)
    return {"version": report.version, "predicted": report.predicted, "left_out": sum(report.left_out.values())}


def _train(store: Store, settings: Settings, options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    from xner_label.checkpoints.devices import PlacementRequest
    from xner_label.training.data import DataOptions
    from xner_label.training.runs import TrainOptions, new_gold, train

    data = DataOptions.of(settings)
    least = int(options.get("if_new_gold", 0))
    if least and (settled := new_gold(store, settings.project, data)) < least:
        return {"new_gold": settled, "trained": 0}
    where = PlacementRequest(settings.device, settings.dtype)
    folder = Path(settings.training_folder)
    report = train(store, settings.project, folder, TrainOptions(data), progress, where)
    return {"version": report.version, "gold": report.data.gold, "silver": report.data.silver}


KINDS: Mapping[str, Run] = MappingProxyType({"sync": _sync, "predict": _predict, "train": _train})
