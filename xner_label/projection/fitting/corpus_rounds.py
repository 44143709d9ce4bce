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
    ChosenSpans,
    RoundEvidence,
    RoundModel,
    gather,
    project_round,
    tag_silver,
)
from xner_label.projection.fitting.examples import Example
from xner_label.projection.fitting.optimisation import best_cut, logistic, minimise, scale, span_likelihood
from xner_label.projection.fitting.sentence_weights import IDENTITY, MIN_MENTIONS, Files
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


class _LabelledCorpus:
    """A corpus and what is right in it: candidates (C,), and the place of each mention's label (M,) or -1."""

    def __init__(
        self, examples: Sequence[Example], models: Sequence[Model], fold: Sequence[int], simulated: bool
    ) -> None:
        self.simulated = simulated
        self.observations = observations = Observations([example.instance for example in examples], models, fold)
        self.gold = [{(first, last): label for first, last, label in example.gold} for example in examples]
        self.entities = sum(len(example.gold) for example in examples)
        mention = observations.candidates.mention
        start = observations.target_at[observations.sentence[mention]]
        spans = zip(
            (observations.candidates.first - start).tolist(),
            (observations.candidates.last - start).tolist(),
            strict=True,
        )
        sentences = observations.sentence[mention].tolist()
        gold = [self.gold[number].get(span, "") for number, span in zip(sentences, spans, strict=True)]
        base_label = observations.base_label.argmax(axis=1)
        self.right: Bools = np.zeros(len(gold), bool)
        self.label: Ints = np.full(len(observations), -1)
        for number, (name, owner) in enumerate(zip(gold, mention.tolist(), strict=True)):
            if name:
                self.right[number] = observations.open[owner] or name == observations.labels[base_label[owner]]
                if observations.open[owner] and name in observations.labels:
                    self.label[owner] = observations.labels.index(name)

    def judge(self, chosen: ChosenSpans) -> Bools:
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
                self.gold[number].get((first, last)) == self.observations.labels[label]
                for number, first, last, label in rows
            ],
            bool,
        )


def fit_rounds(
    files: Files,
    weights: Weights,
    models: Sequence[Model],
    folds: Sequence[Sequence[int]],
    *,
    simulated: Files = (),
) -> Weights:
    """``weights`` with the rounds of corpus mode, fitted on whole corpora, one a file.

    ``models[folds[file][line]]`` (see :func:`cross_fit`), not fitted on the line, is what its evidence rests on;
    ``folds`` has ``simulated`` files last.
    """
    corpora = [
        _LabelledCorpus(examples, models, fold, number >= len(files))
        for number, (examples, fold) in enumerate(zip((*files, *simulated), folds, strict=True))
    ]
    tagged: list[Tagged | None] = [None] * len(corpora)
    rounds: list[Round] = []
    for number in range(ROUNDS):
        evidence = [gather(corpus.observations, tags) for corpus, tags in zip(corpora, tagged, strict=True)]
        rounds.append(_fit_round(corpora, evidence))
        if number + 1 < ROUNDS:
            model = RoundModel(rounds[-1])
            tagged = [
                tag_silver(
                    corpus.observations,
                    project_round(corpus.observations, signals, model),
                )
                for corpus, signals in zip(corpora, evidence, strict=True)
            ]
    return msgspec.structs.replace(weights, rounds=tuple(rounds))


def _fit_round(corpora: Sequence[_LabelledCorpus], evidence: Sequence[RoundEvidence]) -> Round:
    real = [place for place, corpus in enumerate(corpora) if not corpus.simulated]
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
        corpus, signals = corpora[place], evidence[place]
        chosen = project_round(corpus.observations, signals, model)
        outcomes.append((chosen.confidence, corpus.judge(chosen), corpus.entities))
    return msgspec.structs.replace(weights, cut=best_cut(outcomes))


def _fit_candidates(
    corpora: Sequence[_LabelledCorpus], evidence: Sequence[RoundEvidence]
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    signals = np.concatenate([of_corpus.candidate for of_corpus in evidence])
    counts = [len(corpus.observations) for corpus in corpora]
    shifts = np.cumsum([0, *counts])
    mention = np.concatenate(
        [corpus.observations.candidates.mention + at for corpus, at in zip(corpora, shifts, strict=False)]
    )
    kind = np.concatenate([corpus.observations.kind for corpus in corpora])[mention]
    right = np.concatenate([corpus.right for corpus in corpora])
    deviation = scale(signals)
    signals = signals / deviation
    masks = [(kind == each_kind) * 1.0 for each_kind in _KINDS]
    size = signals.shape[1]
    likelihood = span_likelihood(mention, right, int(shifts[-1]))

    def objective(theta: Floats) -> tuple[float, Floats]:
        shared, *differences = np.split(theta, 4)
        score = signals @ shared
        for mask, difference in zip(masks, differences, strict=True):
            score += mask * (signals @ difference)
        value, slope, _ = likelihood(score, np.zeros(int(shifts[-1])))
        return value, np.concatenate([slope @ signals, *((slope * mask) @ signals for mask in masks)])

    centre = np.zeros(4 * size)
    centre[EVIDENCE.index("score")] = 3.0 * deviation[EVIDENCE.index("score")]
    precision = np.concatenate([np.full(size, SHARED), np.full(3 * size, DIFFERENCE)])
    shared, *differences = np.split(minimise(objective, centre, precision), 4)
    given, tagged, overlooked = (
        {name: round(float(x), 4) for name, x in zip(EVIDENCE, (shared + difference) / deviation, strict=True)}
        for difference in differences
    )
    return given, tagged, overlooked


def _fit_labels(corpora: Sequence[_LabelledCorpus], evidence: Sequence[RoundEvidence]) -> dict[str, float]:
    """Weights that all labels share, so that they serve label sets that weren't seen."""
    problems = [
        (signals.label[corpus.label >= 0], corpus.label[corpus.label >= 0])
        for corpus, signals in zip(corpora, evidence, strict=True)
    ]

    def objective(theta: Floats) -> tuple[float, Floats]:
        value, slope = 0.0, np.zeros(len(theta))
        for signals, gold in problems:
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
    fitted = minimise(objective, centre, np.full(len(centre), LABEL))
    return {name: round(float(x), 4) for name, x in zip(LABEL_EVIDENCE, fitted, strict=True)}


def _calibrated(corpora: Sequence[_LabelledCorpus], evidence: Sequence[RoundEvidence], weights: Round) -> Round:
    """Fit the calibration of each kind."""
    model = RoundModel(weights)
    chosen = [
        project_round(corpus.observations, signals._replace(tagged=None), model)
        for corpus, signals in zip(corpora, evidence, strict=True)
    ]
    kind = np.concatenate(
        [corpus.observations.kind[spans.mention] for corpus, spans in zip(corpora, chosen, strict=True)]
    )
    right = np.concatenate([corpus.judge(spans) for corpus, spans in zip(corpora, chosen, strict=True)])
    p_span = np.concatenate([spans.p_span for spans in chosen])
    p_label = np.concatenate([spans.p_label for spans in chosen])
    calibration: list[Calibration] = []
    for each_kind in _KINDS:
        mask = kind == each_kind
        numbers = IDENTITY
        if mask.sum() >= MIN_MENTIONS:
            signals = np.column_stack(
                [np.ones(mask.sum()), logit(p_span[mask]), logit(p_label[mask]) * (each_kind != GIVEN)]
            )
            fitted = minimise(logistic(signals, right[mask]), np.array(IDENTITY), np.array([0.1, 1.0, 1.0]))
            numbers = (round(float(fitted[0]), 6), round(float(fitted[1]), 6), round(float(fitted[2]), 6))
        calibration.append(numbers)
    return msgspec.structs.replace(weights, calibration=tuple(calibration))
