"""Consistency across a corpus: as what, and how surely, the same text was projected in other sentences.

A second stage after the last round (as in Krishnan and Manning, ACL 2006). The votes of a round come from what
each sentence says on its own; here everything that the round has concluded speaks once more. Spans are alike in
their whole text, in its first word or in its last one (KEYS). For a span of a mention m, with n_k(l) spans in
other sentences that are alike in k and have label l, and the log-odds z of their confidences, limited to +-4,
where people's answers lie,

    P'(l | m) ~ P(l | m) exp(sum over k of g_k sum of z_k(l) / (n_k(l) + 1))

and with the label l chosen, the confidence p that goes with it, and q(l) the probabilities of the spans of the
same text,

    logit p' = c_0 + c_1 logit p + c_2 logit P(span, l by the target tagger) / 2.5
               + c_3 log(1 + sum of q(l') over l' != l)
               + sum over k of c_k n_k(l) / (n_k(l) + 1) (mean of z_k(l) - logit p) / 2

g and c are fitted to the reviewed sentences (:mod:`fitting.consistency`); without answers there is no second
stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from xner_label.projection.corpus.evidence import Observations, span_probability
from xner_label.projection.corpus.out_of_fold_tagger import Tagged
from xner_label.projection.corpus.rounds import ChosenSpans, probabilities, text_of
from xner_label.projection.loglinear.columns import Floats, Ints
from xner_label.projection.loglinear.model import calibrated_confidence, logit

Key = TypeVar("Key", str, int)

# The log-odds of other spans are held within these bounds, those that people settled lie on them.
SUREST = 4.0
# What spans are alike in.
KEYS = ("text", "first", "last")
# The numbers of the confidence that leave it as it is: bias, its own log-odds, tagger, rivals, one for each key.
UNCHANGED = (0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class Elsewhere(NamedTuple):
    """What other sentences say of each span, all (KEYS, n, K): how many spans that are alike have each label, the
    sums of their log-odds and of their probabilities."""

    spans: Floats
    odds: Floats
    probability: Floats

    @property
    def mean_odds(self) -> Floats:
        """(KEYS, n, K) the mean of the log-odds, drawn towards 0 by one more span."""
        return self.odds / (self.spans + 1.0)


class CountedSpans(NamedTuple):
    """The spans that speak, all (n,): sentence, folded text, place of the label, log-odds, probability."""

    sentence: Ints
    text: list[str]
    label: Ints
    odds: Floats
    probability: Floats


class Consistency(msgspec.Struct, frozen=True):
    """``sums``: for each of KEYS, by folded text or word, the counts of each of ``labels``, their sums of log-odds
    and their sums of probabilities, one after the other; ``label`` is g, ``confidence`` c of the module's
    equations."""

    labels: tuple[str, ...]
    sums: tuple[dict[str, list[float]], ...]
    label: tuple[float, ...]
    confidence: tuple[float, ...]

    def elsewhere(self, observations: Observations, texts: Sequence[str]) -> Elsewhere:
        """What is known of spans, by their folded texts, of sentences that weren't counted."""
        nothing = [0.0] * (3 * len(self.labels))
        result = np.zeros((3, len(KEYS), len(texts), len(observations.labels)))
        for number, (sums, keys) in enumerate(zip(self.sums, _keys(texts), strict=True)):
            table = np.array([sums.get(key, nothing) for key in keys], np.float64)
            table = table.reshape(len(texts), 3, len(self.labels))
            for place, label in enumerate(self.labels):
                if label in observations.labels:
                    result[:, number, :, observations.labels.index(label)] = table[:, :, place].T
        return Elsewhere(*result)


def sums_by_key(observations: Observations, spans: CountedSpans) -> tuple[dict[str, list[float]], ...]:
    """The ``sums`` of a :class:`Consistency`."""
    values = (np.ones(len(spans.label)), spans.odds, spans.probability)
    tables = []
    for keys in _keys(spans.text):
        code, codes = _coded(keys)
        sums = [_by_label(code, spans.label, value, len(codes), len(observations.labels)) for value in values]
        tables.append(dict(zip(codes, np.round(np.hstack(sums), 3).tolist(), strict=True)))
    return tuple(tables)


def elsewhere_in_corpus(observations: Observations, spans: CountedSpans, chosen: ChosenSpans) -> Elsewhere:
    """What ``spans`` of other sentences than its own say of each chosen span."""
    count, size = len(observations.labels), len(observations.instances)
    values = (np.ones(len(spans.label)), spans.odds, spans.probability)
    result = np.zeros((3, len(KEYS), len(chosen.label), count))
    for number, keys in enumerate(_keys([*spans.text, *text_of(observations, chosen)])):
        every, codes = _coded(keys)
        code, asked = every[: len(spans.text)], every[len(spans.text) :]
        at_home, homes = _coded((code * size + spans.sentence).tolist())
        asked_home = np.array([homes.get(key, -1) for key in (asked * size + chosen.sentence).tolist()], np.int64)
        for kind, value in enumerate(values):
            total = _by_label(code, spans.label, value, len(codes), count)
            home = _by_label(at_home, spans.label, value, len(homes) + 1, count)
            result[kind, number] = total[asked] - home[asked_home]
    return Elsewhere(np.maximum(result[0], 0.0), result[1], np.maximum(result[2], 0.0))


def relabelled(
    observations: Observations,
    chosen: ChosenSpans,
    label_scores: Floats,
    elsewhere: Elsewhere,
    worth: Floats,
    calibration: Floats,
) -> ChosenSpans:
    """The spans with the labels of those that are alike elsewhere taken into account.

    ``label_scores`` (M, K) are the round's log P(l | m) up to a constant, ``worth`` (n, KEYS) is g for each span,
    ``calibration`` the round's.
    """
    rows = np.flatnonzero((chosen.mention >= 0) & (worth != 0.0).any(axis=1))
    mention = chosen.mention[rows]
    rows, mention = rows[observations.open[mention]], mention[observations.open[mention]]
    scores = label_scores[mention] + np.einsum("nk,knl->nl", worth[rows], elsewhere.mean_odds[:, rows])
    label, p_label, confidence = chosen.label.copy(), chosen.p_label.copy(), chosen.confidence.copy()
    posterior = probabilities(scores)
    label[rows], p_label[rows] = posterior.argmax(axis=1), posterior.max(axis=1, initial=0.0)
    confidence[rows] = calibrated_confidence(
        chosen.p_span[rows], p_label[rows], observations.weight_set[mention], calibration
    )
    return chosen._replace(label=label, p_label=p_label, confidence=confidence)


def confidence_signals(chosen: ChosenSpans, elsewhere: Elsewhere, tagged: Tagged | None) -> Floats:
    """(n, len(UNCHANGED)) what c weighs."""
    rows = np.arange(len(chosen.label))
    log_odds = logit(chosen.confidence)
    count = elsewhere.spans[:, rows, chosen.label]
    mean = elsewhere.odds[:, rows, chosen.label] / np.maximum(count, 1.0)
    agreement = (mean - np.clip(log_odds, -SUREST, SUREST)) * count / (count + 1.0)
    of_text = elsewhere.probability[0]
    rivals = np.maximum(of_text.sum(axis=1) - of_text[rows, chosen.label], 0.0)
    tagger = np.full(len(rows), 0.5)
    if tagged is not None:
        spans = zip(chosen.sentence.tolist(), chosen.first.tolist(), chosen.last.tolist(), strict=True)
        for row, (number, first, last) in enumerate(spans):
            marginals = tagged.marginals[number]
            if marginals is not None:
                tagger[row] = span_probability(marginals, first, last)[chosen.label[row]]
    return np.column_stack(
        [np.ones(len(rows)), log_odds, logit(tagger) / 2.5, np.log1p(rivals), agreement.T / 2.0]
    )


def surer(chosen: ChosenSpans, signals: Floats, numbers: Floats) -> ChosenSpans:
    """The spans with their confidences weighed anew; ``numbers``, one row or one a span, are c."""
    odds = (signals * numbers).sum(axis=1)
    return chosen._replace(confidence=1.0 / (1.0 + np.exp(-odds)))


def _keys(texts: Sequence[str]) -> tuple[Sequence[str], ...]:
    """What each text is looked up by, for each of KEYS."""
    return texts, [text.split(" ", 1)[0] for text in texts], [text.rsplit(" ", 1)[-1] for text in texts]


def _coded(keys: Sequence[Key]) -> tuple[Ints, dict[Key, int]]:
    """A number for each key, in order of appearance."""
    codes: dict[Key, int] = {}
    return np.array([codes.setdefault(key, len(codes)) for key in keys], np.int64), codes


def _by_label(code: Ints, label: Ints, value: Floats, size: int, count: int) -> Floats:
    """(size, count) the sum of the values of each code and label."""
    sums = np.bincount(code * count + label, value, size * count).astype(np.float64)
    return sums.reshape(size, count)
