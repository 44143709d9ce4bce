"""`xner-label export`: gold and silver as files."""

from __future__ import annotations

import click

from xner_label.cli.options import json_option, output_option, with_settings
from xner_label.cli.output import answer, require_file, say
from xner_label.settings.table import Settings


@click.command(name="export")
@click.option("--gold", is_flag=True, help="What people settled")
@click.option("--silver", is_flag=True, help="Predictions never reviewed, by the latest pipeline")
@click.option("--format", type=click.Choice(["jsonl", "conll"]), default="jsonl", show_default=True)
@output_option
@with_settings("database_url", "project")
@json_option
def command(settings: Settings, gold: bool, silver: bool, format: str, output_path: str, as_json: bool) -> None:
    """Write gold, silver or both as JSON Lines or CoNLL columns (token, tab, IOB2 tag)."""
    from xner_label.exchange.exporting import export
    from xner_label.store.database import open_store

    require_file(output_path, as_json=as_json)
    with open_store(settings.database_url) as store:
        report = export(store, settings.project, output_path, gold=gold, silver=silver, format=format)
    widened = f", {report.widened} widened to whole tokens" if report.widened else ""
    words = f"{report.tasks} tasks with {report.entities} entities exported{widened}"
    if output_path == "-":
        say(words)
    else:
        answer(report, words, as_json=as_json)
