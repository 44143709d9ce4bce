"""Learning the rounds of corpus mode from whole corpora whose target entities are known.

The per-sentence model that a sentence's evidence rests on is fitted on the other folds of each corpus, so that it
is no surer of what it has seen than it will be of a new language's sentences. Otherwise as in :mod:`fitting`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.projection.corpus.consistency import (
    NO_WEIGHTS,
    Elsewhere,
    confidence_signals,
    consistent_with,
    counted_spans,
    elsewhere_in_corpus,
    relabelled,
)
from xner_label.projection.corpus.evidence import EVIDENCE, LABEL_EVIDENCE, Observations
from xner_label.projection.corpus.out_of_fold_tagger import Tagged
from xner_label.projection.corpus.rounds import (
    ChosenSpans,
    RoundEvidence,
    RoundModel,
    gather,
    label_scores,
    project_round,
    tag_silver,
)
from xner_label.projection.corpus.settled import settle
from xner_label.projection.fitting.consistency import (
    NamedSpans,
    fit_confidence_worth,
    fit_label_worth,
    rounded,
)
from xner_label.projection.fitting.examples import Example
from xner_label.projection.fitting.optimisation import best_cut, logistic, minimise, scale, span_likelihood
from xner_label.projection.fitting.sentence_weights import IDENTITY, MIN_MENTIONS, Files
from xner_label.projection.loglinear.columns import GIVEN, OVERLOOKED, TAGGED, Bools, Floats, Ints
from xner_label.projection.loglinear.model import Model, logit
from xner_label.projection.loglinear.weights_file import (
    Calibration,
    ConsistencyWeights,
    Round,
    SecondStage,
    Weights,
)

ROUNDS = 3
# Precisions of the Gaussian priors.
SHARED, DIFFERENCE, LABEL = 50.0, 50.0, 5.0
# The calibration of spans that only the CRF finds isn't fitted: where the weights know the language such spans are
# rare and mostly wrong, in a new one frequent and mostly right.
ADDED = (-0.5, 0.8)
# What other sentences are worth, where a tagger found the source entities, in a language that the weights haven't
# seen: means of what 100 and 200 reviewed sentences of Luganda and of Setswana taught. Where the weights know the
# language they know labels without the other sentences, so that a span of such a corpus counts for little.
UNSEEN = ConsistencyWeights((0.35, 0.25, 0.5), (-0.35, 1.0, 0.2, -0.55, 0.45, 0.55, 0.95))
SEEN = 1.0 / 300.0
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

    def right_labels(self, chosen: ChosenSpans) -> tuple[Ints, Ints]:
        """Which spans are entities, and the places of their labels, where the mention's label may change."""
        behind = np.flatnonzero(chosen.mention >= 0)
        rows, labels = [], []
        for row in behind[self.observations.open[chosen.mention[behind]]].tolist():
            span = int(chosen.first[row]), int(chosen.last[row])
            label = self.gold[int(chosen.sentence[row])].get(span)
            if label in self.observations.labels:
                rows.append(row)
                labels.append(self.observations.labels.index(label))
        return np.array(rows, np.int64), np.array(labels, np.int64)


def fit_rounds(
    files: Files,
    weights: Weights,
    models: Sequence[Model],
    folds: Sequence[Sequence[int]],
    *,
    simulated: Files = (),
    kept: Sequence[Round] = (),
    second_stage: bool = True,
) -> Weights:
    """``weights`` with the rounds of corpus mode, fitted on whole corpora, one a file. With ``kept`` rounds only
    what comes after the last of these is fitted.

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
        rounds.append(kept[number] if kept else _fit_round(corpora, evidence))
        if number + 1 < ROUNDS:
            model = RoundModel(rounds[-1])
            tagged = [
                tag_silver(
                    corpus.observations,
                    project_round(corpus.observations, signals, model),
                )
                for corpus, signals in zip(corpora, evidence, strict=True)
            ]
    if second_stage:
        rounds[-1] = fit_second_stage(corpora, evidence, rounds[-1])
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
    outcomes = []
    for place in real:
        corpus, signals = corpora[place], evidence[place]
        chosen = project_round(corpus.observations, signals, RoundModel(weights))
        outcomes.append((corpus, chosen))
    return _with_cut(weights, outcomes)


def _with_cut(weights: Round, projected: Sequence[tuple[_LabelledCorpus, ChosenSpans]]) -> Round:
    outcomes = [(chosen.confidence, corpus.judge(chosen), corpus.entities) for corpus, chosen in projected]
    return msgspec.structs.replace(weights, cut=best_cut(outcomes))


class _Told(NamedTuple):
    """The spans of a corpus by the last round, what its other sentences say of them, and log P(l | m) (M, K)."""

    corpus: _LabelledCorpus
    evidence: RoundEvidence
    chosen: ChosenSpans
    elsewhere: Elsewhere
    label_scores: Floats

    @property
    def is_tagged(self) -> Bools:
        """(n,) whether a tagger found the source entities of each span's sentence."""
        result: Bools = np.array(self.corpus.observations.incomplete, bool)[self.chosen.sentence]
        return result


def fit_second_stage(corpora: Sequence[_LabelledCorpus], evidence: Sequence[RoundEvidence], last: Round) -> Round:
    """The last round with the numbers of what comes after it (:mod:`corpus.consistency`), and with its cut.

    What other sentences say is what was projected there: gold only judges. Simulated taggers teach nothing here.
    """
    model = RoundModel(last)
    told = []
    for corpus, signals in zip(corpora, evidence, strict=True):
        if corpus.simulated:
            continue
        observations = corpus.observations
        chosen = project_round(observations, signals, model)
        spans = counted_spans(observations, chosen, settle(observations, {}), {})
        elsewhere = elsewhere_in_corpus(observations, spans, chosen)
        told.append(_Told(corpus, signals, chosen, elsewhere, label_scores(observations, signals, model)))
    given = _fit_stage(told, last, NO_WEIGHTS, 1.0, tagged=False)
    tagged = _fit_stage(told, last, UNSEEN, SEEN, tagged=True)
    last = msgspec.structs.replace(last, consistency=SecondStage(given, tagged))
    after = [
        (
            each.corpus,
            consistent_with(
                each.corpus.observations, each.evidence, last, each.chosen, each.label_scores, each.elsewhere
            ),
        )
        for each in told
    ]
    return _with_cut(last, after)


def _fit_stage(
    told: Sequence[_Told], last: Round, prior: ConsistencyWeights, worth_of_span: float, *, tagged: bool
) -> ConsistencyWeights:
    """g and c of sentences whose source entities a tagger found, or of those where they were given."""
    named = []
    for each in told:
        rows, label = each.corpus.right_labels(each.chosen)
        of_kind = each.is_tagged[rows] == tagged
        rows, label = rows[of_kind], label[of_kind]
        scores = each.label_scores[each.chosen.mention[rows]]
        named.append(NamedSpans(scores, each.elsewhere.mean_odds[:, rows], label))
    worth = fit_label_worth(named, np.array(prior.label), worth_of_span)
    signals: list[Floats] = [np.zeros((0, len(prior.confidence)))]
    right: list[Bools] = [np.zeros(0, bool)]
    calibration = RoundModel(last).calibration
    for each in told:
        chosen, kept = each.chosen, each.is_tagged == tagged
        of_spans = np.tile(worth, (len(chosen.label), 1))
        chosen = relabelled(
            each.corpus.observations, chosen, each.label_scores, each.elsewhere, of_spans, calibration
        )
        signals.append(confidence_signals(chosen, each.elsewhere, each.evidence.tagged)[kept])
        right.append(each.corpus.judge(chosen)[kept])
    numbers = fit_confidence_worth(
        np.concatenate(signals), np.concatenate(right), np.array(prior.confidence), worth_of_span
    )
    return rounded(worth, numbers)


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
