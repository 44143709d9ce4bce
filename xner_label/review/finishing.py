"""What is noted of a stored project whenever there are new answers, and whether its review may stop."""

from __future__ import annotations

import msgspec
import numpy as np
from sqlalchemy.orm import Session

from xner_label.confidence.estimates import Estimates, Interval, estimate
from xner_label.confidence.stopping import Region, Taught, Verdict, compare_projections, judge
from xner_label.projection.loglinear.columns import Bools
from xner_label.review.desk import CalibrationReport, View, calibration_report
from xner_label.review.drift import DriftReport, drift_of
from xner_label.review.plans import Hour, lead_times_of, next_hour
from xner_label.settings.choices import MODEL
from xner_label.store import desk, predictions, runs
from xner_label.store.database import Store

# So many tasks must have been answered between two projections before they are compared, if there are such.
LEAST_ANSWERS = 50


class StopReport(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on a project; ``estimates`` is what it rests on, ``next_hour`` the changes that an hour of
    review would make, in sentences and by names."""

    signature: str
    project: str
    version: str
    verdict: Verdict
    estimates: Estimates | None
    next_hour: Interval


class Noted(msgspec.Struct, frozen=True):
    """What a calibration is stored as: the report, the verdict at that time, and the newest one on new text."""

    report: CalibrationReport
    verdict: Verdict
    drift: DriftReport | None = None


def calibrate_project(store: Store, name: str) -> CalibrationReport:
    """Calibrate the confidences of a project's current pipeline on everything people settled, and store it with
    the verdict on stopping. The same answers are stored once. Raises UsageError where nothing is predicted."""
    with store.read() as session:
        hour = next_hour(session, name)
        seen = hour.seen
        noted = Noted(calibration_report(seen), judged(session, hour).verdict, drift_of(session, seen))
    with store.write() as session:
        desk.add_calibration(
            session, seen.project_id, seen.pipeline_id, seen.annotation_id, msgspec.to_builtins(noted)
        )
    return noted.report


def stop_report(store: Store, name: str, *, min_gain: float | None = None, purpose: str = MODEL) -> StopReport:
    """Whether reviewing may stop, for a ``purpose`` (:data:`xner_label.settings.choices.PURPOSES`). Raises
    UsageError where nothing is predicted."""
    with store.read() as session:
        return judged(session, next_hour(session, name), min_gain, purpose)


def judged(session: Session, hour: Hour, min_gain: float | None = None, purpose: str = MODEL) -> StopReport:
    """The same of a project that was read."""
    seen = hour.seen
    counts = seen.counts
    read: Bools = np.isin(seen.evidence.ids, hour.tasks)
    now, after = estimate(counts), estimate(counts, chosen=read, mended=hour.mended)
    return StopReport(
        signature=f"{seen.signature} min_gain={'usual' if min_gain is None else min_gain} for={purpose}",
        project=seen.project,
        version=seen.evidence.version,
        verdict=judge(now, after, _taught(session, seen), min_gain, purpose),
        estimates=now,
        next_hour=hour.changes,
    )


def _taught(session: Session, seen: View) -> Taught | None:
    """What the last answers taught: the current projection beside the newest one that knew at least
    LEAST_ANSWERS tasks fewer, or beside the oldest there is."""
    evidence = seen.evidence
    trained = {run.version for run in runs.model_runs(session, seen.project_id)}
    versions = [name for name in predictions.count_predictions(session, seen.project_id) if name not in trained]
    newest = desk.newest_known(session, evidence.version)
    between: Bools = np.zeros(len(evidence.ids), bool)
    before = None
    for version in reversed(versions[: versions.index(evidence.version)]):
        known = desk.newest_known(session, version)
        before, between = version, evidence.reviewed & (known < evidence.answered) & (evidence.answered <= newest)
        if between.sum() >= LEAST_ANSWERS:
            break
    if before is None or not between.any():
        return None
    seconds = lead_times_of(seen).seconds(evidence.tokens[between], seen.counts.changes[between]).sum()
    ids = evidence.ids[~evidence.reviewed].tolist()
    earlier = desk.predicted_spans(session, before, ids)
    now: dict[int, dict[Region, float]] = {task: {} for task in earlier}
    signals = evidence.signals
    for row in np.flatnonzero(evidence.unread).tolist():
        task = int(evidence.ids[signals.task[row]])
        if task in now:
            start, end = evidence.span[row].tolist()
            now[task][start, end, evidence.labels[signals.label[row]]] = float(seen.calibrated.confidence[row])
    pairs = ((regions, now[task]) for task, regions in earlier.items())
    return compare_projections(pairs, int(between.sum()), float(seconds))
