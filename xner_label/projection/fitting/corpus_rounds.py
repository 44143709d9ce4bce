"""Learning the rounds of corpus mode from whole corpora whose target entities are known.

The per-sentence model that a sentence's evidence rests on is fitted on the other folds of each corpus, so that it
is no surer of what it has seen than it will be of a new language's sentences. Otherwise as in :mod:`fitting`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from xner_label.projection.corpus.evidence import EVIDENCE, LABEL_EVIDENCE, Observations
from xner_label.projection.corpus.out_of_fold_tagger import Tagged
from xner_label.projection.corpus.rounds import (
    Chosen,
    RoundEvidence,
    RoundModel,
    gather,
    project_round,
    tag_silver,
)
from xner_label.projection.fitting.examples import Example
from xner_label.projection.fitting.optimisation import best_cut, logistic, minimise, scale, span_likelihood
from xner_label.projection.fitting.sentence_weights import IDENTITY, MIN_MENTIONS, Files, fold_models, fold_of
from xner_label.projection.loglinear.columns import GIVEN, OVERLOOKED, TAGGED, Bools, Floats, Ints
from xner_label.projection.loglinear.model import Model, logit
from xner_label.projection.loglinear.weights_file import Calibration, Round, Weights

ROUNDS = 3
# Precisions of the Gaussian priors.
SHARED, DIFFERENCE, LABEL = 50.0, 50.0, 5.0
# The calibration of spans that only the CRF finds isn't fitted: where the weights know the language such spans are
# rare and mostly wrong, in a new one frequent and mostly right.
ADDED = (-0.5, 0.8)
_KINDS = (GIVEN, TAGGED, OVERLOOKED)


class _Corpus:
    """A corpus and what is right in it: candidates (C,), and the place of each mention's label (M,) or -1."""

    def __init__(self, examples: Sequence[Example], models: Sequence[Model], simulated: bool) -> None:
        fold = fold_of(len(examples))
        self.simulated = simulated
        self.seen = seen = Observations([example.instance for example in examples], models, fold)
        self.gold = [{(first, last): label for first, last, label in example.gold} for example in examples]
        self.entities = sum(len(example.gold) for example in examples)
        mention = seen.found.mention
        start = seen.target_at[seen.sentence[mention]]
        spans = zip((seen.found.first - start).tolist(), (seen.found.last - start).tolist(), strict=True)
        sentences = seen.sentence[mention].tolist()
        gold = [self.gold[number].get(span, "") for number, span in zip(sentences, spans, strict=True)]
        own = seen.base_label.argmax(axis=1)
        self.right: Bools = np.zeros(len(gold), bool)
        self.label: Ints = np.full(len(seen), -1)
        for number, (name, owner) in enumerate(zip(gold, mention.tolist(), strict=True)):
            if name:
                self.right[number] = seen.open[owner] or name == seen.labels[own[owner]]
                if seen.open[owner] and name in seen.labels:
                    self.label[owner] = seen.labels.index(name)

    def judge(self, chosen: Chosen) -> Bools:
        """(n,) whether each span is exactly right."""
        rows = zip(
            chosen.sentence.tolist(),
            chosen.first.tolist(),
            chosen.last.tolist(),
            chosen.label.tolist(),
            strict=True,
        )
        return np.array(
            [
                self.gold[number].get((first, last)) == self.seen.labels[label]
                for number, first, last, label in rows
            ],
            bool,
        )


def fit_rounds(files: Files, weights: Weights, *, simulated: Files = ()) -> Weights:
    """``weights`` with the rounds of corpus mode, fitted on whole corpora, one a file; see :func:`fit_weights`."""
    models = fold_models(files, simulated)
    corpora = [
        _Corpus(examples, models, number >= len(files)) for number, examples in enumerate((*files, *simulated))
    ]
    tagged: list[Tagged | None] = [None] * len(corpora)
    rounds: list[Round] = []
    for number in range(ROUNDS):
        evidence = [gather(own.seen, tags) for own, tags in zip(corpora, tagged, strict=True)]
        rounds.append(_fit_round(corpora, evidence))
        if number + 1 < ROUNDS:
            model = RoundModel(rounds[-1])
            tagged = [
                tag_silver(own.seen, project_round(own.seen, given, model))
                for own, given in zip(corpora, evidence, strict=True)
            ]
    return msgspec.structs.replace(weights, rounds=tuple(rounds))


def _fit_round(corpora: Sequence[_Corpus], evidence: Sequence[RoundEvidence]) -> Round:
    real = [place for place, own in enumerate(corpora) if not own.simulated]
    given, tagged, overlooked = _fit_candidates(
        [corpora[place] for place in real], [evidence[place] for place in real]
    )
    if len(real) < len(corpora):
        _, tagged, overlooked = _fit_candidates(corpora, evidence)
    weights = Round(
        given, tagged, overlooked, _fit_labels(corpora, evidence), (IDENTITY, IDENTITY, IDENTITY), ADDED, 0.0
    )
    weights = _calibrated(corpora, evidence, weights)
    model = RoundModel(weights)
    outcomes = []
    for place in real:
        own, signals = corpora[place], evidence[place]
        chosen = project_round(own.seen, signals, model)
        outcomes.append((chosen.confidence, own.judge(chosen), own.entities))
    return msgspec.structs.replace(weights, cut=best_cut(outcomes))


def _fit_candidates(
    corpora: Sequence[_Corpus], evidence: Sequence[RoundEvidence]
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    signals = np.concatenate([own.candidate for own in evidence])
    counts = [len(own.seen) for own in corpora]
    shifts = np.cumsum([0, *counts])
    mention = np.concatenate([own.seen.found.mention + at for own, at in zip(corpora, shifts, strict=False)])
    kind = np.concatenate([own.seen.kind for own in corpora])[mention]
    right = np.concatenate([own.right for own in corpora])
    deviation = scale(signals)
    signals = signals / deviation
    masks = [(kind == which) * 1.0 for which in _KINDS]
    size = signals.shape[1]
    likelihood = span_likelihood(mention, right, int(shifts[-1]))

    def objective(theta: Floats) -> tuple[float, Floats]:
        shared, *own = np.split(theta, 4)
        score = signals @ shared
        for mask, weights in zip(masks, own, strict=True):
            score += mask * (signals @ weights)
        value, slope, _ = likelihood(score, np.zeros(int(shifts[-1])))
        return value, np.concatenate([slope @ signals, *((slope * mask) @ signals for mask in masks)])

    centre = np.zeros(4 * size)
    centre[EVIDENCE.index("score")] = 3.0 * deviation[EVIDENCE.index("score")]
    precision = np.concatenate([np.full(size, SHARED), np.full(3 * size, DIFFERENCE)])
    shared, *own = np.split(minimise(objective, centre, precision), 4)
    given, tagged, overlooked = (
        {name: round(float(x), 4) for name, x in zip(EVIDENCE, (shared + weights) / deviation, strict=True)}
        for weights in own
    )
    return given, tagged, overlooked


def _fit_labels(corpora: Sequence[_Corpus], evidence: Sequence[RoundEvidence]) -> dict[str, float]:
    """Weights that all labels share, so that they serve label sets that weren't seen."""
    parts = [
        (given.label[own.label >= 0], own.label[own.label >= 0])
        for own, given in zip(corpora, evidence, strict=True)
    ]

    def objective(theta: Floats) -> tuple[float, Floats]:
        value, slope = 0.0, np.zeros(len(theta))
        for signals, gold in parts:
            if len(gold):
                scores = signals @ theta
                scores -= scores.max(axis=1, keepdims=True)
                scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
                value -= float(scores[np.arange(len(gold)), gold].sum())
                share = np.exp(scores)
                share[np.arange(len(gold)), gold] -= 1.0
                slope += np.einsum("mk,mkl->l", share, signals)
        return value, slope

    centre = np.zeros(len(LABEL_EVIDENCE))
    centre[0] = 1.0
    found = minimise(objective, centre, np.full(len(centre), LABEL))
    return {name: round(float(x), 4) for name, x in zip(LABEL_EVIDENCE, found, strict=True)}


def _calibrated(corpora: Sequence[_Corpus], evidence: Sequence[RoundEvidence], weights: Round) -> Round:
    """Fit the calibration of each kind."""
    model = RoundModel(weights)
    chosen = [
        project_round(own.seen, given._replace(tagged=None), model)
        for own, given in zip(corpora, evidence, strict=True)
    ]
    kind = np.concatenate([own.seen.kind[part.mention] for own, part in zip(corpora, chosen, strict=True)])
    right = np.concatenate([own.judge(part) for own, part in zip(corpora, chosen, strict=True)])
    span, named = (np.concatenate([getattr(part, name) for part in chosen]) for name in ("span", "named"))
    calibration: list[Calibration] = []
    for which in _KINDS:
        mask = kind == which
        numbers = IDENTITY
        if mask.sum() >= MIN_MENTIONS:
            signals = np.column_stack(
                [np.ones(mask.sum()), logit(span[mask]), logit(named[mask]) * (which != GIVEN)]
            )
            found = minimise(logistic(signals, right[mask]), np.array(IDENTITY), np.array([0.1, 1.0, 1.0]))
            numbers = (round(float(found[0]), 6), round(float(found[1]), 6), round(float(found[2]), 6))
        calibration.append(numbers)
    return msgspec.structs.replace(weights, calibration=tuple(calibration))
