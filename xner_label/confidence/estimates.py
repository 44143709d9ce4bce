"""How good the labels of a whole corpus are, from a slice of it that was drawn at random and read by people.

Model-assisted estimation (Saerndal, Swensson & Wretman 1992, ch. 6; the same idea as prediction-powered
inference, Angelopoulos et al. 2023): what the audited tasks turned out to hold is regressed on what is known of
every task (1, entities shown, entities expected to be right by the calibration), and the regression is summed
over the tasks nobody read. Where later review took doubtful tasks out of what the audit was drawn from, the
regression follows, since doubt is among its columns. Reviewed tasks count as what people settled, without
error.

Variances are those of the regression with leave-one-out residuals (HC3), plus the scatter of the unread tasks
themselves; F1 = 2 right / (shown + gold) by the delta method. Intervals are symmetric in log-odds, with
Student's t.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.projection.loglinear.columns import Bools, Floats

# Below so many audited tasks nothing is estimated.
MIN_TASKS = 30
# Interval of a share of which nothing, or all, was seen.
_LEAST = 1e-4
# Log-odds on either side that are as good as all of 0..1.
_WIDEST = 40.0


class TaskCounts(NamedTuple):
    """A table of tasks, all columns of shape (S,).

    shown: entities that the pipeline shows; expected: how many of these are expected to be right, by
    confidences that don't know the task's answer; reviewed: whether people settled the task; audited: whether
    it was drawn at random before that; right: of the shown ones, those as people settled them, gold: settled
    entities (both 0 where nobody settled); weight: how many tasks each stands for, None: itself.
    """

    shown: Floats
    expected: Floats
    reviewed: Bools
    audited: Bools
    right: Floats
    gold: Floats
    weight: Floats | None = None

    @property
    def doubt(self) -> Floats:
        """(S,) shown entities that are expected to be wrong."""
        doubt: Floats = np.maximum(self.shown - self.expected, 0.0)
        return doubt

    @property
    def changes(self) -> Floats:
        """(S,) what people had to change in reviewed tasks, 0 in others: entities that were wrong or missing."""
        changes: Floats = np.maximum(self.shown - self.right, self.gold - self.right) * self.reviewed
        return changes


class Interval(msgspec.Struct, frozen=True):
    """A number and what it lies between with the stated probability."""

    value: float
    low: float
    high: float


class Estimates(msgspec.Struct, frozen=True, kw_only=True):
    """Strict precision, recall and F1 of a corpus's labels at ``level``.

    ``rest``: of the tasks nobody reviewed; ``corpus``: of all, people's answers counting as right. ``wrong``
    and ``missed`` count entities of the rest: shown but not so, and there but not shown. ``tasks`` audited ones
    of ``reviewed`` carry it; ``unreviewed`` is the size of the rest.
    """

    level: float
    tasks: int
    reviewed: int
    unreviewed: int
    rest_precision: Interval
    rest_recall: Interval
    rest_f1: Interval
    precision: Interval
    recall: Interval
    f1: Interval
    wrong: Interval
    missed: Interval


class _Totals(NamedTuple):
    """Right and gold entities over some unread tasks, shown ones (known), and the covariance (2, 2) of the
    first two; ``read_gold`` are those of tasks that are taken as read."""

    right: float
    gold: float
    shown: float
    read_gold: float
    covariance: Floats
    quantile: float


def estimate(
    counts: TaskCounts, level: float = 0.95, chosen: Bools | None = None, mended: Interval | None = None
) -> Estimates | None:
    """The estimates; None where fewer than MIN_TASKS audited tasks were settled.

    ``chosen`` (S,): what they would be if these tasks were read, too, and taught nothing about the others;
    ``mended``: if so many wrong entities of the others were put right by questions about names, half of them by
    another label or span, half by leaving them out.
    """
    audited = counts.audited & counts.reviewed
    if audited.sum() < MIN_TASKS:
        return None
    read = counts.reviewed if chosen is None else counts.reviewed | chosen
    rest = _totals(counts, audited, read, level)
    if mended is not None:
        rest = _mended(rest, mended)
    settled = float(counts.gold[counts.reviewed].sum()) + rest.read_gold
    right, gold, shown = rest.right, rest.gold, rest.shown
    whole = (right + settled, gold + settled, shown + settled)
    precision = _share(rest, right, shown, 1.0, 0.0)
    missed = max(gold - right, 0.0)
    margin = rest.quantile * float(np.sqrt(_variance(rest.covariance, -1.0, 1.0)))
    factor = float(np.exp(min(margin / max(missed, 1.0), 5.0)))
    return Estimates(
        level=level,
        tasks=int(audited.sum()),
        reviewed=int(read.sum()),
        unreviewed=round(float(_weights(counts)[~read].sum())),
        rest_precision=precision,
        rest_recall=_share(rest, right, gold, 1.0, -right / max(gold, 1e-9)),
        rest_f1=_f1(rest, right, gold, shown),
        precision=_share(rest, whole[0], whole[2], 1.0, 0.0),
        recall=_share(rest, whole[0], whole[1], 1.0, -whole[0] / max(whole[1], 1e-9)),
        f1=_f1(rest, *whole),
        wrong=Interval(shown - right, shown * (1.0 - precision.high), shown * (1.0 - precision.low)),
        missed=Interval(missed, missed / factor, max(missed * factor, margin if missed < 1.0 else 0.0)),
    )


def _totals(counts: TaskCounts, audited: Bools, read: Bools, level: float) -> _Totals:
    from scipy.stats import t

    columns = np.column_stack([np.ones(len(counts.shown)), counts.shown, counts.expected])
    known = columns[audited]
    # a pinch of ridge: shown and expected may be the same number in every audited task
    inverse = np.linalg.inv(known.T @ known + 1e-6 * np.eye(known.shape[1]))
    outcomes = np.column_stack([counts.right[audited], counts.gold[audited]])
    coefficients = inverse @ (known.T @ outcomes)
    leverage = np.einsum("ij,jk,ik->i", known, inverse, known)
    residual = (outcomes - known @ coefficients) / np.maximum(1.0 - leverage, 0.05)[:, None]
    unread, weight = columns[~read], _weights(counts)[~read]
    size = float(weight.sum())
    total = weight @ unread
    influence = residual * (known @ inverse @ total)[:, None]
    scatter = size * (residual.T @ residual) / len(known) + _of_sample(unread @ coefficients, weight)
    right, gold = (total @ coefficients).tolist()
    shown = float(total[1])
    right = min(max(right, 0.0), shown)
    taken_now = read & ~counts.reviewed
    taken = (_weights(counts)[taken_now] @ columns[taken_now]) @ coefficients[:, 1]
    freedom = max(len(known) - known.shape[1], 1)
    return _Totals(
        right,
        max(gold, right),
        shown,
        max(float(taken), 0.0),
        influence.T @ influence + scatter,
        float(t.ppf(0.5 + level / 2.0, freedom)),
    )


def _weights(counts: TaskCounts) -> Floats:
    return np.ones(len(counts.shown)) if counts.weight is None else counts.weight


def _of_sample(values: Floats, weight: Floats) -> Floats:
    """(2, 2) the covariance of a sum over all that the sampled ``values`` (n, 2) stand for, of which those with a
    weight above 1 were drawn."""
    drawn = weight > 1.0
    if drawn.sum() < 2:
        return np.zeros((2, 2))
    share = float(weight[drawn].mean())
    result: Floats = np.cov(values[drawn].T) * drawn.sum() * share * (share - 1.0)
    return result


def _mended(rest: _Totals, mended: Interval) -> _Totals:
    half = min(mended.value, max(rest.shown - rest.right, 0.0)) / 2.0
    covariance = rest.covariance.copy()
    covariance[0, 0] += ((mended.high - mended.low) / (4.0 * rest.quantile)) ** 2
    right = rest.right + half
    return rest._replace(right=right, gold=max(rest.gold, right), shown=rest.shown - half, covariance=covariance)


def _variance(covariance: Floats, of_right: float, of_gold: float) -> float:
    slope = np.array([of_right, of_gold])
    return float(slope @ covariance @ slope)


def _share(rest: _Totals, part: float, whole: float, of_right: float, of_gold: float) -> Interval:
    """part / whole, whose numerator moves with the totals as given."""
    if whole <= 0:
        return Interval(0.0, 0.0, 1.0)
    deviation = float(np.sqrt(_variance(rest.covariance, of_right, of_gold))) / whole
    return in_log_odds(part / whole, rest.quantile * deviation)


def _f1(rest: _Totals, right: float, gold: float, shown: float) -> Interval:
    total = shown + gold
    if total <= 0:
        return Interval(0.0, 0.0, 1.0)
    score = 2.0 * right / total
    deviation = float(np.sqrt(_variance(rest.covariance, 2.0, -score))) / total
    return in_log_odds(score, rest.quantile * deviation)


def in_log_odds(share: float, margin: float) -> Interval:
    """An interval of about ``margin`` on either side that stays within 0..1."""
    held = min(max(share, _LEAST), 1.0 - _LEAST)
    odds, step = np.log(held / (1.0 - held)), min(margin / (held * (1.0 - held)), _WIDEST)
    low, high = (1.0 / (1.0 + np.exp(-np.array([odds - step, odds + step])))).tolist()
    return Interval(share, min(low, share), max(high, share))
