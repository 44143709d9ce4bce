"""`xner-label plan`: what so many minutes of review will bring."""

from __future__ import annotations

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import say, write_json
from xner_label.settings.choices import DEFAULT_STRATEGY, STRATEGIES
from xner_label.settings.table import Settings


@click.command(name="plan")
@click.option("--minutes", type=click.FloatRange(min=0.0, min_open=True), required=True, help="Of people's time")
@click.option(
    "--strategy", default=DEFAULT_STRATEGY, show_default=True, help=f"Order of review: {', '.join(STRATEGIES)}"
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of strategies that draw")
@click.option("--dry-run", is_flag=True, help="Don't keep the plan")
@with_settings("database_url", "project")
@json_option
def command(settings: Settings, as_json: bool, minutes: float, strategy: str, seed: int, dry_run: bool) -> None:
    """Say which tasks people can review in --minutes, how much they will put right, and what it does to the
    corpus.

    Times are Label Studio's lead times as soon as 20 tasks have one; breaks don't count. The plan is kept:
    after the next `xner-label sync` it is held against what people did. `xner-label push --limit` with the same
    strategy sends these tasks; name cards aren't planned.
    """
    from xner_label.review.plans import make_plan
    from xner_label.store.database import open_store

    with open_store(settings.database_url) as store:
        report = make_plan(store, settings.project, minutes, strategy=strategy, seed=seed, keep=not dry_run)
    if as_json:
        write_json(report)
        return
    changes = report.changes
    click.echo(
        f"{len(report.tasks)} tasks in {report.minutes:g} minutes, about {changes.value:.0f} entities to put "
        f"right ({changes.low:.0f} to {changes.high:.0f}, 95 %)"
    )
    if report.f1_now is not None and report.f1_after is not None:
        now, after = report.f1_now, report.f1_after
        click.echo(
            f"F1 of the whole corpus: {now.value:.3f} ({now.low:.3f} to {now.high:.3f}) now, "
            f"{after.value:.3f} ({after.low:.3f} to {after.high:.3f}) then; what the answers teach is extra"
        )
    else:
        say("quality isn't estimated: fewer than 30 tasks drawn at random are reviewed (`push --audit-share 0.2`)")
    times = report.lead_times
    measured = f"{times.measured} measured tasks" if times.measured else "usual ones, nothing is measured yet"
    click.echo(
        f"times: {times.per_token:.2f} s a token, {times.per_change:.1f} s a change, {times.per_task:.1f} s a "
        f"task ({measured}, {times.interrupted} with a break left out)"
    )
    click.echo(report.signature)
