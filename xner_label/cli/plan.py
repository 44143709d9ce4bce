"""`xner-label plan`: what so many minutes of review will bring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xner_label.cli.options import FiniteRange, json_option, with_settings
from xner_label.cli.output import say, write_json
from xner_label.settings.choices import STRATEGIES
from xner_label.settings.table import Settings
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.confidence.estimates import Interval
    from xner_label.review.plans import PlanReport

# Sentences and names that are named; all are in the document.
_SHOWN = 5


@click.command(name="plan")
@click.option("--minutes", type=FiniteRange(min=0.0, min_open=True), required=True, help="Of people's time")
@click.option(
    "--strategy", help=f"Sentences alone, in this order: {', '.join(STRATEGIES)} [default: sentences and names]"
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of strategies that draw")
@click.option("--split", default="pool", show_default=True, help="Of tasks from this split")
@click.option("--dry-run", is_flag=True, help="Don't keep the plan")
@with_settings("database_url", "project")
@json_option
def command(
    settings: Settings, as_json: bool, minutes: float, strategy: str | None, seed: int, split: str, dry_run: bool
) -> None:
    """Say which sentences and which names people can do in --minutes, how much they will put right, and what it
    does to the labels and to the model.

    It is what waits for people, and what `xner-label push --minutes` would send beside it. With --strategy it is
    what `push --limit` with the same strategy and minutes sends. Times are Label Studio's lead times as soon as 20
    answers of a kind have one; breaks don't count. The plan is kept: after the next `xner-label sync` it is held
    against what people did.
    """
    from xner_label.review.plans import make_plan
    from xner_label.store.database import open_store

    with open_store(settings.database_url) as store:
        report = make_plan(
            store, settings.project, minutes, strategy=strategy, seed=seed, split=split, keep=not dry_run
        )
    if as_json:
        write_json(report)
        return
    click.echo("\n".join(_lines(report)))
    if report.f1_now is None:
        say("quality isn't estimated: fewer than 30 tasks drawn at random are reviewed (`push --audit-share 0.2`)")
    if report.model is None:
        say("nothing is said of the model before the first `xner-label train`")
    click.echo(report.signature)


def _lines(report: PlanReport) -> list[str]:
    waiting = sum(row.waiting for row in report.planned_tasks) + sum(row.waiting for row in report.names)
    sentences = counted(len(report.tasks), "sentence")
    lines = [
        f"{report.minutes:g} min of people's time; already waiting: {waiting} of these sentences and names",
        f"{sentences}, in which about {_count(report.changes)} entities are put right",
    ]
    lines += _first([f"  {row.id}: {row.changes:.1f}" for row in report.planned_tasks], "sentence")
    if report.names:
        places = sum(row.occurrences for row in report.names)
        lines.append(
            f"{counted(len(report.names), 'name')} with {counted(places, 'place')}, about "
            f"{_count(report.name_changes)} of which change"
        )
        shown = [
            f"  {row.target} as {row.label} for {row.source or 'nothing in the source'}: {row.changes:.1f} of "
            f"{row.occurrences}"
            for row in report.names
        ]
        lines += _first(shown, "name")
    if report.f1_now is not None and report.f1_after is not None:
        lines.append(f"F1 of the whole corpus: {_f1(report.f1_now)} now, {_f1(report.f1_after)} then")
    if report.silver_now is not None and report.silver_after is not None:
        lines.append(
            f"F1 of what nobody has read: {_f1(report.silver_now)} now, {_f1(report.silver_after)} then; what the "
            "answers teach is extra"
        )
    if report.model is not None:
        lines.append(
            f"F1 of a model trained then: {_f1(report.model.after)}, now {_f1(report.model.now)}, by "
            f"{counted(report.model.runs, 'run')}"
        )
    times = report.lead_times
    measured = (
        counted(times.measured, "measured task") if times.measured else "usual ones, nothing is measured yet"
    )
    lines.append(
        f"times: {times.per_token:.2f} s a token, {times.per_change:.1f} s a change, {times.per_task:.1f} s a "
        f"task ({measured}, {times.interrupted} with a break left out), {report.seconds_per_name:.1f} s a name"
    )
    return lines


def _first(lines: list[str], what: str) -> list[str]:
    """The first of them, and how many more there are."""
    more = len(lines) - _SHOWN
    return lines[:_SHOWN] + ([f"  and {counted(more, f'more {what}')}, see --json"] if more > 0 else [])


def _count(interval: Interval) -> str:
    return f"{interval.value:.0f} ({interval.low:.0f} to {interval.high:.0f}, 95 %)"


def _f1(interval: Interval) -> str:
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
