"""Likelihoods, their maximisation and the choice of a cut: what all fitting has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from xner_label.projection.loglinear.columns import Bools, Floats, Ints

# Cuts within this much of the best mean F1 are as good; of these the one next to the usual cut is taken.
FLAT, USUAL_CUT = 0.002, 0.4

# A function's value and slope at a point.
Objective = Callable[[Floats], tuple[float, Floats]]
Likelihood = tuple[float, Floats, Floats]


def span_likelihood(
    mention: Ints, right: Bools, count: int, worth: Floats | None = None
) -> Callable[[Floats, Floats], Likelihood]:
    """The negative marginal log-likelihood of the right candidates as a function of all scores.

    ``mention`` and ``right`` (C,) describe the candidates of ``count`` mentions, ``worth`` (M,) says what each of
    these counts, 1 when None. The function takes the scores of
    candidates (C,) and of "not projected" (M,), and returns the value and its slopes in both.
    """
    solvable = np.zeros(count, bool)
    solvable[mention[right]] = True
    counted: Floats = np.ones(count) if worth is None else worth

    def likelihood(score: Floats, absent: Floats) -> Likelihood:
        peak = absent.copy()
        np.maximum.at(peak, mention, score)
        power, power_absent = np.exp(score - peak[mention]), np.exp(absent - peak)
        total = power_absent + np.bincount(mention, power, count)
        good = np.where(solvable, np.bincount(mention, power * right, count), power_absent) + 1e-300
        value = -float(np.sum(counted * (np.log(good) - np.log(total))))
        slope = power / total[mention] - np.where(solvable[mention], power * right / good[mention], 0.0)
        return value, counted[mention] * slope, counted * (power_absent / total - ~solvable)

    return likelihood


def span_losses(mention: Ints, right: Bools, count: int, score: Floats) -> Floats:
    """(M,) each mention's part of :func:`span_likelihood`'s value, "not projected" having a score of 0."""
    solvable = np.zeros(count, bool)
    solvable[mention[right]] = True
    peak = np.zeros(count)
    np.maximum.at(peak, mention, score)
    power, absent = np.exp(score - peak[mention]), np.exp(-peak)
    good = np.where(solvable, np.bincount(mention, power * right, count), absent) + 1e-300
    result: Floats = np.log(absent + np.bincount(mention, power, count)) - np.log(good)
    return result


def logistic(signals: Floats, right: Bools, worth: Floats | None = None) -> Objective:
    """Negative log-likelihood of a logistic regression: ``signals`` (n, d), ``right`` (n,), parameters (d,);
    ``worth`` (n,) says what each row counts, 1 when None."""
    sign = np.where(right, 1.0, -1.0)
    counted: Floats = np.ones(len(sign)) if worth is None else worth

    def objective(theta: Floats) -> tuple[float, Floats]:
        odds = sign * (signals @ theta)
        slope = -sign * counted / (1.0 + np.exp(odds))
        return float(np.sum(counted * np.logaddexp(0.0, -odds))), slope @ signals

    return objective


def best_cut(judged: Sequence[tuple[Floats, Bools, int]]) -> float:
    """The cut, in steps of .01, that maximises the mean F1 over files; within FLAT of that, next to USUAL_CUT.

    F1 hardly depends on the cut for a language the weights know well, so that the maximum is a matter of chance;
    for calibrated confidences the best cut is half the F1 that it reaches.

    Each file has its confidences and whether they are right, both (n,), and its number of gold entities.
    """
    steps = np.arange(0.0, 0.9, 0.01)
    mean = np.zeros(len(steps))
    for confidence, right, entities in judged:
        kept = confidence[None, :] >= steps[:, None]
        mean += 2.0 * (kept & right).sum(axis=1) / np.maximum(kept.sum(axis=1) + entities, 1)
    good = steps[mean >= mean.max() - FLAT * len(judged)]
    return round(float(good[np.argmin(np.abs(good - USUAL_CUT))]), 2)


def minimise(objective: Objective, centre: Floats, precision: Floats) -> Floats:
    """L-BFGS with a Gaussian prior; an infinite precision pins a weight to its centre."""
    from scipy.optimize import minimize

    free = np.isfinite(precision)
    penalty = precision[free]

    def penalised(theta: Floats) -> tuple[float, Floats]:
        full = centre.copy()
        full[free] = theta
        value, slope = objective(full)
        off = theta - centre[free]
        return value + 0.5 * float(np.sum(penalty * off * off)), slope[free] + penalty * off

    solution = minimize(penalised, centre[free], jac=True, method="L-BFGS-B", options={"maxiter": 300})
    result = centre.copy()
    result[free] = solution.x
    return result


def scale(values: Floats) -> Floats:
    """The standard deviation of each column of (n, d), 1 where a column is constant; shape (d,)."""
    deviation: Floats = values.std(axis=0)
    return np.where(deviation > 1e-9, deviation, 1.0)
