"""Corpus mode: every sentence is projected in the light of all the others.

Starting from the per-sentence model (:mod:`loglinear`), each round re-scores all candidates of the corpus,

    s'(m,t) = v . e(m,t)      P(label | m) = softmax over labels of  r . l(m, label)

with evidence e and l (:mod:`evidence`) from votes of the same name and the same target string in other sentences
and, from the second round on, from a CRF trained out of fold on the projections of the round before. Names that
the tagger missed take part as mentions without a label; spans that the CRF alone finds are added where they are
free. Weights differ for given, tagged and missed mentions; confidence is calibrated anew in each round.
"""

from __future__ import annotations

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
from xner_label.projection.corpus.settled import ANSWERED, Gold, NameAnswers, Settled, clamped
from xner_label.projection.exact.matching import match
from xner_label.projection.loglinear.candidate_windows import Candidates
from xner_label.projection.loglinear.columns import Bools, Floats, Ints, Numbers, borders
from xner_label.projection.loglinear.decoding import independent_posteriors, solve
from xner_label.projection.loglinear.model import calibrated_confidence, logit
from xner_label.projection.loglinear.weights_file import Round

_ROUND = float(2**30)
# Where a projection is at least this sure, the CRF adds no span of its own.
TAKEN = 0.3
# The CRF learns from projections of at least this confidence: below the cut, since what is left out teaches "O".
SILVER = 0.3
# How often a sentence that people settled counts among those that the CRF learns from.
REPEATS = 3


class RoundModel:
    """A round's weights as arrays.

    candidate: (evidence, 6) and calibration: (6, 3), by weight set (see :class:`Model`); label: (label evidence,
    2), added: (2, 2), of sentences with capitals and of caseless ones
    """

    def __init__(self, weights: Round) -> None:
        pair = (weights, weights.caseless or weights)
        by_set = [kind for each in pair for kind in (each.given, each.tagged, each.overlooked)]
        self.candidate: Floats = np.array([[kind.get(name, 0.0) for kind in by_set] for name in EVIDENCE])
        self.label: Floats = np.array([[each.label.get(name, 0.0) for each in pair] for name in LABEL_EVIDENCE])
        self.calibration: Floats = np.array([numbers for each in pair for numbers in each.calibration])
        self.added: Floats = np.array([each.added for each in pair])


class ChosenSpans(NamedTuple):
    """The spans of a corpus, all arrays of shape (n,).

    sentence; mention (place among all, -1 for one that only the CRF found); first, last: token range in its
    sentence; label: place among the observations' labels; score: log-odds; p_span, p_label: P(span), P(label);
    exact: whether no cap was met
    """

    sentence: Ints
    mention: Ints
    first: Ints
    last: Ints
    label: Ints
    score: Floats
    p_span: Floats
    p_label: Floats
    confidence: Floats
    exact: Bools

    def select(self, rows: Numbers) -> ChosenSpans:
        """The spans of these rows, given by number or by mask."""
        columns: list[Any] = [column[rows] for column in self]
        return ChosenSpans(*columns)


def first_opinion(observations: Observations) -> Opinion:
    """What the per-sentence model believes of each mention on its own."""
    projected, absent = independent_posteriors(observations.candidates, observations.score)
    return Opinion(projected, absent, observations.base_label)


class RoundEvidence(NamedTuple):
    """What a round is given: candidate evidence (C, E), label evidence (M, K, L), and the CRF's tags."""

    candidate: Floats
    label: Floats
    tagged: Tagged | None


def gather(observations: Observations, tagged: Tagged | None, settled: Settled | None = None) -> RoundEvidence:
    """The evidence of a round, given the tags that were learned from the round before and what people settled."""
    belief = first_opinion(observations)
    if settled is None:
        sums = sums_elsewhere(observations, belief)
    else:
        sums = sums_elsewhere(
            observations,
            clamped(observations, belief, settled),
            settled.weight,
            settled.loose,
            settled.mention_weight(observations),
        )
    return evidence_from(observations, belief, sums, tagged)


def evidence_from(observations: Observations, belief: Opinion, sums: Sums, tagged: Tagged | None) -> RoundEvidence:
    """The evidence of a round from sums over other sentences, wherever they were counted."""
    tags = None if tagged is None else span_tags(observations, tagged.marginals)
    return RoundEvidence(
        candidate_evidence(observations, sums, tags), label_evidence(observations, belief, sums, tags), tagged
    )


def project_round(
    observations: Observations,
    evidence: RoundEvidence,
    model: RoundModel,
    shift: Shift | None = None,
    only: Bools | None = None,
) -> ChosenSpans:
    """The spans of one round from its evidence and, where people settled some, from what words are worth.

    ``only`` (S,) restricts it to some sentences. Spans that only the CRF found are added where it has tags.
    """
    every = observations.candidates
    wanted = np.ones(len(observations), bool) if only is None else only[observations.sentence]
    mentions, rows = np.flatnonzero(wanted), np.flatnonzero(wanted[every.mention])
    scores_by_set = evidence.candidate[rows] @ model.candidate
    scores = scores_by_set[np.arange(len(rows)), observations.weight_set[every.mention[rows]]]
    if shift is not None:
        scores = scores + shift.candidate[rows]
    scores = in_steps(scores)
    counts = np.diff(every.at)[mentions]
    candidates = Candidates(
        np.repeat(np.arange(len(mentions)), counts), every.first[rows], every.last[rows], borders(counts.tolist())
    )
    probability, picked, exact = solve(candidates, scores)
    is_projected = picked >= 0
    mentions, picked, exact = mentions[is_projected], picked[is_projected], exact[is_projected]
    labels = np.where(
        observations.open[:, None],
        probabilities(label_scores(observations, evidence, model, shift)),
        in_steps(observations.base_label),
    )
    sentence = observations.sentence[mentions]
    start = observations.target_at[sentence]
    p_span, p_label = probability[picked], labels.max(axis=1)[mentions]
    projected = ChosenSpans(
        sentence=sentence,
        mention=mentions,
        first=candidates.first[picked] - start,
        last=candidates.last[picked] - start,
        label=labels.argmax(axis=1)[mentions],
        score=scores[picked],
        p_span=p_span,
        p_label=p_label,
        confidence=calibrated_confidence(p_span, p_label, observations.weight_set[mentions], model.calibration),
        exact=exact,
    )
    if evidence.tagged is None:
        return projected
    added = added_spans(observations, projected, evidence.tagged, only)
    numbers = model.added[observations.caseless[added.sentence] * 1]
    odds = numbers[:, 0] + numbers[:, 1] * logit(added.p_span)
    if shift is not None:
        odds = odds + _text_effects(observations, added, shift)
    return _without_overlaps(projected, added._replace(confidence=1.0 / (1.0 + np.exp(-odds))))


def text_of(observations: Observations, chosen: ChosenSpans) -> list[str]:
    """The folded text of each span."""
    texts = observations.texts
    start = observations.target_at[chosen.sentence]
    rows = zip((start + chosen.first).tolist(), (start + chosen.last).tolist(), strict=True)
    return [" ".join(texts[word] for word in observations.word[first:last].tolist()) for first, last in rows]


def with_answers(chosen: ChosenSpans, answers: NameAnswers) -> ChosenSpans:
    """The spans with what people said of single ones in place of what was found of their mentions."""
    settled = set(answers.mention[answers.mention >= 0].tolist())
    spans = zip(answers.sentence.tolist(), answers.first.tolist(), answers.last.tolist(), strict=True)
    of_tagger = {span for span, mention in zip(spans, answers.mention.tolist(), strict=True) if mention < 0}
    rows = zip(chosen.sentence.tolist(), chosen.first.tolist(), chosen.last.tolist(), strict=True)
    keep = [
        mention not in settled and span not in of_tagger
        for span, mention in zip(rows, chosen.mention.tolist(), strict=True)
    ]
    entities = NameAnswers(*(column[answers.label >= 0] for column in answers))
    sure = np.full(len(entities.label), ANSWERED)
    confirmed = ChosenSpans(
        sentence=entities.sentence,
        mention=entities.mention,
        first=entities.first,
        last=entities.last,
        label=entities.label,
        score=logit(sure),
        p_span=sure,
        p_label=sure,
        confidence=sure,
        exact=np.ones(len(sure), bool),
    )
    return _without_overlaps(chosen.select(np.array(keep, bool)), confirmed)


def _text_effects(observations: Observations, added: ChosenSpans, shift: Shift) -> Floats:
    codes = [observations.code_of(text) for text in text_of(observations, added)]
    return np.array([shift.text[code] if code >= 0 else 0.0 for code in codes])


def label_scores(
    observations: Observations, evidence: RoundEvidence, model: RoundModel, shift: Shift | None = None
) -> Floats:
    """(M, K) what speaks for each label of each mention: log P(label) up to a constant, where it may change."""
    caseless = observations.caseless[observations.sentence] * 1
    scores: Floats = (evidence.label @ model.label)[np.arange(len(caseless)), :, caseless]
    return scores if shift is None else scores + shift.label


def probabilities(scores: Floats) -> Floats:
    """(n, K) softmax of scores, in steps that are the same on every machine."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
    return in_steps(powers / powers.sum(axis=1, keepdims=True))


def in_steps(values: Floats) -> Floats:
    """Values in steps that no order of summands changes, nor a machine's last digit."""
    result: Floats = np.rint(values * _ROUND) / _ROUND
    return result


def added_spans(
    observations: Observations, projected: ChosenSpans, tagged: Tagged, only: Bools | None = None
) -> ChosenSpans:
    """Spans of the CRF that meet no projection of at least TAKEN confidence; their own confidence is still 0.

    ``only`` (S,) restricts it to some sentences. Where a person gave the source entities nothing is added: they
    are complete, and hardly any such span is right.
    """
    taken: dict[int, set[int]] = {}
    rows = zip(projected.sentence, projected.first, projected.last, projected.confidence, strict=True)
    for sentence, first, last, sureness in rows:
        if sureness >= TAKEN:
            taken.setdefault(int(sentence), set()).update(range(first, last))
    places = {label: place for place, label in enumerate(observations.labels)}
    added: list[tuple[int, int, int, int, float]] = []
    for number, (marginal, tags) in enumerate(zip(tagged.marginals, tagged.best, strict=True)):
        if marginal is None or not observations.incomplete[number] or not (only is None or only[number]):
            continue
        for first, last, label in decode(tags):
            if taken.get(number, set()).isdisjoint(range(first, last)):
                probability = span_probability(marginal, first, last)[places[label]]
                added.append((number, first, last, places[label], float(probability)))
    table = np.array([row[:4] for row in added], np.int64).reshape(-1, 4)
    p_span = np.array([row[4] for row in added], np.float64)
    return ChosenSpans(
        sentence=table[:, 0],
        mention=np.full(len(p_span), -1),
        first=table[:, 1],
        last=table[:, 2],
        label=table[:, 3],
        score=logit(p_span),
        p_span=p_span,
        p_label=np.ones(len(p_span)),
        confidence=0.0 * p_span,
        exact=np.ones(len(p_span), bool),
    )


def _without_overlaps(projected: ChosenSpans, added: ChosenSpans) -> ChosenSpans:
    """Both together; where they meet, the choice with the larger sum of confidences."""
    columns: list[Any] = [np.concatenate(pair) for pair in zip(projected, added, strict=True)]
    merged = ChosenSpans(*columns)
    order = np.lexsort((merged.first, merged.sentence))
    merged = merged.select(order)
    keep = np.ones(len(order), bool)
    # Positions over the whole corpus, so that spans of different sentences lie apart.
    last = merged.last + merged.sentence * (int(merged.last.max(initial=0)) + 1)
    first = merged.first + merged.sentence * (int(merged.last.max(initial=0)) + 1)
    if len(order) > 1:
        apart = first[1:] >= np.maximum.accumulate(last)[:-1]
        for group in np.split(np.arange(len(order)), np.flatnonzero(apart) + 1):
            if len(group) > 1:
                spans = zip(merged.confidence[group], merged.first[group], merged.last[group], strict=True)
                choices, proven = match([[(float(sureness), int(i), int(j))] for sureness, i, j in spans])
                keep[group] = [choice >= 0 for choice in choices]
                merged.exact[group] &= proven
    return merged.select(keep)


def iob2_of_confident_spans(
    observations: Observations, chosen: ChosenSpans, gold: Gold | None = None
) -> list[list[str]]:
    """IOB2 tags of every sentence by the spans of at least SILVER confidence, or by what people settled in it."""
    spans: list[list[TokenSpan]] = [[] for _ in observations.instances]
    for row in np.flatnonzero(chosen.confidence >= SILVER).tolist():
        label = observations.labels[chosen.label[row]]
        spans[chosen.sentence[row]].append((int(chosen.first[row]), int(chosen.last[row]), label))
    for number, settled in (gold or {}).items():
        spans[number] = list(settled)
    return [
        encode(sentence_spans, len(instance.target))
        for sentence_spans, instance in zip(spans, observations.instances, strict=True)
    ]


def tag_silver(observations: Observations, chosen: ChosenSpans, gold: Gold | None = None) -> Tagged | None:
    """Out-of-fold tags by a CRF trained on the chosen spans, and on what people settled, REPEATS times over; None
    for a corpus too small for that."""
    words = [instance.target.words() for instance in observations.instances]
    repeats = [REPEATS if gold and number in gold else 1 for number in range(len(words))]
    tags = iob2_of_confident_spans(observations, chosen, gold)
    return tag_out_of_fold(words, tags, observations.labels, repeats)
