"""P(a predicted entity is exactly right), learned from what people settled.

A logistic regression on :mod:`signals`, fitted with a Gaussian prior around coefficients that were learned on
other languages; from ISOTONIC labels on, an isotonic curve on top of it
(``scipy.optimize.isotonic_regression``). Outcomes are judged out of fold: what is said of a reviewed task comes
from a fit that never saw it.

People review what is doubtful, so that outcomes are selected. Selection looks at the confidence alone, which is
a column of the design; what is left of it is corrected by the audit slice: where there are enough tasks drawn
at random, the bias and the slope are those of the audit.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from xner_label.confidence.signals import FEATURES, EntitySignals, design
from xner_label.projection.fitting.optimisation import logistic, minimise
from xner_label.projection.loglinear.columns import Bools, Floats, Ints

# Below so many reviewed entities nothing is calibrated, and from so many on a free curve is.
MIN_ENTITIES, ISOTONIC = 50, 1_000
# Reviewed entities of the audit slice from which on it alone decides on bias and slope.
MIN_AUDITED = 50
FOLDS = 5
# Mean of what Luganda, Setswana and Europarl's German and Spanish teach weights that never saw them, rounded; and
# precisions of the prior around it.
POOLED = (-0.1, 0.9, 0.35, 1.0, -0.5)
PRECISION = (4.0, 20.0, 20.0, 20.0, 20.0)
# ... and of the audit's own correction of bias and slope.
_AUDIT_PRECISION = (20.0, 50.0)


class Calibrator(msgspec.Struct, frozen=True):
    """``coefficients`` by name of :data:`FEATURES`; ``shift`` and ``slope`` by the audit slice; ``curve`` holds
    (log-odds, probability) pairs of the isotonic curve, empty without one. ``entities`` is what it was fitted
    on, ``audited`` how many of these were drawn at random. ``fitted`` is False where there were too few: then
    confidences stay as they are."""

    coefficients: dict[str, float]
    shift: float
    slope: float
    curve: list[tuple[float, float]]
    entities: int
    audited: int
    fitted: bool

    def __call__(self, signals: EntitySignals) -> Floats:
        """(n,) the probabilities that the entities are exactly right."""
        return self.of_design(design(signals)) if self.fitted else signals.confidence

    def of_design(self, table: Floats) -> Floats:
        """The same for rows of :func:`design`."""
        odds = self.shift + self.slope * (table @ np.array([self.coefficients[name] for name in FEATURES]))
        if self.curve:
            at, level = np.array(self.curve).T
            of_curve: Floats = np.interp(odds, at, level)
            return of_curve
        probability: Floats = 1.0 / (1.0 + np.exp(-odds))
        return probability


class Calibrated(msgspec.Struct, frozen=True):
    """A calibrator and what it says of the table it was fitted on: ``confidence`` (n,), out of fold where
    people settled the task."""

    calibrator: Calibrator
    confidence: Floats


def calibrate(signals: EntitySignals, audited: Bools, prior: Sequence[float] = POOLED) -> Calibrated:
    """Fit on the reviewed entities of a table. ``audited`` (n,): those of tasks that were drawn at random;
    ``prior``: coefficients of other languages.

    Deterministic. Below MIN_ENTITIES reviewed entities it abstains: confidences stay as they are.
    """
    rows = np.flatnonzero(signals.reviewed)
    if len(rows) < MIN_ENTITIES:
        return Calibrated(_untouched(len(rows), int(audited[rows].sum())), signals.confidence)
    table = design(signals)
    calibrator = _fit(table[rows], signals.right[rows], audited[rows], prior)
    confidence = calibrator.of_design(table)
    fold = folds(signals.task[rows])
    for which in range(FOLDS):
        learned, judged = rows[fold != which], rows[fold == which]
        if len(judged):
            fitted = _fit(table[learned], signals.right[learned], audited[learned], prior)
            confidence[judged] = fitted.of_design(table[judged])
    return Calibrated(calibrator, confidence)


def _untouched(entities: int, audited: int) -> Calibrator:
    coefficients = dict.fromkeys(FEATURES, 0.0) | {"confidence": 1.0}
    return Calibrator(coefficients, 0.0, 1.0, [], entities, audited, fitted=False)


def _fit(table: Floats, right: Bools, audited: Bools, prior: Sequence[float]) -> Calibrator:
    coefficients = minimise(logistic(table, right), np.array(prior), np.array(PRECISION))
    odds = table @ coefficients
    shift, slope = 0.0, 1.0
    if MIN_AUDITED <= audited.sum() < len(audited):
        drawn = np.column_stack([np.ones(audited.sum()), odds[audited]])
        shift, slope = minimise(
            logistic(drawn, right[audited]), np.array([0.0, 1.0]), np.array(_AUDIT_PRECISION)
        ).tolist()
    odds = shift + slope * odds
    return Calibrator(
        coefficients=dict(zip(FEATURES, (round(value, 5) for value in coefficients.tolist()), strict=True)),
        shift=round(shift, 5),
        slope=round(slope, 5),
        curve=_curve(odds, right) if len(right) >= ISOTONIC else [],
        entities=len(right),
        audited=int(audited.sum()),
        fitted=True,
    )


def _curve(odds: Floats, right: Bools) -> list[tuple[float, float]]:
    """The isotonic curve through the outcomes, a point in the middle of each level so that ties stay rare."""
    from scipy.optimize import isotonic_regression

    order = np.argsort(odds, kind="stable")
    fitted = isotonic_regression(right[order].astype(np.float64))
    borders = fitted.blocks
    points = []
    for start, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        hits, count = float(right[order[start:end]].sum()), end - start
        # no level is surer than its count allows (Laplace)
        points.append((float(odds[order[start:end]].mean()), (hits + 0.5) / (count + 1.0)))
    at, probability = np.array(points).T
    probability = np.maximum.accumulate(probability)
    return [(round(x, 5), round(p, 5)) for x, p in zip(at.tolist(), probability.tolist(), strict=True)]


def folds(task: Ints) -> Ints:
    """(n,) the cross-fitting fold of each row; all rows of a task share one."""
    _, number = np.unique(task, return_inverse=True)
    count = int(number.max(initial=0)) + 1
    return np.random.default_rng(0).permutation(count)[number] % FOLDS
