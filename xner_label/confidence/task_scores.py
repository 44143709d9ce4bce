"""P(all of a task is right): nothing that is shown is wrong, and nothing is missed.

The first is the product of the calibrated confidences of what is shown. The second is a logistic regression,
with a Gaussian prior around coefficients that were learned on other languages, on what is known of entities that
aren't shown: how sure the projection is that nothing was left out below the cut (overlooked candidates, doubts
of the tagger of the target language), source entities that nothing was projected from, and the length. As with
entities (:mod:`calibration`), the audit slice decides on bias and slope where it is large enough, and what is
said of a reviewed task comes from a fit that never saw it.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.confidence.calibration import FOLDS, folds
from xner_label.projection.fitting.optimisation import logistic, minimise
from xner_label.projection.loglinear.columns import Bools, Floats
from xner_label.projection.loglinear.model import logit

FEATURES = ("bias", "hidden", "lost", "length")
# Below so many reviewed tasks the pooled coefficients stay; audited ones from which on these decide on the bias.
MIN_TASKS, MIN_AUDITED = 30, 30
# What Luganda, Setswana, German and Spanish teach weights that never saw them, rounded; precisions around it.
POOLED = (0.3, 0.65, -0.2, -0.6)
PRECISION = (2.0, 4.0, 4.0, 4.0)
_AUDIT_PRECISION = (4.0, 20.0)
# A task of usual length, in tokens; source entities without projection that count.
_USUAL_LENGTH, _MOST_LOST = 20.0, 5.0


class TaskSignals(NamedTuple):
    """A table of tasks, all columns of shape (S,).

    sure: P(nothing shown is wrong); hidden: P(nothing was left out) by the projection; lost: source entities
    without projection; tokens: length; reviewed: whether people settled it; audited: and it was drawn at random;
    complete: and nothing was missed (False where nobody settled)
    """

    sure: Floats
    hidden: Floats
    lost: Floats
    tokens: Floats
    reviewed: Bools
    audited: Bools
    complete: Bools


class MissedCalibrator(msgspec.Struct, frozen=True):
    """``coefficients`` by name of :data:`FEATURES`; ``shift`` and ``slope`` by the audit slice. ``tasks`` is what
    it was fitted on, ``audited`` how many of these were drawn at random; ``fitted`` is False where there were too
    few: then the coefficients are the pooled ones."""

    coefficients: dict[str, float]
    shift: float
    slope: float
    tasks: int
    audited: int
    fitted: bool

    def of_design(self, table: Floats) -> Floats:
        """(S,) P(nothing is missed) for rows of :func:`design`."""
        odds = self.shift + self.slope * (table @ np.array([self.coefficients[name] for name in FEATURES]))
        probability: Floats = 1.0 / (1.0 + np.exp(-odds))
        return probability


class TaskScores(msgspec.Struct, frozen=True):
    """A calibrator and what it says of the table it was fitted on: ``complete`` (S,), P(nothing is missed), and
    ``whole`` (S,), P(nothing is wrong and nothing is missed); out of fold where people settled the task."""

    calibrator: MissedCalibrator
    complete: Floats
    whole: Floats


def task_scores(signals: TaskSignals) -> TaskScores:
    """Fit on the reviewed tasks of a table and score all. Deterministic."""
    table = design(signals)
    rows = np.flatnonzero(signals.reviewed)
    calibrator = _fit(table[rows], signals.complete[rows], signals.audited[rows])
    complete = calibrator.of_design(table)
    if calibrator.fitted:
        fold = folds(rows)
        for which in range(FOLDS):
            learned, judged = rows[fold != which], rows[fold == which]
            if len(judged):
                fitted = _fit(table[learned], signals.complete[learned], signals.audited[learned])
                complete[judged] = fitted.of_design(table[judged])
    return TaskScores(calibrator, complete, signals.sure * complete)


def design(signals: TaskSignals) -> Floats:
    """(S, len(FEATURES)) what the regression sees. A task's outcome is never part of its row."""
    return np.column_stack(
        [
            np.ones(len(signals.hidden)),
            np.clip(logit(signals.hidden), -6.0, 9.0),
            np.minimum(signals.lost, _MOST_LOST),
            np.log(np.maximum(signals.tokens, 1.0) / _USUAL_LENGTH),
        ]
    )


def _fit(table: Floats, complete: Bools, audited: Bools) -> MissedCalibrator:
    fitted = len(table) >= MIN_TASKS
    coefficients, shift, slope = np.array(POOLED), 0.0, 1.0
    if fitted:
        coefficients = minimise(logistic(table, complete), np.array(POOLED), np.array(PRECISION))
        if MIN_AUDITED <= audited.sum() < len(audited):
            drawn = np.column_stack([np.ones(audited.sum()), table[audited] @ coefficients])
            shift, slope = minimise(
                logistic(drawn, complete[audited]), np.array([0.0, 1.0]), np.array(_AUDIT_PRECISION)
            ).tolist()
    return MissedCalibrator(
        coefficients=dict(zip(FEATURES, (round(value, 5) for value in coefficients.tolist()), strict=True)),
        shift=round(shift, 5),
        slope=round(slope, 5),
        tasks=len(table),
        audited=int(audited.sum()),
        fitted=fitted,
    )
