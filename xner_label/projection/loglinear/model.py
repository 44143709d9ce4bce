"""Weights as arrays, and what they make of a batch of sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xner_label.projection.loglinear.candidate_windows import Candidates, build_candidates, build_grid
from xner_label.projection.loglinear.columns import GIVEN, KINDS, Bools, Columns, Floats, Ints, Vocabulary
from xner_label.projection.loglinear.features import CANDIDATE_FEATURES, MENTION_FEATURES, build_features
from xner_label.projection.loglinear.label_regression import label_observations, label_probabilities
from xner_label.projection.loglinear.mentions import NAMELESS
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import Instance

BATCH = 256  # sentences
_ROUND = float(2**30)  # scores are rounded, so that the order of summation can't show
_LOGIT_LIMIT = 12.0


class Model:
    """Weights as arrays.

    candidate: (len(CANDIDATE_FEATURES), 6), mention: (len(MENTION_FEATURES), 6), calibration: (6, 3), by GIVEN,
    TAGGED and OVERLOOKED and then the same of caseless sentences (:attr:`Columns.weight_set`);
    label: (BUCKETS, len(known))
    """

    def __init__(self, weights: Weights) -> None:
        caseless = weights.caseless or weights
        by_kind = (
            *(weights.given, weights.tagged, weights.overlooked),
            *(caseless.given, caseless.tagged, caseless.overlooked),
        )
        self.candidate: Floats = np.array(
            [[kind.candidate.get(name, 0.0) for kind in by_kind] for name in CANDIDATE_FEATURES]
        )
        self.mention: Floats = np.array(
            [[kind.mention.get(name, 0.0) for kind in by_kind] for name in MENTION_FEATURES]
        )
        self.calibration: Floats = np.array([kind.calibration for kind in by_kind])
        self.known = weights.label.labels
        self.label: Floats = weights.label.table()


class SentenceBatch:
    """Columns, candidates and features of a batch, and what weights make of them."""

    def __init__(
        self, instances: Sequence[Instance], vocabulary: Vocabulary, types: tuple[Ints, Ints] | None = None
    ) -> None:
        """``types`` as :class:`Columns` takes them."""
        self.columns = Columns(instances, vocabulary, types)
        grid = build_grid(self.columns)
        self.candidates: Candidates = build_candidates(self.columns, grid)
        self.features = build_features(self.columns, grid, self.candidates)

    def log_odds(self, model: Model) -> Floats:
        """(C,) s(m,t), multiples of 2**-30."""
        weight_set, mention = self.columns.weight_set, self.candidates.mention
        used = 2 * KINDS if self.columns.caseless.any() else KINDS  # caseless sentences are rare in most batches
        projected = self.features.candidate @ model.candidate[:, :used]
        absent = self.features.mention @ model.mention[:, :used]
        scores = projected[np.arange(len(projected)), weight_set[mention]] - absent[mention, weight_set[mention]]
        result: Floats = np.rint(scores * _ROUND) / _ROUND
        return result

    def labels(self, model: Model) -> tuple[list[str], Floats]:
        """The label of each mention and its probability, shape (M,); 1 where labels aren't touched."""
        columns, known = self.columns, model.known
        names = [columns.labels[number] for number in columns.label.tolist()]
        probability = np.ones(len(names))
        relabelled = np.flatnonzero(self.relabelled(known))
        if not len(relabelled):
            return names, probability
        posteriors = label_probabilities(label_observations(columns, known)[relabelled], model.label)
        posteriors = np.rint(posteriors * _ROUND) / _ROUND
        for mention, best in zip(relabelled.tolist(), posteriors.argmax(axis=1).tolist(), strict=True):
            names[mention] = known[best]
        probability[relabelled] = posteriors.max(axis=1)
        return names, probability

    def relabelled(self, known: Sequence[str]) -> Bools:
        """(M,) whether the label regression speaks: overlooked mentions, and tagged ones with a label it knows."""
        covered = np.array([name in known or name == NAMELESS for name in self.columns.labels], bool)
        result: Bools = self.columns.scored & covered[self.columns.label]
        return result


def logit(probability: Floats) -> Floats:
    """Log-odds, limited to +-12."""
    with np.errstate(divide="ignore"):
        result: Floats = np.clip(np.log(probability) - np.log1p(-probability), -_LOGIT_LIMIT, _LOGIT_LIMIT)
    return result


def calibrated_confidence(p_span: Floats, p_label: Floats, weight_set: Ints, calibration: Floats) -> Floats:
    """P(exactly right) from P(span) and P(label), each of shape (n,); ``calibration`` (6, 3), a row per set.

    The label of an entity that a person gave is not in doubt.
    """
    numbers, doubted = calibration[weight_set], weight_set % KINDS != GIVEN
    odds = numbers[:, 0] + numbers[:, 1] * logit(p_span) + numbers[:, 2] * logit(p_label) * doubted
    result: Floats = 1.0 / (1.0 + np.exp(-odds))
    return result
