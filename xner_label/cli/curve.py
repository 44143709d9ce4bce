"""`xner-label curve`: what more review would buy."""

from __future__ import annotations

from pathlib import Path

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer
from xner_label.cli.progress import console_progress
from xner_label.settings.table import Settings


@click.command(name="curve")
@click.option(
    "--draws", type=click.IntRange(1), default=3, show_default=True, help="Draws of each part of the gold"
)
@click.option("--plot", "file", type=click.Path(path_type=Path), help="Draw the curve into this file")
@with_settings("database_url", "project", "min_silver_confidence", "max_error", "dev_share", "near_duplicates")
@json_option
def command(settings: Settings, draws: int, file: Path | None, as_json: bool) -> None:
    """Train on parts of the gold there is and say what the next 100 reviewed tasks would buy.

    Judged on held-out gold of other splits than test, with projections and from texts alone. Nothing is recorded.
    """
    from xner_label.store.database import open_store
    from xner_label.training.data import DataOptions, collect
    from xner_label.training.learning_curve import advice, learning_curve, plot

    options = DataOptions.of(settings)
    with open_store(settings.database_url) as store, store.read() as session:
        data = collect(session, settings.project, options)
    with console_progress() as progress:
        curve = learning_curve(data, options.rules, draws, progress)
    if file is not None:
        plot(curve, file)
    answer(curve, advice(curve), as_json=as_json)
