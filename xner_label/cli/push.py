"""`xner-label push`: the least confident tasks to Label Studio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xner_label.cli.options import FiniteRange, json_option, with_settings
from xner_label.cli.output import answer, say
from xner_label.cli.progress import console_progress
from xner_label.errors import UsageError
from xner_label.settings.choices import DEFAULT_STRATEGY, STRATEGIES
from xner_label.settings.table import Settings
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.studio.push import PushOptions, PushReport

_PROBABILITY = FiniteRange(0.0, 1.0)


@click.command(name="push")
@click.option("--limit", type=click.IntRange(min=0), help="Tasks that should wait for review")
@click.option(
    "--names",
    type=click.IntRange(min=0),
    help="Name cards that should wait: one question for all of a name's places",
)
@click.option(
    "--strategy", default=DEFAULT_STRATEGY, show_default=True, help=f"Order of review: {', '.join(STRATEGIES)}"
)
@click.option(
    "--minutes",
    type=FiniteRange(min=0.0),
    help="No more than people can do in this time, with what waits; alone: tasks and name cards in one queue",
)
@click.option("--max-confidence", type=_PROBABILITY, help="Leave out tasks that are surer than this")
@click.option("--split", default="pool", show_default=True, help="Choose from this split")
@click.option(
    "--blind-share",
    type=_PROBABILITY,
    default=0.0,
    show_default=True,
    help="Share of the tasks drawn at random and shown without a prediction: the control slice",
)
@click.option(
    "--audit-share",
    type=_PROBABILITY,
    default=0.0,
    show_default=True,
    help="Share of the tasks drawn at random and shown with it: the audit slice, on which estimates rest",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of both slices")
@click.option("--dry-run", is_flag=True, help="Only say what would be pushed")
@with_settings("database_url", "project", "studio_url")
@json_option
def command(
    settings: Settings, as_json: bool, limit: int | None, names: int | None, dry_run: bool, **options: object
) -> None:
    """Send the least confident predictions to Label Studio, until --limit tasks wait there for review.

    With --minutes alone sentences and name cards go out together, whatever puts most errors right per second,
    until what waits takes people that long: by measured times, once there are enough of them.

    Pushing again adds nothing until some of them are done and synced. What an interrupted push chose goes first,
    no task is sent twice, and tasks that wait already get the newest predictions. With --names it is questions
    about names that go out, to a project of their own.
    """
    from xner_label.store.database import open_store
    from xner_label.studio.push import PushOptions, push

    minutes = options["minutes"]
    if (limit is not None and names is not None) or limit is names is minutes:
        raise UsageError(
            "push sends tasks, name cards, or both", hint="give --limit 100, --names 50, or --minutes 60"
        )
    if names is not None:
        _push_names(settings, names, dry_run=dry_run, as_json=as_json)
        return
    options |= {"limit": limit or 0, "dry_run": dry_run}
    if limit is None:
        _push_queue(settings, PushOptions(**options), as_json=as_json)  # type: ignore[arg-type]
        return
    with open_store(settings.database_url) as store, console_progress(announce=True) as progress:
        report = push(
            store,
            settings,
            PushOptions(**options),  # type: ignore[arg-type]
            progress,
        )
    nothing = report.version is None
    answer(report, "nothing to push" if nothing else _summary(report), as_json=as_json)
    _advise(report, str(options["split"]))


def _advise(report: PushReport, split: str) -> None:
    if report.version is None:
        say("nothing is predicted yet: run `xner-label predict` first")
    if report.elsewhere:
        elsewhere = ", ".join(f"{count} in {split}" for split, count in report.elsewhere.items())
        first = next(iter(report.elsewhere))
        say(f"no predicted task to choose in split {split}; {elsewhere}: --split {first}")
    if report.unpredicted:
        say(
            f"the promoted model hasn't predicted {counted(report.unpredicted, 'task')}, so the "
            f"older predictions are shown: "
            "run `xner-label predict --with-model`, then push again"
        )


def _push_queue(settings: Settings, options: PushOptions, *, as_json: bool) -> None:
    from xner_label.store.database import open_store
    from xner_label.studio.pushing_queue import push_queue

    with open_store(settings.database_url) as store, console_progress(announce=True) as progress:
        report = push_queue(store, settings, options.minutes or 0.0, options, progress)
    before = f", beside {report.waiting_minutes:.0f} min that waited" if report.waiting_minutes else ""
    answer(
        report,
        f"{report.minutes:.0f} min{before}: {_summary(report.tasks)}; {counted(report.audited, 'task')} to check "
        f"decisions by name; {counted(report.names.chosen, 'name card')} with "
        f"{counted(report.names.occurrences, 'place')}, "
        f"{report.names.sent} sent, {report.names.waiting} wait",
        as_json=as_json,
    )
    _advise(report.tasks, options.split)


def _push_names(settings: Settings, count: int, *, dry_run: bool, as_json: bool) -> None:
    from xner_label.store.database import open_store
    from xner_label.studio.asking_names import ask_names

    with open_store(settings.database_url) as store:
        report = ask_names(store, settings, count, dry_run=dry_run)
    answer(
        report,
        f"{counted(report.chosen, 'name')} {'would be asked about' if dry_run else 'chosen'} with "
        f"{counted(report.occurrences, 'place')}, {report.expected_errors:.0f} of them expected "
        f"to be wrong; {counted(report.sent, 'card')} sent, "
        f"{report.waiting} wait for an answer"
        + (f" at {report.url}" if report.url else "")
        + (f"; {report.settled} that other answers have settled are gone" if report.settled else ""),
        as_json=as_json,
    )


def _summary(report: PushReport) -> str:
    parts = [f"{counted(report.chosen, 'task')} {'would be chosen' if report.dry_run else 'chosen'}"]
    if report.lowest_confidence is not None:
        parts.append(f"confidence {report.lowest_confidence:.2f} to {report.highest_confidence:.2f}")
    if report.drawn:
        parts.append(f"{report.drawn} of them drawn at random")
    if report.blind:
        parts.append(f"{report.blind} of them blind")
    if report.resumed:
        parts.append(f"{report.resumed} left from an earlier push")
    if not report.dry_run:
        parts.append(f"{report.pushed} pushed")
    if report.refreshed:
        parts.append(f"{report.refreshed} waiting ones refreshed")
    if report.reordered:
        parts.append(f"{report.reordered} of them moved in the queue")
    if report.repaired:
        parts.append(f"{counted(report.repaired, 'prediction')} that Label Studio lacked sent again")
    return f"{', '.join(parts)}; {report.waiting} wait for review"
