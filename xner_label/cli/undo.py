"""``xner-label undo``: withdraw answers, and with the next prediction what they moved."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer, say
from xner_label.settings.table import Settings
from xner_label.wording import counted

_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]


@click.command()
@click.option("--annotator", help="Whose answers")
@click.option("--since", type=click.DateTime(_FORMATS), help="Only answers from this moment on (UTC)")
@click.option("--dry-run", is_flag=True, help="Only say what would be withdrawn")
@with_settings("database_url", "project")
@json_option
def command(
    settings: Settings, annotator: str | None, since: datetime | None, dry_run: bool, as_json: bool
) -> None:
    """Withdraw answers, those about names too, by a person, from a moment on, or both.

    They stay in the history and count no more; `xner-label predict` then forgets what they moved in other tasks.
    An answer counts again when it is changed in Label Studio.
    """
    from xner_label.reporting.undoing import undo
    from xner_label.store.database import open_store

    moment = None if since is None else since.replace(tzinfo=UTC)
    with open_store(settings.database_url) as store:
        report = undo(store, settings.project, annotator=annotator, since=moment, dry_run=dry_run)
    of_whom = ", ".join(f"{count} by {name}" for name, count in report.annotators.items())
    done = "would be withdrawn" if dry_run else "withdrawn"
    about = f" and {report.names} about names" if report.names else ""
    text = f"{counted(report.answers, 'answer')} in {counted(report.tasks, 'task')}{about} {done}" + (
        f": {of_whom}" if of_whom else ""
    )
    answer(report, text, as_json=as_json)
    if report.others:
        say(f"{annotator!r} has no answers that count; those who do: {', '.join(report.others)}")
    if (report.answers or report.names) and not dry_run:
        say("run `xner-label predict` to forget what they moved")
