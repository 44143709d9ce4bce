"""`xner-label import`: tasks, gold or labelled source data into the store."""

from __future__ import annotations

from pathlib import Path

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import report_partial, write_json
from xner_label.settings.table import Settings


@click.command(name="import")
@click.argument("input_path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--format", type=click.Choice(["jsonl", "csv", "text"]), help="[default: by the file's ending]")
@click.option("--split", help="Put every task into this split (pool, dev, test) whatever the line says")
@click.option("--gold", is_flag=True, help="Take each line's `entities` as gold")
@click.option("--source-labelled", is_flag=True, help="The lines are labelled source data for the source tagger")
@click.option(
    "--drop-unknown-labels", is_flag=True, help="Leave out entities with a label the project doesn't have"
)
@with_settings("database_url", "project", "labels")
@json_option
def command(settings: Settings, input_path: Path, as_json: bool, **options: object) -> None:
    """Import tasks from JSON Lines, CSV (a column `text`) or plain text (one sentence a line).

    Importing the same file again adds nothing. Bad lines are named and left out (exit 5).
    """
    from xner_label.exchange.importing import ImportOptions, import_file
    from xner_label.store.database import open_store

    with open_store(settings.database_url) as store:
        report = import_file(store, settings.project, settings.labels, input_path, ImportOptions(**options))  # type: ignore[arg-type]
    if as_json:
        write_json({"added": report.added, "known": report.known, "gold": report.gold, "bad": len(report.errors)})
    what = "labelled source sentences" if options["source_labelled"] else "tasks"
    gold = f", {report.gold} with gold" if options["gold"] else ""
    click.echo(
        f"{report.added} {what} added{gold}, {report.known} already there, {len(report.errors)} bad", err=True
    )
    report_partial(report.errors)
