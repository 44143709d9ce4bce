"""Fitting the second stage, consistency across a corpus, to what people settled in it.

g and c of :mod:`corpus.consistency` have Gaussian priors around those of the weights file. They are fitted to the
reviewed sentences, and used as far as sentences left out become likelier (:mod:`chance`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.projection.corpus.consistency import (
    KEYS,
    NO_WEIGHTS,
    UNCHANGED,
    Elsewhere,
    SpokenSums,
    confidence_signals,
    counted_spans,
    counts_as_right,
    elsewhere_in_corpus,
    relabelled,
    surer,
)
from xner_label.projection.corpus.evidence import Observations
from xner_label.projection.corpus.out_of_fold_tagger import Tagged
from xner_label.projection.corpus.rounds import ChosenSpans, RoundModel
from xner_label.projection.corpus.settled import Gold, Settled
from xner_label.projection.fitting.chance import FOLDS, STRENGTHS, best_strength
from xner_label.projection.fitting.optimisation import logistic, minimise
from xner_label.projection.loglinear.columns import Bools, Floats, Ints
from xner_label.projection.loglinear.weights_file import ConsistencyWeights, Round, SecondStage

# Precisions of the Gaussian priors of g, of which words by themselves are worth less than whole texts, and of c.
LABEL = (2.0, 10.0, 10.0)
CONFIDENCE = (2.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0)


def consistent(
    observations: Observations,
    chosen: ChosenSpans,
    label_scores: Floats,
    tagged: Tagged | None,
    settled: Settled,
    gold: Gold,
    weights: Round,
    fold: Ints,
    *,
    few: bool,
) -> tuple[Round, SpokenSums | None, ChosenSpans]:
    """``weights`` with a second stage fitted to the reviewed sentences, what its spans say there, and the spans by
    it; None, and a round without it, where it changes nothing.

    With ``few`` answers it is that of ``weights``, unless sentences left out become likelier beyond chance.

    ``label_scores`` (M, K) and ``chosen`` know nothing of a reviewed sentence's own answer; neither do its spans
    after the second stage, which are those of numbers that were fitted to the other folds, ``fold`` (S,).
    """
    spans = counted_spans(observations, chosen, settled, gold)
    elsewhere = elsewhere_in_corpus(observations, spans, chosen)
    fold_of = fold[chosen.sentence]
    reviewed = settled.reviewed[chosen.sentence]
    stage = weights.consistency or SecondStage()
    usual = (stage.tagged if any(observations.incomplete) else stage.given) or NO_WEIGHTS
    worth, of_label = _fit_labels(
        observations, chosen, label_scores, settled, elsewhere, np.array(usual.label), fold, few=few
    )
    calibration = RoundModel(weights).calibration
    chosen = relabelled(observations, chosen, label_scores, elsewhere, worth, calibration)
    signals = confidence_signals(chosen, elsewhere, tagged)
    right = counts_as_right(observations, chosen, settled, gold)
    unchanged, centre = np.array(UNCHANGED), np.array(usual.confidence)

    def fit(rows: Bools) -> Floats:
        return fit_confidence_worth(signals[rows], right[rows], centre)

    def losses(numbers: Floats, rows: Bools) -> Floats:
        odds = signals[rows] @ numbers
        lost: Floats = np.logaddexp(0.0, np.where(right[rows], -odds, odds))
        return lost

    every, by_fold = _cross_fitted(fit, losses, centre, unchanged, reviewed, fold_of, chosen.sentence, few=few)
    numbers = np.where(reviewed[:, None], by_fold[fold_of], every)
    if not np.array_equal(every, unchanged):
        chosen = surer(chosen, signals, numbers)
    elif not of_label.any():
        return with_stage(weights, None), None, chosen
    return with_stage(weights, rounded(of_label, every)), SpokenSums.of(observations, spans), chosen


class NamedSpans(NamedTuple):
    """Spans whose right labels are known: log P(l | m) up to a constant (n, K), the mean log-odds of spans like
    them elsewhere (KEYS, n, K), and the right labels' places (n,)."""

    scores: Floats
    odds: Floats
    gold: Ints


def fit_label_worth(corpora: Sequence[NamedSpans], centre: Floats, worth_of_span: float = 1.0) -> Floats:
    """g, fitted to the spans of corpora, each with labels of its own; its prior is centred on ``centre``."""

    def objective(worth: Floats) -> tuple[float, Floats]:
        value, slope = 0.0, np.zeros(len(worth))
        for spans in corpora:
            total = spans.scores + np.tensordot(worth, spans.odds, 1)
            total = np.exp(total - total.max(axis=1, keepdims=True, initial=-np.inf))
            total /= total.sum(axis=1, keepdims=True)
            total[np.arange(len(total)), spans.gold] -= 1.0
            value += float(_label_losses(worth, spans).sum())
            slope += np.einsum("nl,knl->k", total, spans.odds)
        return value, slope

    return minimise(objective, centre, np.array(LABEL) / worth_of_span)


def fit_confidence_worth(signals: Floats, right: Bools, centre: Floats, worth_of_span: float = 1.0) -> Floats:
    """c, fitted to spans with :func:`confidence_signals` (n, d) and whether each is right (n,)."""
    return minimise(logistic(signals, right), centre, np.array(CONFIDENCE) / worth_of_span)


def _label_losses(worth: Floats, spans: NamedSpans) -> Floats:
    """(n,) the negative log-likelihood of each right label."""
    total = spans.scores + np.tensordot(worth, spans.odds, 1)
    peak = total.max(axis=1, initial=-np.inf)
    lost: Floats = np.log(np.exp(total - peak[:, None]).sum(axis=1)) + peak
    lost -= total[np.arange(len(total)), spans.gold]
    return lost


def rounded(label: Floats, confidence: Floats) -> ConsistencyWeights:
    """g and c as a weights file holds them."""
    g, c = (np.round(numbers, 5).tolist() for numbers in (label, confidence))
    return ConsistencyWeights((g[0], g[1], g[2]), (c[0], c[1], c[2], c[3], c[4], c[5], c[6]))


def with_stage(weights: Round, numbers: ConsistencyWeights | None) -> Round:
    """A round with these numbers for every sentence, or without a second stage."""
    stage = msgspec.UNSET if numbers is None else SecondStage(numbers, numbers)
    caseless = weights.caseless
    if caseless is not None:
        caseless = msgspec.structs.replace(caseless, consistency=stage)
    return msgspec.structs.replace(weights, consistency=stage, caseless=caseless)


def _fit_labels(
    observations: Observations,
    chosen: ChosenSpans,
    label_scores: Floats,
    settled: Settled,
    elsewhere: Elsewhere,
    centre: Floats,
    fold: Ints,
    *,
    few: bool,
) -> tuple[Floats, Floats]:
    """g for each span (n, KEYS), and that of the sentences nobody reviewed (KEYS,)."""
    behind = np.flatnonzero(chosen.mention >= 0)
    mention = chosen.mention[behind]
    judged = (
        settled.reviewed[chosen.sentence[behind]] & observations.open[mention] & (settled.candidate[mention] >= 0)
    )
    learned = np.zeros(len(chosen.mention), bool)
    learned[behind[judged]] = True
    unchanged, odds = np.zeros(len(KEYS)), elsewhere.mean_odds
    scores = np.zeros_like(odds[0])
    scores[behind] = label_scores[mention]
    gold = np.zeros(len(learned), np.int64)
    gold[behind] = np.maximum(settled.label[mention], 0)

    def select(rows: Bools) -> NamedSpans:
        return NamedSpans(scores[rows], odds[:, rows], gold[rows])

    def losses(worth: Floats, rows: Bools) -> Floats:
        return _label_losses(worth, select(rows))

    def fit(rows: Bools) -> Floats:
        return fit_label_worth([select(rows)], centre)

    fold_of = fold[chosen.sentence]
    every, by_fold = _cross_fitted(fit, losses, centre, unchanged, learned, fold_of, chosen.sentence, few=few)
    return np.where(settled.reviewed[chosen.sentence][:, None], by_fold[fold_of], every), every


def _cross_fitted(
    fit: Callable[[Bools], Floats],
    losses: Callable[[Floats, Bools], Floats],
    centre: Floats,
    unchanged: Floats,
    learned: Bools,
    fold: Ints,
    sentence: Ints,
    *,
    few: bool,
) -> tuple[Floats, Floats]:
    """The numbers fitted to all rows that are learned from (d,), and those fitted to the rows of other folds
    (FOLDS, d), both as far from ``centre`` as rows left out become likelier. Where enough answers say that these
    would be likelier still with the numbers that leave everything ``unchanged``, those."""
    by_fold = np.array([fit(learned & (fold != which)) for which in range(FOLDS)])
    size = int(sentence.max(initial=0)) + 1
    lost, lost_unchanged = np.zeros((len(STRENGTHS), size)), 0.0
    for which, fitted in enumerate(by_fold):
        rows = learned & (fold == which)
        for place, strength in enumerate(STRENGTHS):
            numbers = centre + strength * (fitted - centre)
            lost[place] += np.bincount(sentence[rows], losses(numbers, rows), size)
        lost_unchanged += float(losses(unchanged, rows).sum())
    strength = best_strength(lost[:, np.unique(sentence[learned])], few=few)
    if not few and lost_unchanged < lost[STRENGTHS.index(strength)].sum():
        return unchanged, np.tile(unchanged, (FOLDS, 1))
    every = fit(learned) if strength else centre
    return centre + strength * (every - centre), centre + strength * (by_fold - centre)
