"""`xner-label stop`: whether the review may stop."""

from __future__ import annotations

import click

from xner_label.cli.options import FiniteRange, json_option, with_settings
from xner_label.cli.output import write_json
from xner_label.errors import CheckFailedError
from xner_label.settings.choices import CORPUS, MIN_GAIN, MODEL, PURPOSES
from xner_label.settings.table import Settings


@click.command(name="stop")
@click.option("--exit-code", is_flag=True, help="End with 6 where review should go on")
@click.option(
    "--min-gain",
    type=FiniteRange(0.0, 1.0),
    help=f"What an hour must add to F1 to be worth it [default: {MIN_GAIN[MODEL]:g} for a model, "
    f"{MIN_GAIN[CORPUS]:g} for the corpus]",
)
@click.option(
    "--for",
    "purpose",
    type=click.Choice(PURPOSES),
    default=MODEL,
    show_default=True,
    help="What the labels are for: a model and text that nobody reads, or this corpus alone",
)
@with_settings("database_url", "project")
@json_option
def command(settings: Settings, as_json: bool, exit_code: bool, min_gain: float | None, purpose: str) -> None:
    """Say whether people may stop reviewing, why, and what the next hour would buy.

    It looks at what the last answers did to the predictions that nobody has read, at the errors that are left by
    the audit slice, and at what an hour would add to the quality of the whole corpus.
    """
    from xner_label.review.finishing import stop_report
    from xner_label.store.database import open_store

    with open_store(settings.database_url) as store:
        report = stop_report(store, settings.project, min_gain=min_gain, purpose=purpose)
    verdict = report.verdict
    if as_json:
        write_json(report)
    else:
        click.echo(verdict.line)
        if verdict.errors_left is not None:
            click.echo(f"about {verdict.errors_left:.0f} errors are left in what nobody has read")
        hour = report.next_hour
        click.echo(
            f"the next hour would put about {hour.value:.0f} entities right ({hour.low:.0f} to {hour.high:.0f})"
        )
        click.echo(report.signature)
    if exit_code and not verdict.stop:
        raise CheckFailedError("the review should go on", hint="`xner-label push --minutes 60 --limit 500`")
