"""`xner-label calibrate`: how sure to be of predictions, learned from what people settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import say, write_json
from xner_label.settings.table import Settings
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.confidence.estimates import Interval
    from xner_label.confidence.quality import Figure, Quality
    from xner_label.review.desk import CalibrationReport


@click.command(name="calibrate")
@with_settings("database_url", "project")
@json_option
def command(settings: Settings, as_json: bool) -> None:
    """Learn from the reviewed tasks how sure to be of the others, and show what that is worth.

    `xner-label sync` does the same whenever there are new answers. Figures are of reviewed entities, judged by
    a fit that never saw their task; those of the audit slice (tasks drawn at random) are the honest ones, since
    people review what is doubtful. Below 50 reviewed entities confidences stay as they are. A task is right where
    nothing is wrong and nothing missed.
    """
    from xner_label.review.finishing import calibrate_project
    from xner_label.store.database import open_store

    with open_store(settings.database_url) as store:
        report = calibrate_project(store, settings.project)
    if as_json:
        write_json(report)
        return
    click.echo(_text(report))
    if report.note:
        say(report.note)
    if report.estimates is None:
        say("quality isn't estimated: fewer than 30 tasks drawn at random are reviewed (`push --audit-share 0.2`)")


def _text(report: CalibrationReport) -> str:
    lines = [f"{'confidences':<18}{'n':>6}{'wrong':>7}{'AUROC':>25}{'AP of errors':>25}{'Brier':>25}{'ECE':>25}"]
    rows = {"pipeline": report.raw, "calibrated": report.calibrated, "of them audited": report.audited}
    rows |= {f"  {label}": quality for label, quality in report.per_label.items()}
    rows |= {
        "tasks, pipeline": report.task_raw,
        "tasks, calibrated": report.task_calibrated,
        "of these audited": report.task_audited,
    }
    lines += [_quality(name, quality) for name, quality in rows.items() if quality is not None]
    for band in report.bands:
        lines.append(
            f"confidence {band.low:.2f} to {band.high:.2f}: {counted(band.n, 'entity')}, "
            f"{band.mean:.3f} on average, "
            f"{band.right:.3f} right ({band.right_low:.3f} to {band.right_high:.3f})"
        )
    if report.estimates is not None:
        whole = report.estimates
        lines.append(
            f"the whole corpus, by {counted(whole.tasks, 'audited task')}: precision "
            f"{_interval(whole.precision)}, recall "
            f"{_interval(whole.recall)}, F1 {_interval(whole.f1)}; unread: {whole.wrong.value:.0f} wrong and "
            f"{whole.missed.value:.0f} missed entities"
        )
    if report.anchoring is not None:
        sway = report.anchoring
        lines.append(
            f"suggestions: {_interval(sway.with_suggestions)} accepted, {_interval(sway.blind)} written by people "
            f"who don't see them; of the wrong ones {_interval(sway.swayed)} are accepted because they are shown"
        )
    lines.append(report.signature)
    return "\n".join(lines)


def _quality(name: str, quality: Quality) -> str:
    figures = "".join(map(_figure, (quality.auroc, quality.ap_errors, quality.brier, quality.ece)))
    return f"{name:<18}{quality.n:>6}{quality.errors:>7}{figures}"


def _figure(figure: Figure) -> str:
    if figure.value is None:
        return f"{'-':>25}"
    return f"{f'{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})':>25}"


def _interval(interval: Interval) -> str:
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
