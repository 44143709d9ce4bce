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

g and c are those of the weights file's last round, for sentences whose entities a tagger found and for those where
they were given, with capitals and without; answers make them the project's own (:mod:`fitting.consistency`). Where
the file has none there is no second stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from xner_label.projection.corpus.evidence import Observations, span_probability
from xner_label.projection.corpus.out_of_fold_tagger import Tagged
from xner_label.projection.corpus.rounds import (
    ChosenSpans,
    RoundEvidence,
    RoundModel,
    in_steps,
    label_scores,
    probabilities,
    text_of,
)
from xner_label.projection.corpus.settled import Gold, Settled, settle
from xner_label.projection.loglinear.columns import Bools, Floats, Ints
from xner_label.projection.loglinear.model import calibrated_confidence, logit
from xner_label.projection.loglinear.weights_file import ConsistencyWeights, Round

Key = TypeVar("Key", str, int)

# The log-odds of other spans are held within these bounds, those that people settled lie on them.
SUREST = 4.0
# What spans are alike in.
KEYS = ("text", "first", "last")
# The numbers of the confidence that leave it as it is: bias, its own log-odds, tagger, rivals, one for each key.
UNCHANGED = (0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
NO_WEIGHTS = ConsistencyWeights((0.0, 0.0, 0.0), UNCHANGED)


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


class SpokenSums(msgspec.Struct, frozen=True):
    """What the spans of a corpus say, for sentences that come later: for each of KEYS, by folded text or word, the
    counts of each of ``labels``, their sums of log-odds and their sums of probabilities, one after the other."""

    labels: tuple[str, ...]
    by_key: tuple[dict[str, list[float]], ...]

    @classmethod
    def of(cls, observations: Observations, spans: CountedSpans) -> SpokenSums:
        """The sums of these spans."""
        values = (np.ones(len(spans.label)), spans.odds, spans.probability)
        count, tables = len(observations.labels), []
        for keys in _keys(spans.text):
            code, codes = _coded(keys)
            sums = [_by_label(code, spans.label, value, len(codes), count) for value in values]
            tables.append(dict(zip(codes, np.round(np.hstack(sums), 3).tolist(), strict=True)))
        return cls(observations.labels, tuple(tables))

    def elsewhere(self, observations: Observations, texts: Sequence[str]) -> Elsewhere:
        """What is known of spans, by their folded texts, of sentences that weren't counted."""
        nothing = [0.0] * (3 * len(self.labels))
        result = np.zeros((3, len(KEYS), len(texts), len(observations.labels)))
        for number, (sums, keys) in enumerate(zip(self.by_key, _keys(texts), strict=True)):
            table = np.array([sums.get(key, nothing) for key in keys], np.float64)
            table = table.reshape(len(texts), 3, len(self.labels))
            for place, label in enumerate(self.labels):
                if label in observations.labels:
                    result[:, number, :, observations.labels.index(label)] = table[:, :, place].T
        return Elsewhere(*result)


def counted_spans(observations: Observations, chosen: ChosenSpans, settled: Settled, gold: Gold) -> CountedSpans:
    """The spans of a corpus as they speak for others: what people settled is certain, entities that were projected
    nowhere count, too."""
    known = settled.reviewed[chosen.sentence]
    behind = chosen.mention >= 0
    known[behind] |= settled.answered[chosen.mention[behind]]
    right = counts_as_right(observations, chosen, settled, gold)
    odds = np.where(known, np.where(right, SUREST, -SUREST), np.clip(logit(chosen.confidence), -SUREST, SUREST))
    # in steps, so that their sums don't depend on the order of the sentences
    odds, probability = in_steps(odds), in_steps(np.where(known, right * 1.0, chosen.confidence))
    rows = set(
        zip(
            *(column.tolist() for column in (chosen.sentence, chosen.first, chosen.last, chosen.label)),
            strict=True,
        )
    )
    places = {label: place for place, label in enumerate(observations.labels)}
    texts = text_of(observations, chosen)
    missed = []
    for number, entities in gold.items():
        start = int(observations.target_at[number])
        for first, last, label in entities:
            if (number, first, last, places[label]) not in rows:
                missed.append((number, places[label]))
                words = observations.word[start + first : start + last].tolist()
                texts.append(" ".join(observations.texts[word] for word in words))
    table = np.array(missed, np.int64).reshape(-1, 2)
    return CountedSpans(
        np.concatenate([chosen.sentence, table[:, 0]]),
        texts,
        np.concatenate([chosen.label, table[:, 1]]),
        np.concatenate([odds, np.full(len(table), SUREST)]),
        np.concatenate([probability, np.ones(len(table))]),
    )


def counts_as_right(observations: Observations, chosen: ChosenSpans, settled: Settled, gold: Gold) -> Bools:
    """(n,) whether people settled each span exactly so, in its sentence or by an answer about its name."""
    right = judge(observations, chosen, gold)
    rows = np.flatnonzero(chosen.mention >= 0)
    rows = rows[settled.answered[chosen.mention[rows]]]
    mention = chosen.mention[rows]
    candidate = settled.candidate[mention]
    start = observations.target_at[chosen.sentence[rows]]
    right[rows] = (
        (candidate >= 0)
        & (observations.candidates.first[candidate] - start == chosen.first[rows])
        & (observations.candidates.last[candidate] - start == chosen.last[rows])
        & (settled.label[mention] == chosen.label[rows])
    )
    return right


def judge(observations: Observations, chosen: ChosenSpans, gold: Gold) -> Bools:
    """(n,) whether each span is exactly what people settled."""
    settled = {number: set(spans) for number, spans in gold.items()}
    rows = zip(
        *(column.tolist() for column in (chosen.sentence, chosen.first, chosen.last, chosen.label)), strict=True
    )
    return np.array(
        [
            (first, last, observations.labels[label]) in settled.get(number, ())
            for number, first, last, label in rows
        ],
        bool,
    )


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


def weights_of_sentences(observations: Observations, weights: Round, sentence: Ints) -> tuple[Floats, Floats]:
    """g (n, KEYS) and c (n, len(UNCHANGED)) of a round for spans of these sentences (n,)."""
    kinds: list[ConsistencyWeights] = []
    for each in (weights, weights.caseless or weights):
        stage = each.consistency
        kinds += [(stage.given if stage else None) or NO_WEIGHTS, (stage.tagged if stage else None) or NO_WEIGHTS]
    kind = np.array(observations.incomplete, bool)[sentence] + 2 * observations.caseless[sentence]
    label, confidence = np.array([each.label for each in kinds]), np.array([each.confidence for each in kinds])
    return label[kind], confidence[kind]


def has_second_stage(observations: Observations, weights: Round) -> bool:
    """Whether a round of the weights file is followed by a second stage in some sentence of a corpus."""
    every = np.arange(len(observations.instances))
    worth, numbers = weights_of_sentences(observations, weights, every)
    return bool(worth.any() or (numbers != np.array(UNCHANGED)).any())


def consistent_with(
    observations: Observations,
    evidence: RoundEvidence,
    weights: Round,
    chosen: ChosenSpans,
    label_scores: Floats,
    elsewhere: Elsewhere,
) -> ChosenSpans:
    """The spans of a round after the second stage with the round's numbers, as they are where it has none.

    ``label_scores`` (M, K) are the round's log P(l | m) up to a constant.
    """
    worth, numbers = weights_of_sentences(observations, weights, chosen.sentence)
    calibration = RoundModel(weights).calibration
    chosen = relabelled(observations, chosen, label_scores, elsewhere, worth, calibration)
    return surer(chosen, confidence_signals(chosen, elsewhere, evidence.tagged), numbers)


def consistent_in_corpus(
    observations: Observations, evidence: RoundEvidence, weights: Round, chosen: ChosenSpans
) -> ChosenSpans:
    """The spans of a corpus in which nobody has settled anything, after the second stage."""
    if not has_second_stage(observations, weights):
        return chosen
    spans = counted_spans(observations, chosen, settle(observations, {}), {})
    elsewhere = elsewhere_in_corpus(observations, spans, chosen)
    scores = label_scores(observations, evidence, RoundModel(weights))
    return consistent_with(observations, evidence, weights, chosen, scores, elsewhere)


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
    odds = in_steps((signals * numbers).sum(axis=1))
    changed = (numbers != np.array(UNCHANGED)).any(axis=-1)
    return chosen._replace(confidence=np.where(changed, 1.0 / (1.0 + np.exp(-odds)), chosen.confidence))


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
