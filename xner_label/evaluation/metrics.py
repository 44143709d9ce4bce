"""How good a confidence is, and how sure a score is: plain numpy, no model.

``confidence`` and ``right`` are arrays of one length n: a probability in 0..1 and whether that prediction is
exactly right. A metric that is undefined for its input (no predictions, only right or only wrong ones) is None.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def auroc(confidence: ArrayLike, right: ArrayLike) -> float | None:
    """Probability that a right prediction has more confidence than a wrong one, ties counting half."""
    values, good = _arrays(confidence, right)
    n_good = int(good.sum())
    n_bad = len(good) - n_good
    if not n_good or not n_bad:
        return None
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(sizes) - (sizes - 1) / 2.0
    rank_sum = mean_rank[group][good].sum()
    return float((rank_sum - n_good * (n_good + 1) / 2.0) / (n_good * n_bad))


def average_precision_of_errors(confidence: ArrayLike, right: ArrayLike) -> float | None:
    """Average precision of finding the wrong predictions by ascending confidence, whole tie groups at a time.

    AP = sum over thresholds of (recall_i - recall_(i-1)) * precision_i, with wrong predictions as the positives.
    """
    values, good = _arrays(confidence, right)
    n_bad = len(good) - int(good.sum())
    if not n_bad or n_bad == len(good):
        return None
    wrong, seen = _cumulative(values, ~good, ascending=True)
    precision = wrong / seen
    recall = wrong / n_bad
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def brier(confidence: ArrayLike, right: ArrayLike) -> float | None:
    """Mean squared difference of confidence and outcome."""
    values, good = _arrays(confidence, right)
    return float(np.mean((values - good) ** 2)) if len(values) else None


def expected_calibration_error(confidence: ArrayLike, right: ArrayLike, bins: int = 10) -> float | None:
    """Sum over equal-width bins of  (share of predictions) * |accuracy - mean confidence|.

    Bins are [0, 1/bins), ..., the last one closed.
    """
    values, good = _arrays(confidence, right)
    if not len(values):
        return None
    index = np.minimum((values * bins).astype(np.int64), bins - 1)
    gap = np.bincount(index, weights=good - values, minlength=bins)
    return float(np.abs(gap).sum() / len(values))


def coverage_at(confidence: ArrayLike, right: ArrayLike, precision: float = 0.95) -> tuple[float, int] | None:
    """The largest share of predictions, whole tie groups from the top, that reaches ``precision``.

    Returns that share and the number of right predictions in it. The threshold is chosen on the same data.
    """
    values, good = _arrays(confidence, right)
    if not len(values):
        return None
    hits, seen = _cumulative(values, good, ascending=False)
    enough = np.flatnonzero(hits >= precision * seen - 1e-9)
    if not len(enough):
        return 0.0, 0
    return float(seen[enough[-1]] / len(values)), int(hits[enough[-1]])


def f1_score(correct: ArrayLike, predicted: ArrayLike, gold: ArrayLike) -> Floats:
    """F1 = 2 * correct / (predicted + gold), elementwise; 0 where there is nothing."""
    total = np.asarray(predicted, dtype=np.float64) + np.asarray(gold, dtype=np.float64)
    return np.divide(2.0 * np.asarray(correct, dtype=np.float64), total, out=np.zeros_like(total), where=total > 0)


def bootstrap_f1(
    counts: ArrayLike, *, resamples: int = 1000, seed: int = 13, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of micro F1 over tasks.

    ``counts`` has one row per task: correct, predicted, gold entities.
    """
    table = np.asarray(counts, dtype=np.float64).reshape(-1, 3)
    scores = f1_score(*resampled_sums(table, resamples, seed).T)
    low, high = np.quantile(scores, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def resampled_sums(table: Floats, resamples: int, seed: int) -> Floats:
    """Column sums of ``resamples`` draws of n rows with replacement: shape (resamples, columns).

    The same seed draws the same rows of tables of equal length, so that systems can be compared in pairs.
    """
    rows = len(table)
    generator = np.random.default_rng(seed)
    sums = np.zeros((resamples, table.shape[1]))
    if rows:
        for draw in range(resamples):
            sums[draw] = np.bincount(generator.integers(0, rows, rows), minlength=rows) @ table
    return sums


def _arrays(confidence: ArrayLike, right: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    values = np.asarray(confidence, dtype=np.float64)
    good = np.asarray(right, dtype=np.bool_)
    if values.shape != good.shape or values.ndim != 1:
        raise ValueError(f"confidence has shape {values.shape}, right {good.shape}: one of each per prediction")
    return values, good


def _cumulative(values: Floats, positive: NDArray[np.bool_], *, ascending: bool) -> tuple[Floats, Floats]:
    """Positives and predictions seen so far, at the end of each group of equal values."""
    levels, group = np.unique(values if ascending else -values, return_inverse=True)
    sizes = np.bincount(group, minlength=len(levels))
    hits = np.bincount(group, weights=positive, minlength=len(levels))
    return np.cumsum(hits), np.cumsum(sizes).astype(np.float64)
