"""What is noted of a stored project whenever there are new answers, and whether its review may stop."""

from __future__ import annotations

import msgspec
import numpy as np
from sqlalchemy.orm import Session

from xner_label.confidence.estimates import Estimates, Interval, estimate
from xner_label.confidence.stopping import Verdict, judge
from xner_label.projection.loglinear.columns import Bools
from xner_label.review.desk import CalibrationReport, View, calibration_report
from xner_label.review.drift import DriftReport, drift_of
from xner_label.review.plans import Hour, next_hour
from xner_label.settings.choices import MIN_GAIN
from xner_label.store import desk, predictions, runs
from xner_label.store.database import Store


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


def stop_report(store: Store, name: str, *, min_gain: float = MIN_GAIN) -> StopReport:
    """Whether reviewing may stop. Raises UsageError where nothing is predicted."""
    with store.read() as session:
        return judged(session, next_hour(session, name), min_gain)


def judged(session: Session, hour: Hour, min_gain: float = MIN_GAIN) -> StopReport:
    """The same of a project that was read."""
    seen = hour.seen
    counts = seen.counts
    read: Bools = np.isin(seen.evidence.ids, hour.tasks)
    now, after = estimate(counts), estimate(counts, chosen=read, mended=hour.mended)
    return StopReport(
        signature=f"{seen.signature} min_gain={min_gain}",
        project=seen.project,
        version=seen.evidence.version,
        verdict=judge(now, after, _stability(session, seen), min_gain),
        estimates=now,
        next_hour=hour.changes,
    )


def _stability(session: Session, seen: View) -> float | None:
    """Share of the entities nobody has read that the projection before the current one had, too."""
    trained = {run.version for run in runs.model_runs(session, seen.project_id)}
    versions = [name for name in predictions.count_predictions(session, seen.project_id) if name not in trained]
    place = versions.index(seen.evidence.version)
    total = int(seen.evidence.unread.sum())
    if place == 0 or not total:
        return None
    evidence = seen.evidence
    ids = evidence.ids[~evidence.reviewed].tolist()
    before, after = (desk.predicted_spans(session, version, ids) for version in versions[place - 1 : place + 1])
    both = before.keys() & after.keys()
    changed = sum(max(len(before[task] - after[task]), len(after[task] - before[task])) for task in both)
    return max(1.0 - changed / total, 0.0)
