"""`xner-label dataset`: what training learns from and is judged by."""

from __future__ import annotations

from pathlib import Path

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer, say
from xner_label.settings.table import Settings
from xner_label.wording import counted


@click.command(name="dataset")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    help="Write the parts gold, silver, dev and test into this new folder",
)
@click.option(
    "--format",
    type=click.Choice(
        ["jsonl", "conll", "hf", "doccano", "prodigy", "label-studio", "webanno", "spacy"], case_sensitive=False
    ),
    default="jsonl",
    show_default=True,
)
@with_settings("database_url", "project", "min_silver_confidence", "max_error", "dev_share", "near_duplicates")
@json_option
def command(settings: Settings, folder: Path | None, format: str, as_json: bool) -> None:
    """Say what a training would learn from and be judged by, and why other tasks are left out; write it as files.

    `hf` is JSON Lines for `datasets.load_dataset("json", data_files=...)`.
    """
    from xner_label.store.database import open_store
    from xner_label.training.data import DataOptions, described
    from xner_label.training.dataset import make_dataset

    options = DataOptions.of(settings)
    with open_store(settings.database_url) as store:
        report = make_dataset(store, settings.project, options, folder, format)
    answer(report, described(report.data), as_json=as_json)
    for name, written in report.files.items():
        left_out = f", {written.left_out} left out: tags can't express them" if written.left_out else ""
        say(f"{name}: {counted(written.tasks, 'task')} with {counted(written.entities, 'entity')}{left_out}")
