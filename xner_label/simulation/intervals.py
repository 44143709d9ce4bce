"""How far chance reaches in a simulation: bootstrap intervals over sentences, of F1 and of what spreading adds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from xner_label.evaluation.metrics import Floats, f1_score, resampled_sums
from xner_label.iob2 import TokenSpan

Interval = tuple[float, float]

_RESAMPLES, _SEED = 1000, 13


class Comparison(NamedTuple):
    """Strict F1 of labels and of others for the same sentences, with 95 % percentile intervals of the first and of
    the difference; resampled in pairs."""

    f1: float
    other_f1: float
    ci95: Interval
    gain_ci95: Interval


def compare(
    labels: Sequence[set[TokenSpan]],
    others: Sequence[set[TokenSpan]],
    gold: Sequence[set[TokenSpan]],
    which: Iterable[int],
) -> Comparison:
    """``labels`` and ``others`` against the gold of some sentences."""
    numbers = list(which)
    table = np.array(
        [
            [
                *(len(labels[number] & gold[number]), len(labels[number]), len(gold[number])),
                *(len(others[number] & gold[number]), len(others[number])),
            ]
            for number in numbers
        ],
        np.float64,
    ).reshape(-1, 5)
    sums = resampled_sums(table, _RESAMPLES, _SEED)
    drawn, drawn_other = _both(sums)
    f1, other_f1 = _both(table.sum(axis=0, keepdims=True))
    return Comparison(
        round(float(f1[0]), 5), round(float(other_f1[0]), 5), _interval(drawn), _interval(drawn - drawn_other)
    )


def _both(sums: Floats) -> tuple[Floats, Floats]:
    return f1_score(sums[:, 0], sums[:, 1], sums[:, 2]), f1_score(sums[:, 3], sums[:, 4], sums[:, 2])


def _interval(values: Floats) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return round(float(low), 5), round(float(high), 5)
