"""Calibrations fitted to the outcomes of reviewed sentences, and the cut that goes with them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from xner_label.projection.corpus.evidence import Observations
from xner_label.projection.corpus.rounds import ChosenSpans
from xner_label.projection.fitting.chance import FOLDS, STRENGTHS, best_strength
from xner_label.projection.fitting.optimisation import logistic, minimise
from xner_label.projection.loglinear.columns import GIVEN, OVERLOOKED, TAGGED, Bools, Floats, Ints
from xner_label.projection.loglinear.model import logit
from xner_label.projection.loglinear.weights_file import Calibration, Round

# Precisions of the Gaussian priors around the shipped numbers.
CALIBRATION = (2.0, 5.0, 5.0)
# Below so many outcomes of a kind its calibration stays.
MIN_OUTCOMES, MIN_ADDED = 10, 5
# Entities that no candidate stands for, as a share of those that one does.
_OUT_OF_REACH = 0.03
_CUTS = np.arange(0.2, 0.65, 0.01)


def recalibrated(
    observations: Observations, outcomes: ChosenSpans, right: Bools, shipped: Round, fold: Ints, *, few: bool
) -> Round:
    """The calibrations fitted on outcomes, each kind's prior centred on the shipped numbers.

    With ``few`` answers they are used as far as outcomes of other folds than those fitted on, ``fold`` (S,),
    become likelier beyond chance.
    """
    every = _calibration(observations, outcomes, right, shipped)
    if not few:
        return every
    of_outcome = fold[outcomes.sentence]
    losses = np.zeros((len(STRENGTHS), len(fold)))
    for which in range(FOLDS):
        held_out = of_outcome == which
        fitted = _calibration(observations, outcomes.select(~held_out), right[~held_out], shipped)
        judged, truth = outcomes.select(held_out), right[held_out]
        for place, strength in enumerate(STRENGTHS):
            lost = _outcome_losses(observations, judged, truth, _between(shipped, fitted, strength))
            losses[place] += np.bincount(judged.sentence, lost, len(fold))
    return _between(shipped, every, best_strength(losses[:, np.unique(outcomes.sentence)], few=few))


def _calibration(observations: Observations, outcomes: ChosenSpans, right: Bools, shipped: Round) -> Round:
    behind = outcomes.mention >= 0
    kind = np.where(behind, observations.kind[outcomes.mention], -1)
    calibration: list[Calibration] = []
    for which, numbers in zip((GIVEN, TAGGED, OVERLOOKED), shipped.calibration, strict=True):
        of_kind = kind == which
        if of_kind.sum() >= MIN_OUTCOMES:
            named = logit(outcomes.p_label[of_kind]) * (which != GIVEN)
            signals = np.column_stack([np.ones(of_kind.sum()), logit(outcomes.p_span[of_kind]), named])
            fitted = minimise(logistic(signals, right[of_kind]), np.array(numbers), np.array(CALIBRATION))
            numbers = (round(float(fitted[0]), 6), round(float(fitted[1]), 6), round(float(fitted[2]), 6))
        calibration.append(numbers)
    added = shipped.added
    if (~behind).sum() >= MIN_ADDED:
        signals = np.column_stack([np.ones((~behind).sum()), logit(outcomes.p_span[~behind])])
        fitted = minimise(logistic(signals, right[~behind]), np.array(added), np.array(CALIBRATION[:2]))
        added = (round(float(fitted[0]), 6), round(float(fitted[1]), 6))
    return msgspec.structs.replace(
        shipped, calibration=(calibration[0], calibration[1], calibration[2]), added=added
    )


def _between(shipped: Round, fitted: Round, strength: float) -> Round:
    """The calibrations between two rounds' numbers: 0 is those of ``shipped``, 1 those of ``fitted``."""

    def mixed(numbers: Sequence[float], others: Sequence[float]) -> list[float]:
        return [round(a + strength * (b - a), 6) for a, b in zip(numbers, others, strict=True)]

    pairs = zip(shipped.calibration, fitted.calibration, strict=True)
    given, tagged, overlooked = (mixed(numbers, others) for numbers, others in pairs)
    added = mixed(shipped.added, fitted.added)
    return msgspec.structs.replace(
        shipped,
        calibration=(
            (given[0], given[1], given[2]),
            (tagged[0], tagged[1], tagged[2]),
            (overlooked[0], overlooked[1], overlooked[2]),
        ),
        added=(added[0], added[1]),
    )


def _outcome_losses(observations: Observations, outcomes: ChosenSpans, right: Bools, calibrated: Round) -> Floats:
    """(n,) the negative log-likelihood of each outcome by a round's calibrations."""
    numbers = np.array([*calibrated.calibration, (*calibrated.added, 0.0)])
    behind = outcomes.mention >= 0
    kind = np.where(behind, observations.kind[outcomes.mention], len(calibrated.calibration))
    doubted = behind & (kind != GIVEN)
    fitted = numbers[kind]
    odds = fitted[:, 0] + fitted[:, 1] * logit(outcomes.p_span) + fitted[:, 2] * logit(outcomes.p_label) * doubted
    result: Floats = np.logaddexp(0.0, np.where(right, -odds, odds))
    return result


def best_expected_cut(confidence: Floats, usual: float) -> float:
    """The cut that maximises the expected F1 of spans whose confidences (n,) are calibrated.

    2 sum_{p >= c} p / (#{p >= c} + sum p (1 + share out of reach))
    """
    if not len(confidence):
        return usual
    kept = confidence[None, :] >= _CUTS[:, None]
    total = confidence.sum() * (1.0 + _OUT_OF_REACH)
    expected = 2.0 * (kept * confidence).sum(axis=1) / np.maximum(kept.sum(axis=1) + total, 1e-9)
    return round(float(_CUTS[int(np.argmax(expected))]), 2)
