"""`xner-label drift`: whether new text is still like the text that people reviewed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import write_json
from xner_label.errors import CheckFailedError
from xner_label.settings.table import Settings
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.confidence.drift import Comparison

_HINTS = {
    "retrain": "review some of the new text (`xner-label push --minutes 60 --audit-share 0.2`), then `xner-label "
    "predict` and `xner-label train`",
    "recalibrate": "audit the new text (`xner-label push --limit 50 --audit-share 1`), then `xner-label sync`",
}


@click.command(name="drift")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="Text imported from then on is new (UTC) [default: what came after all but 20 of the reviewed tasks]",
)
@click.option("--exit-code", is_flag=True, help="End with 6 where it says to retrain or to recalibrate")
@click.option("--dry-run", is_flag=True, help="Don't note the verdict for `status`")
@with_settings("database_url", "project")
@json_option
def command(settings: Settings, as_json: bool, since: datetime | None, exit_code: bool, dry_run: bool) -> None:
    """Say whether the text that came since people reviewed is of another kind: retrain, recalibrate or nothing.

    Compared are how sure predictions are, how many entities of each label tasks have, words that the old text
    never had, and whether the newest answers agree with the confidences as those before did. Text like the old
    one is flagged in at most one of twenty looks. `sync` and `predict` look by themselves.
    """
    from xner_label.review.drift import drift_report
    from xner_label.store.database import open_store

    moment = None if since is None else since.replace(tzinfo=UTC)
    with open_store(settings.database_url) as store:
        report = drift_report(store, settings.project, since=moment, keep=not dry_run)
    verdict = report.verdict
    if as_json:
        write_json(report)
    else:
        click.echo(verdict.line)
        since_then = "" if report.since is None else f" since {report.since:%Y-%m-%d %H:%M} UTC"
        click.echo(f"{counted(verdict.new, 'new task')}{since_then} against {counted(verdict.old, 'old one')}")
        for row in verdict.comparisons:
            click.echo(_words(row))
        click.echo(report.signature)
    if exit_code and verdict.action in _HINTS:
        raise CheckFailedError(f"new text asks to {verdict.action}", hint=_HINTS[verdict.action])


def _words(row: Comparison) -> str:
    means = "" if row.old is None or row.new is None else f", {row.old:.3f} before, {row.new:.3f} now"
    return (
        f"{row.what}: {'moved' if row.moved else 'the same'}{means} (difference {row.difference:.3f}, {row.test} "
        f"{row.statistic:.4g}, p = {row.p:.3g})"
    )
