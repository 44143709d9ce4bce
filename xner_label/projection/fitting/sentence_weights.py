"""Learning the weights of :mod:`loglinear` from tasks whose target entities are known.

Spans: the marginal likelihood of "some right candidate" (or "not projected" where none is right), each mention on
its own, with a Gaussian prior around a hand-set link-Dice score or around weights fitted before. Weights of tagged
mentions are those of given ones plus a difference of their own, which the prior holds smaller (Daumé III 2007);
those of overlooked ones are those of tagged ones plus another.
Labels: the likelihood of the gold label of tagged mentions whose span is right. Calibration: logistic regression
of "exactly right" on the log-odds of both. All by L-BFGS from a fixed start: the same data, the same weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.errors import UsageError
from xner_label.projection.fitting.examples import Example
from xner_label.projection.fitting.optimisation import (
    Objective,
    best_cut,
    logistic,
    minimise,
    scale,
    span_likelihood,
)
from xner_label.projection.loglinear.columns import (
    GIVEN,
    KINDS,
    OVERLOOKED,
    TAGGED,
    Bools,
    Floats,
    Ints,
    Vocabulary,
)
from xner_label.projection.loglinear.decoding import solve
from xner_label.projection.loglinear.features import (
    CANDIDATE_FEATURES,
    MENTION_FEATURES,
    TAGGED_CANDIDATE_FEATURES,
    TAGGED_MENTION_FEATURES,
)
from xner_label.projection.loglinear.label_regression import BUCKETS, label_observations
from xner_label.projection.loglinear.mentions import is_tagged, matched_mentions
from xner_label.projection.loglinear.model import BATCH, Model, SentenceBatch, calibrated_confidence, logit
from xner_label.projection.loglinear.weights_file import LabelWeights, ScoreWeights, Weights
from xner_label.wording import counted

# Precisions of the Gaussian priors, for standardised features.
SHARED, DIFFERENCE, LABEL = 20.0, 80.0, 20.0
# The score that the prior is centred on where no earlier weights are given.
_START = {"dice": 6.0, "edges": 1.0}
_START_BIAS = 3.0
IDENTITY = (0.0, 1.0, 1.0)
# What a mention whose label is hidden counts in the label regression, which also serves names without a label.
BLIND = 0.3
MIN_MENTIONS = 20
# What a sentence counts beside the prior where languages are balanced: sentences of few languages, and copies of
# one text, say less of a new language than their number suggests. Chosen on languages left out.
ALIKE = 0.2
_LEAST_SENTENCES = 100.0
# Calibration and cut come from sentences that the scores weren't fitted on.
FOLDS = 3

Files = Sequence[Sequence[Example]]


class _LabelledBatch:
    """One batch of examples with what is right in it.

    gold: (C,) label of the gold entity on the candidate's span, "" without one; simulated: whether the source
    entities are those of a simulated tagger; worth: what each of them counts
    """

    def __init__(self, examples: Sequence[Example], vocabulary: Vocabulary, simulated: bool, worth: float) -> None:
        self.simulated, self.worth = simulated, worth
        matched = [
            matched_mentions(example.instance, overlooked=is_tagged(example.instance)) for example in examples
        ]
        self.batch = SentenceBatch([instance for instance, _ in matched], vocabulary)
        columns, candidates = self.batch.columns, self.batch.candidates
        spans = [{(first, last): label for first, last, label in example.gold} for example in examples]
        sentence = columns.sentence[candidates.mention]
        start = columns.target_at[sentence]
        self.gold = [
            spans[number].get(span, "")
            for number, span in zip(
                sentence.tolist(),
                zip((candidates.first - start).tolist(), (candidates.last - start).tolist(), strict=True),
                strict=True,
            )
        ]

    def right(self, known: Sequence[str]) -> Bools:
        """(C,) the right spans; where the label regression has no say, their label must be right, too."""
        columns, mention = self.batch.columns, self.batch.candidates.mention
        changeable = self.batch.relabelled(known)[mention].tolist()
        labels = columns.label[mention].tolist()
        return np.array(
            [
                bool(gold) and (is_changeable or gold == columns.labels[label])
                for gold, is_changeable, label in zip(self.gold, changeable, labels, strict=True)
            ],
            bool,
        )


class CrossFit(NamedTuple):
    """What judges each example without having learned from it.

    folds: for each file, those of a simulated tagger last, the fold of each example; models: that of each fold
    """

    folds: Sequence[Sequence[int]]
    models: Sequence[Model]


def cross_fit(
    files: Files,
    simulated: Files = (),
    *,
    start: Weights | None = None,
    worth: Sequence[float] | None = None,
) -> CrossFit:
    """Fit a model for each fold, on the others; see :func:`fit_weights`."""
    by_file = _labelled_batches(files, simulated, worth)
    folds = [fold_of(len(examples)) for examples in (*files, *simulated)]
    return CrossFit(folds, _fold_models(by_file, start))


def fold_of(count: int) -> list[int]:
    """The fold of each of ``count`` lines: FOLDS runs of equal length."""
    return [number * FOLDS // count for number in range(count)]


def balanced_worth(files: Files) -> list[float]:
    """What a sentence of each file should count, ALIKE in the mean: less the more there are of its language.

    It falls with the square root of their number, so that a language of ten times the data counts three times as
    much, and those of less than a hundred sentences count by number alone. Files that share a target text are of
    one language.
    """
    texts = [{example.instance.target.text for example in examples} for examples in files]
    language = list(range(len(files)))
    for number, sentences in enumerate(texts):
        for other in range(number):
            if not sentences.isdisjoint(texts[other]):
                merged = {language[number], language[other]}
                language = [min(merged) if value in merged else value for value in language]
    counts = np.array([len(examples) for examples in files], float)
    total = np.maximum(np.bincount(language, counts, len(files)), _LEAST_SENTENCES)
    worth = 1.0 / np.sqrt(total[language])
    worth *= ALIKE * counts.sum() / np.sum(worth * counts)
    return [float(value) for value in worth]


def _labelled_batches(
    files: Files, simulated: Files, worth: Sequence[float] | None
) -> list[list[list[_LabelledBatch]]]:
    """The batches of each file, the simulated ones last, and of each of its folds."""
    vocabulary = Vocabulary()
    result = []
    for number, examples in enumerate((*files, *simulated)):
        folds: list[list[Example]] = [[] for _ in range(FOLDS)]
        for fold, example in zip(fold_of(len(examples)), examples, strict=True):
            if example.instance.mentions and len(example.instance.target):
                folds[fold].append(example)
        is_simulated = number >= len(files)
        counts = 1.0 if worth is None else worth[number]
        result.append(
            [
                [
                    _LabelledBatch(in_fold[at : at + BATCH], vocabulary, is_simulated, counts)
                    for at in range(0, len(in_fold), BATCH)
                ]
                for in_fold in folds
            ]
        )
    return result


def fit_weights(
    files: Files,
    fitted_on: str,
    *,
    start: Weights | None = None,
    simulated: Files = (),
    worth: Sequence[float] | None = None,
    cross: CrossFit | None = None,
) -> Weights:
    """Fit all weights on the examples of one or more files.

    ``fitted_on`` is kept in the weights for people to read. ``start``: weights that the prior is centred on, so
    that a little gold adapts them. ``simulated``: files with a simulated tagger, which teach nothing about given
    source entities nor where to cut. ``worth``: what each sentence of a file counts, simulated files last; 1 when
    None. ``cross`` judges the examples for calibration and cut; fitted when None. Raises UsageError for fewer than
    MIN_MENTIONS source entities.
    """
    mentions = sum(len(example.instance.mentions) for examples in files for example in examples)
    if mentions < MIN_MENTIONS:
        raise UsageError(
            f"{counted(mentions, 'source entity is', 'source entities are')} too few to fit weights on",
            hint=f"give at least {MIN_MENTIONS}, with gold in `entities`",
        )
    by_file = _labelled_batches(files, simulated, worth)
    weights = _fit([in_fold for folds in by_file for in_fold in folds], fitted_on, start)
    models = _fold_models(by_file, start) if cross is None else cross.models
    judged = [
        _joined([_outcomes(in_fold, model) for in_fold, model in zip(folds, models, strict=True)])
        for folds in by_file
    ]
    weights = _calibrated(weights, judged, start)
    gold = [sum(len(example.gold) for example in examples) for examples in files]
    return _with_cut(weights, judged[: len(files)], gold)


def _fold_models(by_file: Sequence[Sequence[list[_LabelledBatch]]], start: Weights | None) -> list[Model]:
    return [
        Model(
            _fit(
                [in_fold for folds in by_file for fold, in_fold in enumerate(folds) if fold != left_out], "", start
            )
        )
        for left_out in range(FOLDS)
    ]


def _fit(folds: Iterable[Sequence[_LabelledBatch]], fitted_on: str, start: Weights | None) -> Weights:
    """Scores and labels, as yet without calibration and cut."""
    batches = [batch for in_fold in folds for batch in in_fold]
    label = _fit_labels(batches, start)
    real = [batch for batch in batches if not batch.simulated]
    given, tagged, overlooked = _fit_spans(real, label.labels, start)
    if len(real) < len(batches):
        _, tagged, overlooked = _fit_spans(batches, label.labels, start)
    return Weights(fitted_on=fitted_on, given=given, tagged=tagged, overlooked=overlooked, label=label, cut=0.0)


def _fit_spans(
    batches: Sequence[_LabelledBatch], known: Sequence[str], start: Weights | None
) -> tuple[ScoreWeights, ScoreWeights, ScoreWeights]:
    of_candidate = np.concatenate([labelled.batch.features.candidate for labelled in batches])
    of_mention = np.concatenate([labelled.batch.features.mention for labelled in batches])
    counts = [len(labelled.batch.columns.size) for labelled in batches]
    shifts = np.cumsum([0, *counts])
    mention = np.concatenate(
        [labelled.batch.candidates.mention + at for labelled, at in zip(batches, shifts, strict=False)]
    )
    kind = np.concatenate([labelled.batch.columns.kind for labelled in batches])
    right = np.concatenate([labelled.right(known) for labelled in batches])
    candidate_deviation, mention_deviation = scale(of_candidate), scale(of_mention)
    shared_candidate = np.array([name not in TAGGED_CANDIDATE_FEATURES for name in CANDIDATE_FEATURES])
    shared_mention = np.array([name not in TAGGED_MENTION_FEATURES for name in MENTION_FEATURES])
    centre = _centre(start, candidate_deviation, mention_deviation)
    precision = np.concatenate(
        [
            np.where(shared_candidate, SHARED, np.inf),
            np.where(shared_mention, SHARED, np.inf),
            np.where(shared_candidate, DIFFERENCE, SHARED),
            np.where(shared_mention, DIFFERENCE, SHARED),
            np.full(of_candidate.shape[1] + of_mention.shape[1], DIFFERENCE),
        ]
    )
    worth = np.repeat([labelled.worth for labelled in batches], counts)
    objective = _span_objective(
        of_candidate / candidate_deviation, of_mention / mention_deviation, mention, kind, right, worth
    )
    fitted = minimise(objective, centre, precision).reshape(3, -1).cumsum(axis=0)
    w, u = (
        fitted[:, : of_candidate.shape[1]] / candidate_deviation,
        fitted[:, of_candidate.shape[1] :] / mention_deviation,
    )
    return _named(w[GIVEN], u[GIVEN]), _named(w[TAGGED], u[TAGGED]), _named(w[OVERLOOKED], u[OVERLOOKED])


def _span_objective(
    of_candidate: Floats, of_mention: Floats, mention: Ints, kind: Ints, right: Bools, worth: Floats
) -> Objective:
    """Negative log-likelihood and gradient in (w, u) of given mentions, what tagged ones add to them, and what
    overlooked ones add to those."""
    columns = of_candidate.shape[1]
    order = np.argsort(kind[mention], kind="stable")
    of_candidate, mention, right = of_candidate[order], mention[order], right[order]
    at = np.searchsorted(kind[mention], range(KINDS + 1))
    ranges = [slice(first, last) for first, last in pairwise(at.tolist())]
    masks = [kind == each for each in range(KINDS)]
    likelihood = span_likelihood(mention, right, len(of_mention), worth)

    def objective(theta: Floats) -> tuple[float, Floats]:
        by_kind = theta.reshape(KINDS, -1).cumsum(axis=0)
        w, u = by_kind[:, :columns], by_kind[:, columns:]
        score = np.concatenate([of_candidate[rows] @ weights for rows, weights in zip(ranges, w, strict=True)])
        absent = np.zeros(len(of_mention))
        for mask, weights in zip(masks, u, strict=True):
            absent[mask] = of_mention[mask] @ weights
        value, slope, slope_absent = likelihood(score, absent)
        gradient = [
            np.concatenate([slope[rows] @ of_candidate[rows], (slope_absent * mask) @ of_mention])
            for rows, mask in zip(ranges, masks, strict=True)
        ]
        return value, np.cumsum(gradient[::-1], axis=0)[::-1].ravel()

    return objective


def _fit_labels(batches: Sequence[_LabelledBatch], start: Weights | None) -> LabelWeights:
    """The label regression from tagged mentions with a right span."""
    pairs = [(labelled, number, gold) for labelled in batches for number, gold in _gold_labels(labelled)]
    if not pairs:
        return start.label if start is not None else LabelWeights((), {})
    labels = (
        start.label.labels if start is not None and start.label.weights else tuple(sorted({p[2] for p in pairs}))
    )
    pairs = [pair for pair in pairs if pair[2] in labels]
    chosen = [[number for other, number, _ in pairs if other is labelled] for labelled in batches]
    observed = np.concatenate(
        [
            label_observations(labelled.batch.columns, labels, blind=blind)[numbers]
            for blind in (False, True)
            for labelled, numbers in zip(batches, chosen, strict=True)
        ]
    )
    gold = np.array([labels.index(name) for _, _, name in pairs] * 2)
    weight = np.repeat([1.0, BLIND], len(pairs))[:, None]
    from scipy.sparse import csr_array

    rows, places = np.nonzero(observed < BUCKETS)
    hit = csr_array((np.ones(len(rows)), (rows, observed[rows, places])), shape=(len(observed), BUCKETS))
    truth = np.zeros((len(gold), len(labels)))
    truth[np.arange(len(gold)), gold] = 1.0

    def objective(theta: Floats) -> tuple[float, Floats]:
        scores = hit @ theta.reshape(BUCKETS, len(labels))
        scores -= scores.max(axis=1, keepdims=True)
        total = np.log(np.exp(scores).sum(axis=1, keepdims=True))
        value = -float(np.sum(weight * (scores - total) * truth))
        return value, (hit.T @ (weight * (np.exp(scores - total) - truth))).ravel()

    centre = np.zeros(BUCKETS * len(labels))
    if start is not None and start.label.weights:
        centre = start.label.table().ravel()
    fitted = minimise(objective, centre, np.full(len(centre), LABEL))
    table = np.round(fitted.reshape(BUCKETS, -1), 3)
    filled = np.flatnonzero(table.any(axis=1))
    return LabelWeights(labels, dict(zip(filled.tolist(), table[filled].tolist(), strict=True)))


def _gold_labels(labelled: _LabelledBatch) -> Iterator[tuple[int, str]]:
    """(mention, gold label) of the tagged mentions that have a right candidate."""
    last = -1
    tagged = labelled.batch.columns.scored
    for mention, gold in zip(labelled.batch.candidates.mention.tolist(), labelled.gold, strict=True):
        if gold and mention != last and tagged[mention]:
            last = mention
            yield mention, gold


class _Outcomes(NamedTuple):
    """Per projection, without a cut: P(span), P(label), kind of mention, whether exactly right, what it counts;
    all (n,)."""

    p_span: Floats
    p_label: Floats
    kind: Ints
    right: Bools
    worth: Floats


def _outcomes(batches: Iterable[_LabelledBatch], model: Model) -> _Outcomes:
    """What the model makes of batches that it wasn't fitted on."""
    outcomes = [_Outcomes(np.zeros(0), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0))]
    for labelled in batches:
        batch = labelled.batch
        probability, chosen, _ = solve(batch.candidates, batch.log_odds(model))
        names, label = batch.labels(model)
        mentions = np.flatnonzero(chosen >= 0)
        picked = chosen[mentions]
        right = np.array([labelled.gold[c] == names[m] for m, c in zip(mentions, picked, strict=True)], bool)
        worth = np.full(len(mentions), labelled.worth)
        outcomes.append(
            _Outcomes(probability[picked], label[mentions], batch.columns.kind[mentions], right, worth)
        )
    return _joined(outcomes)


def _joined(outcomes: Sequence[_Outcomes]) -> _Outcomes:
    return _Outcomes(*map(np.concatenate, zip(*outcomes, strict=True)))


def _calibrated(weights: Weights, outcomes: Sequence[_Outcomes], start: Weights | None) -> Weights:
    """The calibration of each kind of mention; that of ``start`` where there are too few of them."""
    p_span, p_label, kind, right, worth = _joined(outcomes)
    changed = {}
    for name, number in (("given", GIVEN), ("tagged", TAGGED), ("overlooked", OVERLOOKED)):
        mask = kind == number
        numbers = IDENTITY if start is None else getattr(start, name).calibration
        if mask.sum() >= MIN_MENTIONS:
            signals = np.column_stack([np.ones(mask.sum()), logit(p_span[mask]), logit(p_label[mask])])
            if name == "given":
                signals[:, 2] = 0.0
            fitted = minimise(
                logistic(signals, right[mask], worth[mask]), np.array(numbers), np.array([0.1, 1.0, 1.0])
            )
            numbers = tuple(round(float(number), 6) for number in fitted)
        changed[name] = msgspec.structs.replace(getattr(weights, name), calibration=numbers)
    return msgspec.structs.replace(weights, **changed)


def _with_cut(weights: Weights, outcomes: Sequence[_Outcomes], gold: Sequence[int]) -> Weights:
    calibration = Model(weights).calibration
    judged = [
        (calibrated_confidence(file.p_span, file.p_label, file.kind, calibration), file.right, entities)
        for file, entities in zip(outcomes, gold, strict=True)
    ]
    return msgspec.structs.replace(weights, cut=best_cut(judged))


def _centre(start: Weights | None, candidate_deviation: Floats, mention_deviation: Floats) -> Floats:
    """The centre of the prior for the weights as in :func:`_span_objective`, for standardised features."""
    if start is None:
        w = np.array([_START.get(name, 0.0) for name in CANDIDATE_FEATURES])
        u = np.array([_START_BIAS if name == "bias" else 0.0 for name in MENTION_FEATURES])
        return np.concatenate([w * candidate_deviation, u * mention_deviation, np.zeros(2 * (len(w) + len(u)))])
    model = Model(start)
    weights = np.hstack([model.candidate.T * candidate_deviation, model.mention.T * mention_deviation])[:KINDS]
    return np.diff(weights, axis=0, prepend=0.0).ravel()


def _named(candidate: Floats, mention: Floats) -> ScoreWeights:
    return ScoreWeights(
        {name: round(float(value), 4) for name, value in zip(CANDIDATE_FEATURES, candidate, strict=True) if value},
        {name: round(float(value), 4) for name, value in zip(MENTION_FEATURES, mention, strict=True) if value},
        IDENTITY,
    )
