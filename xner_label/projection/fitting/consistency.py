"""Fitting the second stage, consistency across a corpus, to what people settled in it.

g and c of :mod:`corpus.consistency` have Gaussian priors around what they were in other languages, or where a
person gave the source entities around what changes nothing. They are fitted to the reviewed sentences, and used as
far as sentences left out become likelier (:mod:`chance`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xner_label.projection.corpus.consistency import (
    KEYS,
    SUREST,
    UNCHANGED,
    Consistency,
    CountedSpans,
    Elsewhere,
    confidence_signals,
    elsewhere_in_corpus,
    relabelled,
    sums_by_key,
    surer,
)
from xner_label.projection.corpus.evidence import Observations
from xner_label.projection.corpus.out_of_fold_tagger import Tagged
from xner_label.projection.corpus.rounds import ChosenSpans, text_of
from xner_label.projection.corpus.settled import Gold, Settled
from xner_label.projection.fitting.chance import FOLDS, STRENGTHS, best_strength
from xner_label.projection.fitting.optimisation import logistic, minimise
from xner_label.projection.loglinear.columns import Bools, Floats, Ints
from xner_label.projection.loglinear.model import logit

# Precisions of the Gaussian priors of g, of which words by themselves are worth less than whole texts, and of c.
LABEL = (2.0, 10.0, 10.0)
CONFIDENCE = (2.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0)
# What they are centred on where a tagger found the source entities: means of what 100 and 200 reviewed sentences
# of Luganda and of Setswana teach, rounded.
POOLED_LABEL = (0.35, 0.25, 0.5)
POOLED_CONFIDENCE = (-0.35, 1.0, 0.2, -0.55, 0.45, 0.55, 0.95)


def consistent(
    observations: Observations,
    chosen: ChosenSpans,
    label_scores: Floats,
    tagged: Tagged | None,
    settled: Settled,
    gold: Gold,
    calibration: Floats,
    fold: Ints,
    *,
    few: bool,
) -> tuple[Consistency | None, ChosenSpans]:
    """The second stage fitted to the reviewed sentences, and the spans by it; None where it changes nothing.

    With ``few`` answers it is that of other languages, unless sentences left out become likelier beyond chance.

    ``label_scores`` (M, K) and ``chosen`` know nothing of a reviewed sentence's own answer; neither do its spans
    after the second stage, which are those of numbers that were fitted to the other folds, ``fold`` (S,).
    """
    spans = counted_spans(observations, chosen, settled, gold)
    elsewhere = elsewhere_in_corpus(observations, spans, chosen)
    fold_of = fold[chosen.sentence]
    reviewed = settled.reviewed[chosen.sentence]
    worth, of_label = _fit_labels(observations, chosen, label_scores, settled, elsewhere, fold, few=few)
    chosen = relabelled(observations, chosen, label_scores, elsewhere, worth, calibration)
    signals = confidence_signals(chosen, elsewhere, tagged)
    right = _right(observations, chosen, settled, gold)
    unchanged = np.array(UNCHANGED)
    centre = np.array(POOLED_CONFIDENCE) if any(observations.incomplete) else unchanged

    def fit(rows: Bools) -> Floats:
        return minimise(logistic(signals[rows], right[rows]), centre, np.array(CONFIDENCE))

    def losses(numbers: Floats, rows: Bools) -> Floats:
        odds = signals[rows] @ numbers
        lost: Floats = np.logaddexp(0.0, np.where(right[rows], -odds, odds))
        return lost

    every, by_fold = _cross_fitted(fit, losses, centre, unchanged, reviewed, fold_of, chosen.sentence, few=few)
    numbers = np.where(reviewed[:, None], by_fold[fold_of], every)
    if not np.array_equal(every, unchanged):
        chosen = surer(chosen, signals, numbers)
    elif not of_label.any():
        return None, chosen
    return (
        Consistency(
            observations.labels,
            sums_by_key(observations, spans),
            tuple(round(value, 5) for value in of_label.tolist()),
            tuple(round(value, 5) for value in every.tolist()),
        ),
        chosen,
    )


def counted_spans(observations: Observations, chosen: ChosenSpans, settled: Settled, gold: Gold) -> CountedSpans:
    """The spans of a corpus as they speak for others: what people settled is certain, entities that were projected
    nowhere count, too."""
    known = settled.reviewed[chosen.sentence]
    behind = chosen.mention >= 0
    known[behind] |= settled.answered[chosen.mention[behind]]
    right = _right(observations, chosen, settled, gold)
    odds = np.where(known, np.where(right, SUREST, -SUREST), np.clip(logit(chosen.confidence), -SUREST, SUREST))
    probability = np.where(known, right * 1.0, chosen.confidence)
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


def _right(observations: Observations, chosen: ChosenSpans, settled: Settled, gold: Gold) -> Bools:
    """(n,) whether people settled each span exactly so."""
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


def _fit_labels(
    observations: Observations,
    chosen: ChosenSpans,
    label_scores: Floats,
    settled: Settled,
    elsewhere: Elsewhere,
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
    centre = np.array(POOLED_LABEL) if any(observations.incomplete) else unchanged
    scores = np.zeros_like(odds[0])
    scores[behind] = label_scores[mention]
    gold = np.zeros(len(learned), np.int64)
    gold[behind] = np.maximum(settled.label[mention], 0)

    def losses(worth: Floats, rows: Bools) -> Floats:
        total = scores[rows] + np.tensordot(worth, odds[:, rows], 1)
        peak = total.max(axis=1, initial=-np.inf)
        lost: Floats = np.log(np.exp(total - peak[:, None]).sum(axis=1)) + peak
        lost -= total[np.arange(len(total)), gold[rows]]
        return lost

    def fit(rows: Bools) -> Floats:
        at = np.arange(int(rows.sum()))

        def objective(worth: Floats) -> tuple[float, Floats]:
            total = scores[rows] + np.tensordot(worth, odds[:, rows], 1)
            total = np.exp(total - total.max(axis=1, keepdims=True, initial=-np.inf))
            total /= total.sum(axis=1, keepdims=True)
            total[at, gold[rows]] -= 1.0
            return float(losses(worth, rows).sum()), np.einsum("nl,knl->k", total, odds[:, rows])

        return minimise(objective, centre, np.array(LABEL))

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
