"""`xner-label predict`: run the pipeline over the stored tasks."""

from __future__ import annotations

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import write_json
from xner_label.errors import PartialError
from xner_label.settings.table import Settings


@click.command(name="predict")
@with_settings("database_url", "project", "preset", "translator", "tagger", "aligner", "projector")
@click.option("--with-model", is_flag=True, help="Predict with the promoted model instead of the pipeline")
@json_option
def command(settings: Settings, with_model: bool, as_json: bool) -> None:
    """Translate, tag, align and project every task that this pipeline hasn't predicted yet.

    What a task brings along (source, source entities, links) is used as it is. Interrupt it freely: it goes on
    where it stopped.
    """
    if with_model:
        _predict_with_model(settings, as_json)
        return
    from xner_label.predicting.predictor import Predictor
    from xner_label.store.database import open_store

    with open_store(settings.database_url) as store:
        report = Predictor(store, settings).predict_project(lambda stage: click.echo(f"{stage} ...", err=True))
    if as_json:
        write_json(report)
    click.echo(
        f"{report.version}: {report.predicted} tasks predicted with {report.entities} entities, "
        f"{report.known} already predicted",
        err=True,
    )
    for reason, count in report.left_out.items():
        click.echo(f"{count} tasks left out: {reason}", err=True)
    if report.left_out:
        raise PartialError(
            "some tasks have no prediction", hint="complete them and run `xner-label predict` again"
        )


def _predict_with_model(settings: Settings, as_json: bool) -> None:
    from xner_label.predicting.with_model import predict_with_model
    from xner_label.store.database import open_store

    with open_store(settings.database_url) as store:
        report = predict_with_model(store, settings.project)
    if as_json:
        write_json(report)
    click.echo(
        f"{report.version}: {report.predicted} tasks predicted with {report.entities} entities, "
        f"{report.known} already predicted",
        err=True,
    )
