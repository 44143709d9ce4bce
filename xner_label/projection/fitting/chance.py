"""Whether what sentences left out say of something fitted could be chance."""

from __future__ import annotations

import numpy as np

from xner_label.projection.loglinear.columns import Floats

# Reviewed sentences are left out by thirds.
FOLDS = 3
# How much of what was fitted may be used, so that its prior tightens where answers teach little.
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
# A difference of more standard errors isn't put down to chance: one of 20, one-sided.
_SURELY = 1.64
# From so many settled entities on, cross-validation may choose by itself.
ENOUGH = 100
# Below, differences of log-likelihoods have standard errors that can't be relied on, and small ones say nothing
# (Sivula, Magnusson, Matamoros and Vehtari, 2020: fewer than 100 observations, less than 4).
_SMALL = 4.0


def best_strength(losses: Floats, *, few: bool) -> float:
    """Which of STRENGTHS loses least on sentences left out, by log-likelihoods (strengths, sentences).

    With ``few`` answers 0, unless the gain over it is neither small nor within _SURELY standard errors over the
    sentences.
    """
    best = int(np.argmin(losses.sum(axis=1)))
    gain = losses[0] - losses[best]
    if best and few and gain.sum() <= max(_SMALL, _SURELY * float(gain.std()) * np.sqrt(len(gain))):
        return 0.0
    return STRENGTHS[best]


def is_worse(counts: Floats) -> bool:
    """Whether the first three columns have an F1 below that of the last three by more than chance explains.

    The difference is divided by its standard error over the sentences (delta method).
    """
    influence = np.zeros(len(counts))
    difference = 0.0
    for sign, columns in ((1.0, counts[:, :3]), (-1.0, counts[:, 3:])):
        right, total = columns[:, 0], columns[:, 1] + columns[:, 2]
        f1 = 2.0 * right.sum() / max(total.sum(), 1.0)
        difference += sign * f1
        influence += sign * (2.0 * right - f1 * total) / max(total.sum(), 1.0)
    return difference < -_SURELY * float(np.sqrt(np.sum(influence**2)))
