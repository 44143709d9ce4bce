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
from xner_label.projection.loglinear.columns import GIVEN, OVERLOOKED, TAGGED, Bools, Floats, Ints, Vocabulary
from xner_label.projection.loglinear.decoding import solve
from xner_label.projection.loglinear.features import (
    CANDIDATE_FEATURES,
    MENTION_FEATURES,
    TAGGED_CANDIDATE_FEATURES,
    TAGGED_MENTION_FEATURES,
)
from xner_label.projection.loglinear.label_regression import BUCKETS, label_observations
from xner_label.projection.loglinear.mentions import is_tagged, matched_mentions
from xner_label.projection.loglinear.model import BATCH, Batch, Model, confidence, logit
from xner_label.projection.loglinear.weights_file import LabelWeights, ScoreWeights, Weights

# Precisions of the Gaussian priors, for standardised features.
SHARED, DIFFERENCE, LABEL = 20.0, 80.0, 20.0
# The score that the prior is centred on where no earlier weights are given.
_START = {"dice": 6.0, "edges": 1.0}
_START_BIAS = 3.0
IDENTITY = (0.0, 1.0, 1.0)
# What a mention whose label is hidden counts in the label regression, which also serves names without a label.
BLIND = 0.3
MIN_MENTIONS = 20
# Calibration and cut come from sentences that the scores weren't fitted on.
FOLDS = 3

Files = Sequence[Sequence[Example]]


class _Lesson:
    """One batch of examples with what is right in it.

    gold: (C,) label of the gold entity on the candidate's span, "" without one; simulated: whether the tagger is
    """

    def __init__(self, examples: Sequence[Example], vocabulary: Vocabulary, simulated: bool) -> None:
        self.simulated = simulated
        matched = [matched_mentions(own.instance, overlooked=is_tagged(own.instance)) for own in examples]
        self.batch = Batch([instance for instance, _ in matched], vocabulary)
        columns, found = self.batch.columns, self.batch.found
        spans = [{(first, last): label for first, last, label in example.gold} for example in examples]
        sentence = columns.sentence[found.mention]
        start = columns.target_at[sentence]
        self.gold = [
            spans[number].get(span, "")
            for number, span in zip(
                sentence.tolist(),
                zip((found.first - start).tolist(), (found.last - start).tolist(), strict=True),
                strict=True,
            )
        ]

    def right(self, known: Sequence[str]) -> Bools:
        """(C,) the right spans; where the label regression has no say, their label must be right, too."""
        columns, mention = self.batch.columns, self.batch.found.mention
        open_ = self.batch.relabelled(known)[mention].tolist()
        own = columns.label[mention].tolist()
        return np.array(
            [
                bool(gold) and (free or gold == columns.labels[label])
                for gold, free, label in zip(self.gold, open_, own, strict=True)
            ],
            bool,
        )


def _lessons(files: Files, simulated: Files) -> list[list[list[_Lesson]]]:
    """Per file, the simulated ones last, and fold."""
    vocabulary = Vocabulary()
    result = []
    for number, examples in enumerate((*files, *simulated)):
        folds: list[list[Example]] = [[] for _ in range(FOLDS)]
        for fold, example in zip(fold_of(len(examples)), examples, strict=True):
            if example.instance.mentions and len(example.instance.target):
                folds[fold].append(example)
        copy = number >= len(files)
        batches = [[own[at : at + BATCH] for at in range(0, len(own), BATCH)] for own in folds]
        result.append([[_Lesson(batch, vocabulary, copy) for batch in own] for own in batches])
    return result


def fit_weights(files: Files, fitted_on: str, *, start: Weights | None = None, simulated: Files = ()) -> Weights:
    """Fit all weights on the examples of one or more files.

    ``fitted_on`` is kept in the weights for people to read. ``start``: weights that the prior is centred on, so
    that a little gold adapts them. ``simulated``: files with a simulated tagger, which teach nothing about given
    source entities nor where to cut. Raises UsageError for fewer than MIN_MENTIONS source entities.
    """
    mentions = sum(len(example.instance.mentions) for examples in files for example in examples)
    if mentions < MIN_MENTIONS:
        raise UsageError(
            f"{mentions} source entities are too few to fit weights on",
            hint=f"give at least {MIN_MENTIONS}, with gold in `entities`",
        )
    lessons = _lessons(files, simulated)
    weights = _fit([part for own in lessons for part in own], fitted_on, start)
    models = _fold_models(lessons, start)
    outcomes = [[_outcomes(own[fold], models[fold]) for fold in range(FOLDS)] for own in lessons]
    judged = [_Outcomes(*map(np.concatenate, zip(*own, strict=True))) for own in outcomes]
    weights = _calibrated(weights, judged, start)
    gold = [sum(len(example.gold) for example in examples) for examples in files]
    return _with_cut(weights, judged[: len(files)], gold)


def fold_models(files: Files, simulated: Files) -> list[Model]:
    """For each of FOLDS runs of lines of each file (see :func:`fold_of`) a model fitted on the others."""
    return _fold_models(_lessons(files, simulated), None)


def fold_of(count: int) -> list[int]:
    """The fold of each of ``count`` lines: FOLDS runs of equal length."""
    return [number * FOLDS // count for number in range(count)]


def _fold_models(lessons: Sequence[Sequence[list[_Lesson]]], start: Weights | None) -> list[Model]:
    return [
        Model(_fit([part for own in lessons for fold, part in enumerate(own) if fold != left_out], "", start))
        for left_out in range(FOLDS)
    ]


def _fit(parts: Iterable[Sequence[_Lesson]], fitted_on: str, start: Weights | None) -> Weights:
    """Scores and labels, as yet without calibration and cut."""
    lessons = [lesson for part in parts for lesson in part]
    label = _fit_labels(lessons, start)
    real = [lesson for lesson in lessons if not lesson.simulated]
    given, tagged, overlooked = _fit_spans(real, label.labels, start)
    if len(real) < len(lessons):
        _, tagged, overlooked = _fit_spans(lessons, label.labels, start)
    return Weights(fitted_on=fitted_on, given=given, tagged=tagged, overlooked=overlooked, label=label, cut=0.0)


def _fit_spans(
    lessons: Sequence[_Lesson], known: Sequence[str], start: Weights | None
) -> tuple[ScoreWeights, ScoreWeights, ScoreWeights]:
    own = np.concatenate([lesson.batch.features.candidate for lesson in lessons])
    null = np.concatenate([lesson.batch.features.mention for lesson in lessons])
    counts = [len(lesson.batch.columns.size) for lesson in lessons]
    shifts = np.cumsum([0, *counts])
    mention = np.concatenate(
        [lesson.batch.found.mention + at for lesson, at in zip(lessons, shifts, strict=False)]
    )
    kind = np.concatenate([lesson.batch.columns.kind for lesson in lessons])
    right = np.concatenate([lesson.right(known) for lesson in lessons])
    own_deviation, null_deviation = scale(own), scale(null)
    shared_own = np.array([name not in TAGGED_CANDIDATE_FEATURES for name in CANDIDATE_FEATURES])
    shared_null = np.array([name not in TAGGED_MENTION_FEATURES for name in MENTION_FEATURES])
    centre = _centre(start, own_deviation, null_deviation)
    precision = np.concatenate(
        [
            np.where(shared_own, SHARED, np.inf),
            np.where(shared_null, SHARED, np.inf),
            np.where(shared_own, DIFFERENCE, SHARED),
            np.where(shared_null, DIFFERENCE, SHARED),
            np.full(own.shape[1] + null.shape[1], DIFFERENCE),
        ]
    )
    objective = _span_objective(own / own_deviation, null / null_deviation, mention, kind, right)
    found = minimise(objective, centre, precision).reshape(3, -1).cumsum(axis=0)
    w, u = found[:, : own.shape[1]] / own_deviation, found[:, own.shape[1] :] / null_deviation
    return _named(w[GIVEN], u[GIVEN]), _named(w[TAGGED], u[TAGGED]), _named(w[OVERLOOKED], u[OVERLOOKED])


def _span_objective(own: Floats, null: Floats, mention: Ints, kind: Ints, right: Bools) -> Objective:
    """Negative log-likelihood and gradient in (w, u) of given mentions, what tagged ones add to them, and what
    overlooked ones add to those."""
    columns = own.shape[1]
    reached = np.stack([kind >= least for least in (GIVEN, TAGGED, OVERLOOKED)]) * 1.0
    reached_own = reached[:, mention]
    likelihood = span_likelihood(mention, right, len(null))

    def objective(theta: Floats) -> tuple[float, Floats]:
        parts = theta.reshape(3, -1)
        score = (reached_own * (own @ parts[:, :columns].T).T).sum(axis=0)
        absent = (reached * (null @ parts[:, columns:].T).T).sum(axis=0)
        value, slope, slope_absent = likelihood(score, absent)
        return value, np.hstack([(reached_own * slope) @ own, (reached * slope_absent) @ null]).ravel()

    return objective


def _fit_labels(lessons: Sequence[_Lesson], start: Weights | None) -> LabelWeights:
    """The label regression from tagged mentions with a right span."""
    pairs = [(lesson, number, gold) for lesson in lessons for number, gold in _gold_labels(lesson)]
    if not pairs:
        return start.label if start is not None else LabelWeights((), {})
    labels = (
        start.label.labels if start is not None and start.label.weights else tuple(sorted({p[2] for p in pairs}))
    )
    pairs = [pair for pair in pairs if pair[2] in labels]
    chosen = [[number for other, number, _ in pairs if other is lesson] for lesson in lessons]
    observed = np.concatenate(
        [
            label_observations(lesson.batch.columns, labels, blind=blind)[own]
            for blind in (False, True)
            for lesson, own in zip(lessons, chosen, strict=True)
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
    found = minimise(objective, centre, np.full(len(centre), LABEL))
    table = np.round(found.reshape(BUCKETS, -1), 3)
    filled = np.flatnonzero(table.any(axis=1))
    return LabelWeights(labels, dict(zip(filled.tolist(), table[filled].tolist(), strict=True)))


def _gold_labels(lesson: _Lesson) -> Iterator[tuple[int, str]]:
    """(mention, gold label) of the tagged mentions that have a right candidate."""
    last = -1
    tagged = lesson.batch.columns.scored
    for mention, gold in zip(lesson.batch.found.mention.tolist(), lesson.gold, strict=True):
        if gold and mention != last and tagged[mention]:
            last = mention
            yield mention, gold


class _Outcomes(NamedTuple):
    """Per projection, without a cut: P(span), P(label), kind of mention, whether exactly right; all (n,)."""

    span: Floats
    label: Floats
    kind: Ints
    right: Bools


def _outcomes(lessons: Iterable[_Lesson], model: Model) -> _Outcomes:
    parts = [_Outcomes(np.zeros(0), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, bool))]
    for lesson in lessons:
        batch = lesson.batch
        probability, chosen, _ = solve(batch.found, batch.log_odds(model))
        names, label = batch.labels(model)
        mentions = np.flatnonzero(chosen >= 0)
        picked = chosen[mentions]
        right = np.array([lesson.gold[c] == names[m] for m, c in zip(mentions, picked, strict=True)], bool)
        parts.append(_Outcomes(probability[picked], label[mentions], batch.columns.kind[mentions], right))
    return _Outcomes(*map(np.concatenate, zip(*parts, strict=True)))


def _calibrated(weights: Weights, outcomes: Sequence[_Outcomes], start: Weights | None) -> Weights:
    """The calibration of each kind of mention; that of ``start`` where there are too few of them."""
    span, label, kind, right = (np.concatenate(column) for column in zip(*outcomes, strict=True))
    changed = {}
    for name, number in (("given", GIVEN), ("tagged", TAGGED), ("overlooked", OVERLOOKED)):
        own = kind == number
        numbers = IDENTITY if start is None else getattr(start, name).calibration
        if own.sum() >= MIN_MENTIONS:
            signals = np.column_stack([np.ones(own.sum()), logit(span[own]), logit(label[own])])
            if name == "given":
                signals[:, 2] = 0.0
            found = minimise(logistic(signals, right[own]), np.array(numbers), np.array([0.1, 1.0, 1.0]))
            numbers = tuple(round(float(number), 6) for number in found)
        changed[name] = msgspec.structs.replace(getattr(weights, name), calibration=numbers)
    return msgspec.structs.replace(weights, **changed)


def _with_cut(weights: Weights, outcomes: Sequence[_Outcomes], gold: Sequence[int]) -> Weights:
    model = Model(weights)
    judged = [
        (confidence(own.span, own.label, own.kind, model), own.right, entities)
        for own, entities in zip(outcomes, gold, strict=True)
    ]
    return msgspec.structs.replace(weights, cut=best_cut(judged))


def _centre(start: Weights | None, own_deviation: Floats, null_deviation: Floats) -> Floats:
    """The centre of the prior for the weights as in :func:`_span_objective`, for standardised features."""
    if start is None:
        w = np.array([_START.get(name, 0.0) for name in CANDIDATE_FEATURES])
        u = np.array([_START_BIAS if name == "bias" else 0.0 for name in MENTION_FEATURES])
        return np.concatenate([w * own_deviation, u * null_deviation, np.zeros(2 * (len(w) + len(u)))])
    model = Model(start)
    every = np.hstack([model.candidate.T * own_deviation, model.mention.T * null_deviation])
    return np.diff(every, axis=0, prepend=0.0).ravel()


def _named(own: Floats, null: Floats) -> ScoreWeights:
    return ScoreWeights(
        {name: round(float(value), 4) for name, value in zip(CANDIDATE_FEATURES, own, strict=True) if value},
        {name: round(float(value), 4) for name, value in zip(MENTION_FEATURES, null, strict=True) if value},
        IDENTITY,
    )
