"""Weights as arrays, and what they make of a batch of sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xner_label.projection.loglinear.candidate_windows import Candidates, build_candidates, build_grid
from xner_label.projection.loglinear.columns import GIVEN, Bools, Columns, Floats, Ints, Vocabulary
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

    candidate: (len(CANDIDATE_FEATURES), 3), mention: (len(MENTION_FEATURES), 3), calibration: (3, 3),
    by GIVEN, TAGGED and OVERLOOKED; label: (BUCKETS, len(known))
    """

    def __init__(self, weights: Weights) -> None:
        kinds = (weights.given, weights.tagged, weights.overlooked)
        self.candidate: Floats = np.array(
            [[own.candidate.get(name, 0.0) for own in kinds] for name in CANDIDATE_FEATURES]
        )
        self.mention: Floats = np.array(
            [[own.mention.get(name, 0.0) for own in kinds] for name in MENTION_FEATURES]
        )
        self.calibration: Floats = np.array([own.calibration for own in kinds])
        self.known = weights.label.labels
        self.label: Floats = weights.label.table()


class Batch:
    """Columns, candidates and features of a batch, and what weights make of them."""

    def __init__(self, instances: Sequence[Instance], vocabulary: Vocabulary) -> None:
        self.columns = Columns(instances, vocabulary)
        grid = build_grid(self.columns)
        self.found: Candidates = build_candidates(self.columns, grid)
        self.features = build_features(self.columns, grid, self.found)

    def log_odds(self, model: Model) -> Floats:
        """(C,) s(m,t), multiples of 2**-30."""
        kind, mention = self.columns.kind, self.found.mention
        own = self.features.candidate @ model.candidate
        null = self.features.mention @ model.mention
        scores = own[np.arange(len(own)), kind[mention]] - null[mention, kind[mention]]
        result: Floats = np.rint(scores * _ROUND) / _ROUND
        return result

    def labels(self, model: Model) -> tuple[list[str], Floats]:
        """The label of each mention and its probability, shape (M,); 1 where labels aren't touched."""
        columns, known = self.columns, model.known
        names = [columns.labels[number] for number in columns.label.tolist()]
        probability = np.ones(len(names))
        open_ = np.flatnonzero(self.relabelled(known))
        if not len(open_):
            return names, probability
        answers = label_probabilities(label_observations(columns, known)[open_], model.label)
        answers = np.rint(answers * _ROUND) / _ROUND
        for mention, choice in zip(open_.tolist(), answers.argmax(axis=1).tolist(), strict=True):
            names[mention] = known[choice]
        probability[open_] = answers.max(axis=1)
        return names, probability

    def relabelled(self, known: Sequence[str]) -> Bools:
        """(M,) whether the label regression speaks: overlooked mentions, and tagged ones with a label it knows."""
        inside = np.array([name in known or name == NAMELESS for name in self.columns.labels], bool)
        result: Bools = self.columns.scored & inside[self.columns.label]
        return result


def logit(probability: Floats) -> Floats:
    """Log-odds, limited to +-12."""
    with np.errstate(divide="ignore"):
        result: Floats = np.clip(np.log(probability) - np.log1p(-probability), -_LOGIT_LIMIT, _LOGIT_LIMIT)
    return result


def confidence(span: Floats, label: Floats, kind: Ints, model: Model) -> Floats:
    """P(exactly right) from P(span) and P(label), each of shape (n,)."""
    numbers = model.calibration[kind]
    odds = numbers[:, 0] + numbers[:, 1] * logit(span) + numbers[:, 2] * logit(label) * (kind != GIVEN)
    result: Floats = 1.0 / (1.0 + np.exp(-odds))
    return result
