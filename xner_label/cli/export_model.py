"""`xner-label export-model`: a model run as a folder to take away."""

from __future__ import annotations

from pathlib import Path

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer
from xner_label.settings.table import Settings


@click.command(name="export-model")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--run", "version", metavar="VERSION", help="The model run [default: the promoted one]")
@click.option(
    "--format",
    type=click.Choice(["plain", "spacy"]),
    default="plain",
    show_default=True,
    help="spacy: a package whose pipeline spacy.load loads",
)
@with_settings("database_url", "project", "training_folder", "target_language", "model_licence", "data_licence")
@json_option
def command(settings: Settings, folder: Path, version: str | None, format: str, as_json: bool) -> None:
    """Write a model run into a new FOLDER that works without XNER-Label, with a model card.

    A CRF needs python-crfsuite alone: the code of its features comes along. A fine-tuned checkpoint is a folder
    for transformers' own pipeline; with --format spacy a CRF is a package with a spaCy pipeline. The card
    (README.md) names data, licences, metrics with their intervals, intended use and limits.
    """
    from xner_label.store.database import open_store
    from xner_label.training.model_card import CardFacts
    from xner_label.training.model_export import export_model

    models = Path(settings.training_folder)
    facts = CardFacts(settings.target_language, settings.model_licence, settings.data_licence)
    with open_store(settings.database_url) as store:
        report = export_model(store, settings.project, models, folder, facts, version, format)
    answer(report, f"{report.version} written to {report.folder}: {', '.join(report.files)}", as_json=as_json)
