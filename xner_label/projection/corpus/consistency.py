"""Consistency across a corpus: as what, and how surely, the same text was projected in other sentences.

A second stage after the last round (as in Krishnan and Manning, ACL 2006). The votes of a round come from what
each sentence says on its own; here everything that the round has concluded speaks once more. For the span of a
mention m on text t, with n(t,l) spans of t with label l in other sentences and the log-odds z of their
confidences, limited to +-4, where people's answers lie,

    P'(l | m) ~ P(l | m) exp(g sum of z(t,l) / (n(t,l) + 1))

and with the label l chosen, the confidence p that goes with it, and q(t,l) the other spans' probabilities,

    logit p' = c0 + c1 logit p + c2 logit P(span, l by the target tagger) / 2.5
               + c3 n(t,l) / (n(t,l) + 1) (mean of z(t,l) - logit p) / 2
               + c4 log(1 + sum of q(t,l') over l' != l)

g and c are fitted to the reviewed sentences (:mod:`fitting.consistency`); without answers there is no second
stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.projection.corpus.evidence import Observations, span_probability
from xner_label.projection.corpus.out_of_fold_tagger import Tagged
from xner_label.projection.corpus.rounds import ChosenSpans, probabilities, text_of
from xner_label.projection.loglinear.columns import Floats, Ints
from xner_label.projection.loglinear.model import calibrated_confidence, logit

# The log-odds of other spans are held within these bounds, those that people settled lie on them.
SUREST = 4.0
# The numbers of the confidence that leave it as it is.
UNCHANGED = (0.0, 1.0, 0.0, 0.0, 0.0)


class Elsewhere(NamedTuple):
    """What other sentences say of the text of each span, all (n, K): how many spans of it have each label, the
    sums of their log-odds and of their probabilities."""

    spans: Floats
    odds: Floats
    probability: Floats

    @property
    def mean_odds(self) -> Floats:
        """(n, K) the mean of the log-odds, drawn towards 0 by one more span."""
        return self.odds / (self.spans + 1.0)


class CountedSpans(NamedTuple):
    """The spans that speak, all (n,): sentence, folded text, place of the label, log-odds, probability."""

    sentence: Ints
    text: list[str]
    label: Ints
    odds: Floats
    probability: Floats


class Consistency(msgspec.Struct, frozen=True):
    """``texts``: by folded text the counts, sums of log-odds and sums of probabilities of each of ``labels``, one
    after the other; ``label`` is g, ``confidence`` c of the module's equations."""

    labels: tuple[str, ...]
    texts: dict[str, list[float]]
    label: float
    confidence: tuple[float, float, float, float, float]

    def elsewhere(self, observations: Observations, texts: Sequence[str]) -> Elsewhere:
        """What is known of texts of sentences that weren't counted."""
        nothing = [0.0] * (3 * len(self.labels))
        table = np.array([self.texts.get(text, nothing) for text in texts], np.float64)
        table = table.reshape(len(texts), 3, len(self.labels))
        result = np.zeros((3, len(texts), len(observations.labels)))
        for place, label in enumerate(self.labels):
            if label in observations.labels:
                result[:, :, observations.labels.index(label)] = table[:, :, place].T
        return Elsewhere(*result)


def summed_texts(observations: Observations, spans: CountedSpans) -> dict[str, list[float]]:
    """The ``texts`` of a :class:`Consistency`."""
    texts, code = np.unique(np.array(spans.text, object), return_inverse=True)
    values = (np.ones(len(code)), spans.odds, spans.probability)
    sums = [_by_label(code, spans.label, value, len(texts), len(observations.labels)) for value in values]
    rows = np.round(np.hstack(sums), 3).tolist()
    return dict(zip(texts.tolist(), rows, strict=True))


def elsewhere_in_corpus(observations: Observations, spans: CountedSpans, chosen: ChosenSpans) -> Elsewhere:
    """What ``spans`` of other sentences than its own say of the text of each chosen span."""
    count, size = len(observations.labels), len(observations.instances)
    asked = text_of(observations, chosen)
    codes: dict[str, int] = {}
    code = np.array([codes.setdefault(text, len(codes)) for text in spans.text], np.int64)
    asked_code = np.array([codes.setdefault(text, len(codes)) for text in asked], np.int64)
    places: dict[int, int] = {}
    at_home = np.array(
        [places.setdefault(key, len(places)) for key in (code * size + spans.sentence).tolist()], np.int64
    )
    asked_home = np.array(
        [places.get(key, -1) for key in (asked_code * size + chosen.sentence).tolist()], np.int64
    )
    sums = []
    for value in (np.ones(len(code)), spans.odds, spans.probability):
        total = _by_label(code, spans.label, value, len(codes), count)
        home = _by_label(at_home, spans.label, value, len(places) + 1, count)
        sums.append(total[asked_code] - home[asked_home])
    return Elsewhere(np.maximum(sums[0], 0.0), sums[1], np.maximum(sums[2], 0.0))


def relabelled(
    observations: Observations,
    chosen: ChosenSpans,
    label_scores: Floats,
    elsewhere: Elsewhere,
    worth: Floats,
    calibration: Floats,
) -> ChosenSpans:
    """The spans with the labels that the same texts have elsewhere taken into account.

    ``label_scores`` (M, K) are the round's log P(l | m) up to a constant, ``worth`` (n,) is g for each span,
    ``calibration`` the round's.
    """
    rows = np.flatnonzero((chosen.mention >= 0) & (worth != 0.0))
    mention = chosen.mention[rows]
    rows, mention = rows[observations.open[mention]], mention[observations.open[mention]]
    scores = label_scores[mention] + worth[rows, None] * elsewhere.mean_odds[rows]
    label, p_label, confidence = chosen.label.copy(), chosen.p_label.copy(), chosen.confidence.copy()
    posterior = probabilities(scores)
    label[rows], p_label[rows] = posterior.argmax(axis=1), posterior.max(axis=1, initial=0.0)
    confidence[rows] = calibrated_confidence(
        chosen.p_span[rows], p_label[rows], observations.weight_set[mention], calibration
    )
    return chosen._replace(label=label, p_label=p_label, confidence=confidence)


def confidence_signals(chosen: ChosenSpans, elsewhere: Elsewhere, tagged: Tagged | None) -> Floats:
    """(n, 5) what c weighs."""
    rows = np.arange(len(chosen.label))
    own = logit(chosen.confidence)
    count = elsewhere.spans[rows, chosen.label]
    mean = elsewhere.odds[rows, chosen.label] / np.maximum(count, 1.0)
    agreement = (mean - np.clip(own, -SUREST, SUREST)) * count / (count + 1.0)
    rivals = elsewhere.probability.sum(axis=1) - elsewhere.probability[rows, chosen.label]
    tagger = np.full(len(rows), 0.5)
    if tagged is not None:
        spans = zip(chosen.sentence.tolist(), chosen.first.tolist(), chosen.last.tolist(), strict=True)
        for row, (number, first, last) in enumerate(spans):
            marginals = tagged.marginals[number]
            if marginals is not None:
                tagger[row] = span_probability(marginals, first, last)[chosen.label[row]]
    return np.column_stack(
        [np.ones(len(rows)), own, logit(tagger) / 2.5, agreement / 2.0, np.log1p(np.maximum(rivals, 0.0))]
    )


def surer(chosen: ChosenSpans, signals: Floats, numbers: Floats) -> ChosenSpans:
    """The spans with their confidences weighed anew; ``numbers`` (5,) or (n, 5) are c."""
    odds = (signals * numbers).sum(axis=1)
    return chosen._replace(confidence=1.0 / (1.0 + np.exp(-odds)))


def _by_label(code: Ints, label: Ints, value: Floats, size: int, count: int) -> Floats:
    """(size, count) the sum of the values of each code and label."""
    sums = np.bincount(code * count + label, value, size * count).astype(np.float64)
    return sums.reshape(size, count)
