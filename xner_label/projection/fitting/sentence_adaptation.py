"""Adapting the per-sentence weights to what people settled, where sentences are too many to inform each other."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from xner_label.projection.fitting.chance import is_worse
from xner_label.projection.fitting.examples import Example
from xner_label.projection.fitting.sentence_weights import MIN_MENTIONS, fit_weights
from xner_label.projection.loglinear.columns import Floats
from xner_label.projection.loglinear.projector import LogLinearProjector
from xner_label.projection.loglinear.weights_file import Weights

FOLDS = 2  # each costs a fit


def adapt_sentence_weights(weights: Weights, examples: Sequence[Example]) -> Weights:
    """``weights`` fitted on with the examples, their priors centred on them.

    They stay as they are where there are fewer than MIN_MENTIONS source entities, or where fitting makes the
    sentences that it left out worse, beyond chance (:func:`chance.is_worse`). Deterministic.
    """
    if sum(len(example.instance.mentions) for example in examples) < FOLDS * MIN_MENTIONS:
        return weights
    counts = []
    for left_out in range(FOLDS):
        held_out = examples[left_out::FOLDS]
        learned = [example for number, example in enumerate(examples) if number % FOLDS != left_out]
        fitted = fit_weights([learned], "", start=weights)
        counts.append(np.hstack([_counts(fitted, held_out), _counts(weights, held_out)]))
    if is_worse(np.concatenate(counts)):
        return weights
    named = f"{weights.fitted_on}; {len(examples)} reviewed sentences"
    return msgspec.structs.replace(fit_weights([examples], named, start=weights), rounds=weights.rounds)


def _counts(weights: Weights, examples: Sequence[Example]) -> Floats:
    """Per sentence: right, kept and settled spans."""
    projector = LogLinearProjector(weights)
    rows = []
    for example, projections in zip(
        examples, projector.project([item.instance for item in examples]), strict=True
    ):
        kept = [(item.first, item.last, item.label) for item in projections if item.confidence >= projector.cut]
        rows.append((sum(span in example.gold for span in kept), len(kept), len(example.gold)))
    return np.array(rows, np.float64).reshape(-1, 3)
