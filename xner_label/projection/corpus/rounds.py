"""Corpus mode: every sentence is projected in the light of all the others.

Starting from the per-sentence model (:mod:`loglinear`), each round re-scores all candidates of the corpus,

    s'(m,t) = v . e(m,t)      P(label | m) = softmax over labels of  r . l(m, label)

with evidence e and l (:mod:`evidence`) from votes of the same name and the same target string in other sentences
and, from the second round on, from a CRF trained out of fold on the projections of the round before. Names that
the tagger missed take part as mentions without a label; spans that the CRF alone finds are added where they are
free. Weights differ for given, tagged and missed mentions; confidence is calibrated anew in each round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xner_label.iob2 import decode, encode
from xner_label.projection.corpus.evidence import (
    EVIDENCE,
    LABEL_EVIDENCE,
    Observations,
    Opinion,
    candidate_evidence,
    label_evidence,
    span_probability,
    span_tags,
)
from xner_label.projection.corpus.out_of_fold_tagger import Tagged, tag_out_of_fold
from xner_label.projection.exact.matching import match
from xner_label.projection.loglinear.columns import Bools, Floats, Ints, Numbers
from xner_label.projection.loglinear.decoding import independent_posteriors, solve
from xner_label.projection.loglinear.model import confidence, logit
from xner_label.projection.loglinear.weights_file import Round

_ROUND = float(2**30)
# Where a projection is at least this sure, the CRF adds no span of its own.
TAKEN = 0.3
# The CRF learns from projections of at least this confidence: below the cut, since what is left out teaches "O".
SILVER = 0.3


class RoundModel:
    """A round's weights as arrays.

    candidate: (evidence, 6) and calibration: (6, 3), by weight set (see :class:`Model`); label: (label evidence,
    2), added: (2, 2), of sentences with capitals and of caseless ones
    """

    def __init__(self, weights: Round, caseless: Round | None = None) -> None:
        pair = (weights, caseless or weights)
        kinds = [own for both in pair for own in (both.given, both.tagged, both.overlooked)]
        self.candidate: Floats = np.array([[own.get(name, 0.0) for own in kinds] for name in EVIDENCE])
        self.label: Floats = np.array([[own.label.get(name, 0.0) for own in pair] for name in LABEL_EVIDENCE])
        self.calibration: Floats = np.array([numbers for own in pair for numbers in own.calibration])
        self.added: Floats = np.array([own.added for own in pair])


class Chosen(NamedTuple):
    """The spans of a corpus, all arrays of shape (n,).

    sentence; mention (place among all, -1 for one that only the CRF found); first, last: token range in its
    sentence; label: place among the observations' labels; score: log-odds; span, named: P(span), P(label);
    exact: whether no cap was met
    """

    sentence: Ints
    mention: Ints
    first: Ints
    last: Ints
    label: Ints
    score: Floats
    span: Floats
    named: Floats
    confidence: Floats
    exact: Bools

    def where(self, rows: Numbers) -> Chosen:
        """Some of the spans, by number or by mask."""
        columns: list[Any] = [column[rows] for column in self]
        return Chosen(*columns)


def first_opinion(seen: Observations) -> Opinion:
    """What the per-sentence model believes of each mention on its own."""
    projected, absent = independent_posteriors(seen.found, seen.score)
    return Opinion(projected, absent, seen.base_label)


def project_round(
    seen: Observations, evidence: Floats, names: Floats, model: RoundModel, tagged: Tagged | None
) -> Chosen:
    """The spans of one round from its evidence (C, E) and label evidence (M, K, L)."""
    found = seen.found
    by_kind = evidence @ model.candidate
    scores = by_kind[np.arange(len(by_kind)), seen.weight_set[found.mention]]
    scores = np.rint(scores * _ROUND) / _ROUND
    probability, picked, exact = solve(found, scores)
    mentions = np.flatnonzero(picked >= 0)
    picked = picked[mentions]
    labels = np.rint(label_posteriors(seen, names, model.label) * _ROUND) / _ROUND
    label = labels.argmax(axis=1)[mentions]
    sentence = seen.sentence[mentions]
    start = seen.target_at[sentence]
    span, named = probability[picked], labels.max(axis=1)[mentions]
    projected = Chosen(
        *(sentence, mentions, found.first[picked] - start, found.last[picked] - start, label),
        *(scores[picked], span, named, confidence(span, named, seen.weight_set[mentions], model.calibration)),
        exact[mentions],
    )
    if tagged is None:
        return projected
    added = added_spans(seen, projected, tagged)
    numbers = model.added[seen.caseless[added.sentence] * 1]
    sure = 1.0 / (1.0 + np.exp(-(numbers[:, 0] + numbers[:, 1] * logit(added.span))))
    return _without_overlaps(projected, added._replace(confidence=sure))


def label_posteriors(seen: Observations, names: Floats, weights: Floats) -> Floats:
    """P(label) of each mention, (M, K); labels that may not change keep theirs."""
    scores = (names @ weights)[np.arange(len(names)), :, seen.caseless[seen.sentence] * 1]
    powers = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
    result: Floats = np.where(seen.open[:, None], powers / powers.sum(axis=1, keepdims=True), seen.base_label)
    return result


def added_spans(seen: Observations, projected: Chosen, tagged: Tagged) -> Chosen:
    """Spans of the CRF that meet no projection of at least TAKEN confidence; their own confidence is still 0.

    Where a person gave the source entities nothing is added: they are complete, and hardly any such span is right.
    """
    marginals, best = tagged
    taken: dict[int, set[int]] = {}
    rows = zip(projected.sentence, projected.first, projected.last, projected.confidence, strict=True)
    for sentence, first, last, sure in rows:
        if sure >= TAKEN:
            taken.setdefault(int(sentence), set()).update(range(first, last))
    places = {label: place for place, label in enumerate(seen.labels)}
    added: list[tuple[int, int, int, int, float]] = []
    for number, (marginal, tags) in enumerate(zip(marginals, best, strict=True)):
        if marginal is None or not seen.incomplete[number]:
            continue
        for first, last, label in decode(tags):
            if taken.get(number, set()).isdisjoint(range(first, last)):
                probability = span_probability(marginal, first, last)[places[label]]
                added.append((number, first, last, places[label], float(probability)))
    table = np.array([row[:4] for row in added], np.int64).reshape(-1, 4)
    span = np.array([row[4] for row in added], np.float64)
    nobody, ones = np.full(len(span), -1), np.ones(len(span))
    return Chosen(
        *(table[:, 0], nobody, table[:, 1], table[:, 2], table[:, 3]),
        *(logit(span), span, ones, 0.0 * span),
        ones > 0,
    )


def _without_overlaps(projected: Chosen, added: Chosen) -> Chosen:
    """Both together; where they meet, the choice with the larger sum of confidences."""
    columns: list[Any] = [np.concatenate(pair) for pair in zip(projected, added, strict=True)]
    every = Chosen(*columns)
    order = np.lexsort((every.first, every.sentence))
    every = every.where(order)
    keep = np.ones(len(order), bool)
    last = every.last + every.sentence * (int(every.last.max(initial=0)) + 1)
    first = every.first + every.sentence * (int(every.last.max(initial=0)) + 1)
    if len(order) > 1:
        apart = first[1:] >= np.maximum.accumulate(last)[:-1]
        for group in np.split(np.arange(len(order)), np.flatnonzero(apart) + 1):
            if len(group) > 1:
                chances = zip(every.confidence[group], every.first[group], every.last[group], strict=True)
                choices, _ = match([[(float(sure), int(i), int(j))] for sure, i, j in chances])
                keep[group] = [choice >= 0 for choice in choices]
    return every.where(keep)


def silver_tags(seen: Observations, chosen: Chosen) -> list[list[str]]:
    """IOB2 tags of every sentence by the spans of at least SILVER confidence."""
    spans: list[list[tuple[int, int, str]]] = [[] for _ in seen.instances]
    for row in np.flatnonzero(chosen.confidence >= SILVER).tolist():
        label = seen.labels[chosen.label[row]]
        spans[chosen.sentence[row]].append((int(chosen.first[row]), int(chosen.last[row]), label))
    return [encode(own, len(instance.target)) for own, instance in zip(spans, seen.instances, strict=True)]


def tag_silver(seen: Observations, chosen: Chosen) -> Tagged | None:
    """Out-of-fold tags by a CRF trained on the chosen spans; None for a corpus too small for that."""
    words = [instance.target.words() for instance in seen.instances]
    return tag_out_of_fold(words, silver_tags(seen, chosen), seen.labels)


class RoundEvidence(NamedTuple):
    """What a round is given: candidate evidence (C, E), label evidence (M, K, L), and the CRF's tags."""

    candidate: Floats
    label: Floats
    tagged: Tagged | None


def gather(seen: Observations, tagged: Tagged | None) -> RoundEvidence:
    """The evidence of a round, given the tags that were learned from the round before."""
    belief = first_opinion(seen)
    tags = None if tagged is None else span_tags(seen, tagged[0])
    return RoundEvidence(candidate_evidence(seen, belief, tags), label_evidence(seen, belief, tags), tagged)


def project_corpus(seen: Observations, rounds: Sequence[Round], caseless: Sequence[Round] = ()) -> Chosen:
    """The spans after the last round; ``caseless``: the rounds of caseless sentences where they have their own."""
    tagged: Tagged | None = None
    for number, (weights, other) in enumerate(zip(rounds, caseless or rounds, strict=True)):
        model = RoundModel(weights, other)
        evidence = gather(seen, tagged)
        chosen = project_round(seen, evidence.candidate, evidence.label, model, tagged)
        if number + 1 < len(rounds):
            tagged = tag_silver(seen, chosen)
            if tagged is None:
                break
    return chosen
