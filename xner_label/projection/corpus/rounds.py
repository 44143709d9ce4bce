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

from xner_label.iob2 import TokenSpan, decode, encode
from xner_label.projection.corpus.effects import Shift
from xner_label.projection.corpus.evidence import (
    EVIDENCE,
    LABEL_EVIDENCE,
    Observations,
    Opinion,
    Sums,
    candidate_evidence,
    label_evidence,
    span_probability,
    span_tags,
    sums_elsewhere,
)
from xner_label.projection.corpus.out_of_fold_tagger import Tagged, tag_out_of_fold
from xner_label.projection.corpus.settled import Gold, Settled, clamped, settle
from xner_label.projection.exact.matching import match
from xner_label.projection.loglinear.candidate_windows import Candidates
from xner_label.projection.loglinear.columns import GIVEN, Bools, Floats, Ints, Numbers
from xner_label.projection.loglinear.decoding import independent_posteriors, solve
from xner_label.projection.loglinear.model import logit
from xner_label.projection.loglinear.weights_file import Round

_ROUND = float(2**30)
# Where a projection is at least this sure, the CRF adds no span of its own.
TAKEN = 0.3
# The CRF learns from projections of at least this confidence: below the cut, since what is left out teaches "O".
SILVER = 0.3
# How often a sentence that people settled counts among those that the CRF learns from.
REPEATS = 3


class RoundModel:
    """A round's weights as arrays: candidate (evidence, 3), label (label evidence,), calibration (3, 3)."""

    def __init__(self, weights: Round) -> None:
        kinds = (weights.given, weights.tagged, weights.overlooked)
        self.candidate: Floats = np.array([[own.get(name, 0.0) for own in kinds] for name in EVIDENCE])
        self.label: Floats = np.array([weights.label.get(name, 0.0) for name in LABEL_EVIDENCE])
        self.calibration: Floats = np.array(weights.calibration)
        self.added: Floats = np.array(weights.added)
        self.cut = weights.cut


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


class RoundEvidence(NamedTuple):
    """What a round is given: candidate evidence (C, E), label evidence (M, K, L), and the CRF's tags."""

    candidate: Floats
    label: Floats
    tagged: Tagged | None


def gather(seen: Observations, tagged: Tagged | None, settled: Settled | None = None) -> RoundEvidence:
    """The evidence of a round, given the tags that were learned from the round before and what people settled."""
    belief = first_opinion(seen)
    tags = None if tagged is None else span_tags(seen, tagged.marginals)
    if settled is None:
        sums = sums_elsewhere(seen, belief)
    else:
        sums = sums_elsewhere(seen, clamped(seen, belief, settled), settled.weight(), settled.loose)
    return evidence_from(seen, belief, sums, tags, tagged)


def evidence_from(
    seen: Observations, belief: Opinion, sums: Sums, tags: Floats | None, tagged: Tagged | None
) -> RoundEvidence:
    """The evidence of a round from sums over other sentences, wherever they were counted."""
    return RoundEvidence(candidate_evidence(seen, sums, tags), label_evidence(seen, belief, sums, tags), tagged)


def project_round(
    seen: Observations,
    evidence: RoundEvidence,
    model: RoundModel,
    shift: Shift | None = None,
    only: Bools | None = None,
) -> Chosen:
    """The spans of one round from its evidence and, where people settled some, from what words are worth.

    ``only`` (S,) restricts it to some sentences. Spans that only the CRF found are added where it has tags.
    """
    found = seen.found
    wanted = np.ones(len(seen), bool) if only is None else only[seen.sentence]
    mentions, rows = np.flatnonzero(wanted), np.flatnonzero(wanted[found.mention])
    by_kind = evidence.candidate[rows] @ model.candidate
    scores = by_kind[np.arange(len(by_kind)), seen.kind[found.mention[rows]]]
    names = evidence.label @ model.label
    if shift is not None:
        scores = scores + shift.candidate[rows]
        names = names + shift.label
    scores = np.rint(scores * _ROUND) / _ROUND
    at = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(found.at)[mentions])])
    number = np.repeat(np.arange(len(mentions)), np.diff(at))
    part = Candidates(number, found.first[rows], found.last[rows], at)
    probability, picked, exact = solve(part, scores)
    chosen = picked >= 0
    mentions, picked, exact = mentions[chosen], picked[chosen], exact[chosen]
    labels = np.rint(posteriors(seen, names) * _ROUND) / _ROUND
    sentence = seen.sentence[mentions]
    start = seen.target_at[sentence]
    span, named = probability[picked], labels.max(axis=1)[mentions]
    projected = Chosen(
        *(sentence, mentions, part.first[picked] - start, part.last[picked] - start),
        labels.argmax(axis=1)[mentions],
        *(scores[picked], span, named, sureness(span, named, seen.kind[mentions], model.calibration)),
        exact,
    )
    if evidence.tagged is None:
        return projected
    added = added_spans(seen, projected, evidence.tagged, only)
    odds = model.added[0] + model.added[1] * logit(added.span)
    if shift is not None:
        odds = odds + _text_shift(seen, added, shift)
    return _without_overlaps(projected, added._replace(confidence=1.0 / (1.0 + np.exp(-odds))))


def _text_shift(seen: Observations, added: Chosen, shift: Shift) -> Floats:
    texts = seen.texts
    result = np.zeros(len(added.sentence))
    for row, (number, first, last) in enumerate(zip(added.sentence, added.first, added.last, strict=True)):
        start = seen.target_at[number]
        code = seen.code_of(" ".join(texts[word] for word in seen.word[start + first : start + last].tolist()))
        if code >= 0:
            result[row] = shift.text[code]
    return result


def sureness(span: Floats, named: Floats, kind: Ints, calibration: Floats) -> Floats:
    """P(exactly right) from P(span) and P(label), each (n,); the label of a given entity is not in doubt."""
    numbers = calibration[kind]
    odds = numbers[:, 0] + numbers[:, 1] * logit(span) + numbers[:, 2] * logit(named) * (kind != GIVEN)
    result: Floats = 1.0 / (1.0 + np.exp(-odds))
    return result


def posteriors(seen: Observations, scores: Floats) -> Floats:
    """P(label) of each mention from the labels' scores, both (M, K); labels that may not change keep theirs."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
    result: Floats = np.where(seen.open[:, None], powers / powers.sum(axis=1, keepdims=True), seen.base_label)
    return result


def added_spans(seen: Observations, projected: Chosen, tagged: Tagged, only: Bools | None = None) -> Chosen:
    """Spans of the CRF that meet no projection of at least TAKEN confidence; their own confidence is still 0.

    ``only`` (S,) restricts it to some sentences. Where a person gave the source entities nothing is added: they
    are complete, and hardly any such span is right.
    """
    taken: dict[int, set[int]] = {}
    rows = zip(projected.sentence, projected.first, projected.last, projected.confidence, strict=True)
    for sentence, first, last, sure in rows:
        if sure >= TAKEN:
            taken.setdefault(int(sentence), set()).update(range(first, last))
    places = {label: place for place, label in enumerate(seen.labels)}
    added: list[tuple[int, int, int, int, float]] = []
    for number, (marginal, tags) in enumerate(zip(tagged.marginals, tagged.best, strict=True)):
        if marginal is None or not seen.incomplete[number] or not (only is None or only[number]):
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


def silver_tags(seen: Observations, chosen: Chosen, gold: Gold | None = None) -> list[list[str]]:
    """IOB2 tags of every sentence by the spans of at least SILVER confidence, or by what people settled in it."""
    spans: list[list[TokenSpan]] = [[] for _ in seen.instances]
    for row in np.flatnonzero(chosen.confidence >= SILVER).tolist():
        label = seen.labels[chosen.label[row]]
        spans[chosen.sentence[row]].append((int(chosen.first[row]), int(chosen.last[row]), label))
    for number, own in (gold or {}).items():
        spans[number] = list(own)
    return [encode(own, len(instance.target)) for own, instance in zip(spans, seen.instances, strict=True)]


def tag_silver(seen: Observations, chosen: Chosen, gold: Gold | None = None) -> Tagged | None:
    """Out-of-fold tags by a CRF trained on the chosen spans, or on what people settled, REPEATS times over;
    None for a corpus too small for that."""
    words = [instance.target.words() for instance in seen.instances]
    repeats = [REPEATS if gold and number in gold else 1 for number in range(len(words))]
    return tag_out_of_fold(words, silver_tags(seen, chosen, gold), seen.labels, repeats)


def project_corpus(
    seen: Observations, rounds: Sequence[Round], gold: Gold | None = None
) -> tuple[Chosen, RoundEvidence]:
    """The spans after the last round, or after the last that the corpus is large enough for, and its evidence.

    ``gold``: what people settled, which informs all other sentences.
    """
    tagged: Tagged | None = None
    settled = settle(seen, gold) if gold else None
    for number, weights in enumerate(rounds):
        evidence = gather(seen, tagged, settled)
        chosen = project_round(seen, evidence, RoundModel(weights))
        if number + 1 < len(rounds):
            tagged = tag_silver(seen, chosen, gold)
            if tagged is None:
                break
    return chosen, evidence
