"""`xner-label status`: where the project stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import say, write_json
from xner_label.errors import CheckFailedError
from xner_label.settings.table import Settings
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.reporting.status import Status


@click.command(name="status")
@click.option("--check", is_flag=True, help="End with exit code 6 when something is to be done, for cron")
@with_settings("database_url", "project")
@json_option
def command(settings: Settings, check: bool, as_json: bool) -> None:
    """Show how many tasks, predictions, reviews, corrections and model runs the project has.

    What to do next, if anything, goes to standard error, the most urgent first. With --check that is an error:
    predictions missing in Label Studio or by the promoted model, answers that nothing was learned from, a job that
    failed or has been due for five minutes, a connected project without a sync for a day, new text that isn't like
    what was reviewed, conflicts.
    """
    from xner_label.reporting.status import status
    from xner_label.store.database import open_store

    with open_store(settings.database_url) as store:
        report = status(store, settings.project)
    if as_json:
        write_json(report)
    else:
        _show(report)
    for advice in report.advice if check or not as_json else ():
        say(advice)
    if check and report.advice:
        raise CheckFailedError("something is to be done", hint="what, stands above")


def _show(report: Status) -> None:
    click.echo(f"project        {report.project} ({', '.join(report.labels)})")
    click.echo(f"Label Studio   {report.studio_url or 'not connected'}")
    synced = report.last_sync
    click.echo(f"last sync      {f'{synced:%Y-%m-%d %H:%M} UTC' if synced else 'never'}")
    click.echo(f"tasks          {_counts(report.tasks)}")
    click.echo(f"source data    {counted(report.source_sentences, 'labelled sentence')}")
    click.echo(f"predictions    {_counts(report.predictions)}")
    click.echo(f"review         {report.chosen} chosen, {report.pushed} in Label Studio, {report.waiting} wait")
    conflicts = f", {report.conflicts} in conflict" if report.conflicts else ""
    click.echo(f"gold           {counted(report.gold, 'task')}{conflicts}")
    if report.excluded or report.acknowledged:
        unusable = counted(report.acknowledged, "unusable annotation")
        click.echo(f"set aside      {counted(report.excluded, 'task')}, {unusable}")
    if report.unlearned or report.unlearned_names:
        click.echo(
            f"not learned    {counted(report.unlearned, 'task')} and "
            f"{counted(report.unlearned_names, 'name')} with new answers: "
            "run `xner-label predict`"
        )
    by_name = report.name_decisions
    if by_name.error is not None:
        share = f"{by_name.error:.0%} ({by_name.low:.0%} to {by_name.high:.0%})"
        click.echo(f"by name        {by_name.wrong} of {by_name.checked} decisions read are wrong: {share}")
    if report.verdict is not None:
        click.echo(f"verdict        {report.verdict.line}")
    if report.drift is not None:
        click.echo(f"new text       {report.drift.line}")
    accepted = (
        "" if report.acceptance is None else f"; {report.acceptance:.0%} of shown entities were left as they were"
    )
    click.echo(f"corrections    {_counts(report.corrections)}{accepted}")
    if report.skipped:
        click.echo(f"skipped        {counted(report.skipped, 'task')}")
    if report.hints.shown:
        click.echo(
            f"hints          {report.hints.accepted} of {report.hints.shown} possible missed names were marked"
        )
    click.echo(
        f"models         {counted(report.model_runs, 'run')}, serving {report.promoted or 'the projection'}"
    )
    if report.without_source is not None:
        click.echo(f"without source {report.without_source.line}")
    if report.jobs:
        click.echo(f"jobs           {', '.join(f'{job.kind} {job.state}' for job in report.jobs)}")
    click.echo(report.signature)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
