"""`xner-label predict`: run the pipeline over the stored tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer, say
from xner_label.cli.progress import console_progress
from xner_label.errors import PartialError, UsageError
from xner_label.settings.table import Settings

if TYPE_CHECKING:
    from xner_label.predicting.predictor import PredictReport
    from xner_label.predicting.with_model import ModelPredictReport


@click.command(name="predict")
@with_settings(
    "database_url", "project", "preset", "translator", "tagger", "aligner", "projector", "training_folder"
)
@click.option("--limit", type=click.IntRange(min=1), help="Only so many tasks, each projected on its own")
@click.option("--split", help="Only tasks of this split, each projected on its own")
@click.option(
    "--again",
    multiple=True,
    type=click.Choice(["translator", "tagger"]),
    help="Let this stage work also where tasks brought a source or source entities along",
)
@click.option("--with-model", is_flag=True, help="Predict with the promoted model instead of the pipeline")
@json_option
def command(
    settings: Settings,
    limit: int | None,
    split: str | None,
    again: tuple[str, ...],
    with_model: bool,
    as_json: bool,
) -> None:
    """Translate, tag, align and project every task that this pipeline hasn't predicted yet.

    What a task brings along (source, source entities, links) is used as it is, unless a stage works --again: what
    it brought is set aside, and importing it once more brings it back. Another translator or tagger does its stage
    anew by itself, where the one before did it. Interrupt it freely: it goes on
    where it stopped. What --limit and --split choose is there for a look: it becomes what `push` sends only
    where nothing else was predicted before.
    """
    if with_model and (limit is not None or split is not None or again):
        raise UsageError("the model predicts all tasks", hint="leave --limit, --split and --again out")
    if with_model:
        _predict_with_model(settings, as_json)
        return
    from xner_label.pipeline.checking import require_stages
    from xner_label.predicting.predictor import Predictor
    from xner_label.store.database import open_store
    from xner_label.store.labels import agreed

    require_stages(settings)
    with open_store(settings.database_url) as store, console_progress(announce=True) as progress:
        report = Predictor(store, agreed(store, settings)).predict_project(
            progress, limit=limit, split=split, again=again
        )
    answer(report, _words(report) + _learned(report), as_json=as_json)
    for reason, count in report.left_out.items():
        say(f"{count} tasks left out: {reason}")
    if report.left_out:
        raise PartialError(
            "some tasks have no prediction", hint="complete them and run `xner-label predict` again"
        )


def _predict_with_model(settings: Settings, as_json: bool) -> None:
    from xner_label.checkpoints.devices import PlacementRequest
    from xner_label.predicting.with_model import predict_with_model
    from xner_label.store.database import open_store

    where = PlacementRequest(settings.device, settings.dtype)
    with open_store(settings.database_url) as store, console_progress(announce=True) as progress:
        report = predict_with_model(store, settings.project, Path(settings.training_folder), progress, where=where)
    answer(report, _words(report), as_json=as_json)


def _learned(report: PredictReport) -> str:
    learned = report.learned
    if learned is None:
        return ""
    names = f" and {learned.names} names" if learned.names else ""
    return (
        f"\n{learned.corrections} corrections in {learned.answers} answers{names} changed {learned.entities} "
        f"entities in {learned.tasks} tasks nobody has opened"
    )


def _words(report: PredictReport | ModelPredictReport) -> str:
    return (
        f"{report.version}: {report.predicted} tasks predicted with {report.entities} entities, "
        f"{report.known} already predicted"
    )
