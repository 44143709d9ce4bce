"""`xner-label report`: one page that shows where the project stands and how good it is."""

from __future__ import annotations

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import say, write_json
from xner_label.jsonl import open_output
from xner_label.settings.table import Settings


@click.command(name="report")
@click.option(
    "-o",
    "--output",
    default="report.html",
    show_default=True,
    help="Where the page goes; - for standard output",
)
@with_settings("database_url", "project")
@json_option
def command(settings: Settings, output: str, as_json: bool) -> None:
    """Write one self-contained HTML page: state, confidence, errors by stage, names, people, model runs.

    With --json the same numbers go to standard output, and no page is written.
    """
    from xner_label.reporting.report import report
    from xner_label.reporting.report_page import render, require_drawing
    from xner_label.store.database import open_store

    if not as_json:
        require_drawing()
    with open_store(settings.database_url) as store:
        document = report(store, settings.project)
    if as_json:
        write_json(document)
        return
    page = render(document)
    with open_output(output) as sink:
        sink.write(page.encode())
    if output != "-":
        say(f"the report is in {output}")
