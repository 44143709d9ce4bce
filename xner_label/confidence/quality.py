"""What a confidence is worth on reviewed entities, with bootstrap intervals over tasks.

A confidence that says the same of everything can be perfectly calibrated and of no use: so calibration (Brier,
ECE) always stands beside discrimination (AUROC, average precision of errors), and AUROC among what a reviewer
sees beside that over all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import msgspec
import numpy as np

from xner_label.evaluation import metrics
from xner_label.projection.loglinear.columns import Bools, Floats, Ints

RESAMPLES, SEED = 200, 13
# Bands of confidence, the last one closed.
BANDS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)

Metric = Callable[[Floats, Bools], float | None]


class Figure(msgspec.Struct, frozen=True):
    """A metric and its 95 % interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


class Quality(msgspec.Struct, frozen=True):
    """``n`` entities, ``errors`` of them wrong. ``auroc`` over all, ``auroc_shown`` among those at or above the
    cut, and average precision of errors, Brier score and ECE (10 equal bins) over all."""

    n: int
    errors: int
    auroc: Figure
    auroc_shown: Figure
    ap_errors: Figure
    brier: Figure
    ece: Figure


class Band(msgspec.Struct, frozen=True):
    """``n`` entities with a confidence from ``low`` to ``high``, ``mean`` on average; ``right``: the share of
    them that is right, with its exact 95 % interval."""

    low: float
    high: float
    n: int
    mean: float
    right: float
    right_low: float
    right_high: float


def quality(confidence: Floats, right: Bools, task: Ints, shown: Bools) -> Quality:
    """Judge confidences of reviewed entities, all (n,); ``task`` numbers the tasks, which are resampled
    whole."""

    def at_cut(values: Floats, good: Bools) -> float | None:
        # the cut travels with the rows: those not shown have been moved below 0
        return metrics.auroc(values[values >= 0], good[values >= 0])

    draws = _draws(task)
    visible = np.where(shown, confidence, -1.0)
    return Quality(
        n=len(confidence),
        errors=int((~right).sum()),
        auroc=_figure(metrics.auroc, confidence, right, draws),
        auroc_shown=_figure(at_cut, visible, right, draws),
        ap_errors=_figure(metrics.average_precision_of_errors, confidence, right, draws),
        brier=_figure(metrics.brier, confidence, right, draws),
        ece=_figure(metrics.expected_calibration_error, confidence, right, draws),
    )


def quality_by(
    group: Mapping[str, Bools], confidence: Floats, right: Bools, task: Ints, shown: Bools
) -> dict[str, Quality]:
    """The same for each group of rows, such as those of a label."""
    return {
        name: quality(confidence[rows], right[rows], task[rows], shown[rows])
        for name, rows in group.items()
        if rows.any()
    }


def bands(confidence: Floats, right: Bools) -> list[Band]:
    """How often entities are right, by how sure they are; bands without entities are left out."""
    from scipy.stats import binomtest

    place = np.clip(np.searchsorted(BANDS, confidence, side="right") - 1, 0, len(BANDS) - 2)
    result = []
    for number, (low, high) in enumerate(pairwise(BANDS)):
        inside = place == number
        count, hits = int(inside.sum()), int(right[inside].sum())
        if count:
            exact = binomtest(hits, count).proportion_ci()
            mean = float(confidence[inside].mean())
            result.append(Band(low, high, count, mean, hits / count, float(exact.low), float(exact.high)))
    return result


def _draws(task: Ints) -> list[Ints]:
    """Rows of RESAMPLES draws of tasks with replacement."""
    generator = np.random.default_rng(SEED)
    order = np.argsort(task, kind="stable")
    _, start = np.unique(task[order], return_index=True)
    rows_of = np.split(order, start[1:]) if len(task) else []
    return [
        np.concatenate([rows_of[place] for place in generator.integers(0, len(rows_of), len(rows_of))])
        for _ in range(RESAMPLES if rows_of else 0)
    ]


def _figure(metric: Metric, confidence: Floats, right: Bools, draws: list[Ints]) -> Figure:
    value = metric(confidence, right)
    if value is None:
        return Figure(None, None, None)
    scores = [score for rows in draws if (score := metric(confidence[rows], right[rows])) is not None]
    low, high = np.quantile(scores, [0.025, 0.975]).tolist() if scores else (value, value)
    # draws with replacement have more bins of few entities, whose ECE is larger than that of all
    return Figure(round(value, 5), round(min(low, value), 5), round(max(high, value), 5))
