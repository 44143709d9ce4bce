"""Fitting the gazetteer of what people settled to the sentences that they reviewed.

c of :mod:`corpus.gazetteer` has a Gaussian prior around what other languages teach. A reviewed sentence has
matches of what people marked in others, and they are judged by numbers that were fitted without its fold.
"""

from __future__ import annotations

import numpy as np

from xner_label.projection.corpus.evidence import Observations
from xner_label.projection.corpus.gazetteer import (
    NUMBERS,
    Gazetteer,
    Matches,
    entries_of,
    match_probability,
    matches,
    with_matches,
)
from xner_label.projection.corpus.out_of_fold_tagger import Tagged
from xner_label.projection.corpus.rounds import ChosenSpans
from xner_label.projection.corpus.settled import Gold, NameAnswers, Settled
from xner_label.projection.fitting.chance import FOLDS
from xner_label.projection.fitting.optimisation import logistic, minimise
from xner_label.projection.loglinear.columns import Bools, Floats, Ints

# What the prior is centred on: all matches of Luganda and Setswana after 50, 100, 200 and 500 reviewed sentences.
POOLED = (-0.25, 0.95, 0.8, 1.8, 2.25, -0.9, -2.7, -1.2, -0.3)
_PRECISION = np.full(NUMBERS, 10.0)


def with_learned_gazetteer(
    observations: Observations,
    chosen: ChosenSpans,
    tagged: Tagged | None,
    settled: Settled,
    gold: Gold,
    answers: NameAnswers | None,
    fold: Ints,
) -> tuple[Gazetteer, ChosenSpans]:
    """The gazetteer of ``gold`` and of answers about names, and the spans with its matches.

    ``fold`` (S,) is that of each sentence.
    """
    entries = entries_of(observations, settled, gold, answers)
    matched = matches(observations, entries, chosen, tagged, settled, gold)
    if answers is not None:
        matched = matched.select(_contradicts_none(matched, chosen, answers))
    right = _right(observations, matched, gold)
    reviewed = settled.reviewed[matched.sentence]
    centre, of_match = np.array(POOLED), fold[matched.sentence]

    def fit(rows: Bools) -> Floats:
        return minimise(logistic(matched.signals[rows], right[rows]), centre, _PRECISION)

    every = fit(reviewed)
    by_fold = np.array([fit(reviewed & (of_match != which)) for which in range(FOLDS)])
    numbers = np.where(reviewed[:, None], by_fold[of_match], every)
    gazetteer = Gazetteer(entries, tuple(round(value, 5) for value in every.tolist()))
    return gazetteer, with_matches(chosen, matched, match_probability(matched.signals, numbers))


def _contradicts_none(matched: Matches, chosen: ChosenSpans, answers: NameAnswers) -> Bools:
    """(n,) whether a match leaves what answers about names settled as it is, of which ``chosen`` are the spans."""
    mentions = set(answers.mention[answers.mention >= 0].tolist())
    places = set(
        zip(*(column.tolist() for column in (answers.sentence, answers.first, answers.last)), strict=True)
    )
    spans = zip(*(column.tolist() for column in (matched.sentence, matched.first, matched.last)), strict=True)
    settled = [
        int(chosen.mention[row]) in mentions
        or (int(chosen.sentence[row]), int(chosen.first[row]), int(chosen.last[row])) in places
        for row in range(len(chosen.sentence))
    ]
    return np.array(
        [
            mention not in mentions and span not in places and not any(settled[row] for row in replaced)
            for mention, span, replaced in zip(matched.mention.tolist(), spans, matched.replaced, strict=True)
        ],
        bool,
    )


def _right(observations: Observations, matched: Matches, gold: Gold) -> Bools:
    """(n,) whether people settled the place of each match so."""
    rows = zip(
        *(column.tolist() for column in (matched.sentence, matched.first, matched.last, matched.label)),
        strict=True,
    )
    marked = {number: set(spans) for number, spans in gold.items()}
    return np.array(
        [
            (first, last, observations.labels[label]) in marked.get(number, ())
            for number, first, last, label in rows
        ],
        bool,
    )
