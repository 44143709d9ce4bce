"""`xner-label sync`: what people did in Label Studio into the store."""

from __future__ import annotations

import time
from contextlib import suppress

import click

from xner_label.cli.options import FiniteRange, json_option, with_settings
from xner_label.cli.output import answer, say
from xner_label.cli.progress import console_progress
from xner_label.errors import CheckFailedError, ContractError, PartialError, StudioError
from xner_label.settings.table import Settings
from xner_label.wording import counted


@click.command(name="sync")
@click.option("--full", is_flag=True, help="Look at every task again, not only at what changed")
@click.option("--allow-deletions", is_flag=True, help="Take over deletions on a large scale too")
@click.option(
    "--watch",
    type=FiniteRange(min=1.0),
    metavar="SECONDS",
    help="Sync again every so many seconds until interrupted; what goes wrong is said and tried again",
)
@with_settings("database_url", "project", "studio_url")
@json_option
def command(settings: Settings, as_json: bool, full: bool, allow_deletions: bool, watch: float | None) -> None:
    """Take over annotations, changes and deletions from Label Studio, and compute the corrections.

    Syncing again adds nothing. An annotation whose offsets, text or labels don't fit its task is left out and
    named every time until it is put right or acknowledged (exit 8). When more than ten and a fifth of all
    annotations or tasks are gone over there, nothing is taken over (exit 6) without --allow-deletions.
    """
    if watch is None:
        _sync(settings, as_json=as_json, full=full, allow_deletions=allow_deletions)
        return
    from xner_label.jobs.interrupts import terminating_interrupts

    with suppress(KeyboardInterrupt), terminating_interrupts() as interrupts:
        while not interrupts.received:
            try:
                _sync(settings, as_json=as_json, full=full, allow_deletions=allow_deletions)
            except (StudioError, PartialError, ContractError, CheckFailedError) as error:
                if not interrupts.received:  # otherwise what a library made of the interrupt
                    say(str(error))
            if not interrupts.received:
                time.sleep(watch)


def _sync(settings: Settings, *, as_json: bool, full: bool, allow_deletions: bool) -> None:
    """Sync once, and say what came of it."""
    from xner_label.store.database import open_store
    from xner_label.studio.sync import sync
    from xner_label.studio.sync_report import AnswersReport

    with open_store(settings.database_url) as store, console_progress() as progress:
        report = sync(store, settings, progress, full=full, allow_deletions=allow_deletions)
    corrections = ", ".join(f"{count} {kind}" for kind, count in sorted(report.corrections.items())) or "none"
    answer(
        report,
        f"{counted(report.added, 'annotation')} added, {report.updated} updated, {report.deleted} deleted, "
        f"{counted(report.skipped, 'task')} skipped, {counted(report.new_tasks, 'task')} new, "
        f"{counted(report.deleted_tasks, 'task')} deleted; "
        f"corrections: {corrections}",
        as_json=as_json,
    )
    if report.names != AnswersReport():
        heard = report.names
        say(
            f"name cards: {heard.answered} answered, {heard.changed} changed, {heard.withdrawn} withdrawn; "
            "`xner-label predict` applies them everywhere"
        )
        if heard.settled:
            say(f"{counted(heard.settled, 'name card')} that other answers have settled left Label Studio")
        for problem in heard.problems:
            say(problem)
    if report.refreshed:
        shown = counted(
            report.refreshed, "waiting task shows a newer prediction", "waiting tasks show newer predictions"
        )
        say(f"{shown}, {report.reordered} of them moved in the queue")
    if report.revived:
        revived = "annotation that counted as deleted is", "annotations that counted as deleted are"
        say(f"{counted(report.revived, *revived)} there")
    if report.added or report.updated or report.deleted or report.names.answered:
        _tell_desk(settings)
    for doubled in report.doubled:
        say(
            f"task {doubled.studio_task} brings the xner_id {doubled.xner_id!r} of another one: "
            f"stored as {doubled.stored_as!r}"
        )
    for rejected in report.rejected:
        where = f"task {rejected.studio_task}, annotation {rejected.annotation}"
        say(f"{where}: {rejected.problem}")
    if report.rejected:
        raise ContractError(
            f"{counted(len(report.rejected), 'annotation was', 'annotations were')} left out; "
            f"everything else is saved",
            hint="correct them in Label Studio and run `xner-label sync` again, or set them aside with "
            "`xner-label acknowledge`",
        )


def _tell_desk(settings: Settings) -> None:
    """Calibrate on the new answers, and hold the last plan against them."""
    from xner_label.review.desk import is_predicted
    from xner_label.review.finishing import calibrate_project
    from xner_label.review.plan_outcomes import compare_plan
    from xner_label.store.database import open_store

    with open_store(settings.database_url) as store:
        if not is_predicted(store, settings.project):
            return
        calibrated = calibrate_project(store, settings.project)
        outcome = compare_plan(store, settings.project)
    if calibrated.calibrated is not None:
        entities, audited = calibrated.calibrator.entities, calibrated.calibrator.audited
        say(
            f"confidences calibrated on {counted(entities, 'reviewed entity')}, {audited} of "
            f"them of the audit slice"
        )
    if outcome is not None and outcome.answered:
        say(
            f"the plan: {outcome.answered} of {counted(outcome.planned, 'task')} answered, "
            f"{counted(outcome.changes, 'entity')} put right where {outcome.expected.value:.0f} "
            f"were expected ({outcome.expected.low:.0f} to "
            f"{outcome.expected.high:.0f})"
        )
    if outcome is not None and outcome.answered_names:
        foreseen = outcome.expected_name_changes
        say(
            f"the plan: {outcome.answered_names} of {counted(outcome.planned_names, 'name')} answered, "
            f"{counted(outcome.name_changes, 'place')} changed where {foreseen.value:.0f} were expected "
            f"({foreseen.low:.0f} to {foreseen.high:.0f})"
        )
