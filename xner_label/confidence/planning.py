"""What a review is going to find, before it begins, and whether it did.

Expected changes of a task: ratio * doubt + rate * tokens, where doubt is the number of shown entities expected
to be wrong and the rate stands for what isn't shown. Both numbers are fitted to the tasks already reviewed
(weighted least squares with a prior around ratio 1), those answered last the most: what is left at the end of a
review isn't as doubtful sentences were at its beginning. How much more tasks scatter than independent entities
would is estimated there, too, and widens the interval.

A question about a name changes all of its occurrences or none, so that the changes of a name of n occurrences, d
of which are expected to be wrong, are n with a probability of ratio * d / n. The ratio is fitted to the questions
already answered.

What the model will be worth follows F1 = a + b log(gold), which holds for a few doublings (for NER: Radmard et al.
2021, as in ``xner-label curve``), through the model runs there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.confidence.estimates import Interval, in_log_odds
from xner_label.projection.loglinear.columns import Floats

# Prior: every expected error is one, and a missed entity in 100 tokens; standard deviations as large as that.
_PRIOR, _DEVIATION = np.array([1.0, 0.01]), np.array([0.7, 0.015])
# The projection changes between rounds: expectations are off by about so much as a share, beside all chance.
_DRIFT = 0.15
# A reviewed task counts half as much as one that was answered so many tasks later.
_HALF_LIFE = 100.0
# Prior of a name's ratio: answers change 1.0 (Luganda) to 1.6 times (Setswana) what is expected to be wrong.
_NAME_RATIO, _NAME_DEVIATION = 1.2, 0.5
_MOST_LIKELY = 0.95
_DRAWS, _SEED = 4_000, 13
# Prior of b: what F1 gains while the gold grows by a factor of e, give or take; and what a run scatters beside the
# chance of its held-out gold.
_SLOPE, _SLOPE_DEVIATION, _RUN_DEVIATION = 0.015, 0.015, 0.005


class TaskHistory(NamedTuple):
    """Reviewed tasks, all (n,): tokens, doubt as it was without knowing the answers, changes that people
    made, and how many were answered after each (None: all count alike)."""

    tokens: Floats
    doubt: Floats
    changes: Floats
    age: Floats | None = None


class Forecast(msgspec.Struct, frozen=True):
    """``ratio`` changes per expected error and ``rate`` per token; ``covariance`` (2, 2) of both;
    ``dispersion``: variance of a task's changes over their mean."""

    ratio: float
    rate: float
    covariance: list[list[float]]
    dispersion: float

    def changes(self, tokens: Floats, doubt: Floats) -> Floats:
        """(n,) expected changes of tasks."""
        return self.ratio * doubt + self.rate * tokens

    def total(self, tokens: Floats, doubt: Floats, level: float = 0.95) -> Interval:
        """All changes of some tasks together, and the interval for what people will really make."""
        from scipy.stats import norm

        value = float(self.changes(tokens, doubt).sum())
        sums = np.array([doubt.sum(), tokens.sum()])
        fitted = float(sums @ np.array(self.covariance) @ sums)
        variance = fitted + self.dispersion * value + (_DRIFT * value) ** 2
        margin = float(norm.ppf(0.5 + level / 2.0)) * float(np.sqrt(variance))
        return Interval(value, max(value - margin, 0.0), value + margin)


class NameHistory(NamedTuple):
    """Answered questions about names, all (n,): occurrences, how many were expected to be wrong when the question
    was made, and how many the answer changed."""

    occurrences: Floats
    doubt: Floats
    changes: Floats


class NameForecast(msgspec.Struct, frozen=True):
    """``ratio`` changes per occurrence that is expected to be wrong, with its standard ``deviation``, by the
    ``answered`` questions."""

    ratio: float
    deviation: float
    answered: int

    def changes(self, occurrences: Floats, doubt: Floats) -> Floats:
        """(n,) expected changes of questions."""
        return np.minimum(self.ratio * doubt, _MOST_LIKELY * occurrences)

    def total(self, occurrences: Floats, doubt: Floats, level: float = 0.95) -> Interval:
        """All changes of some questions together, and the interval for what answers will really make.

        By draws of the ratio and of each answer: few names with many occurrences make no bell curve."""
        if not len(occurrences):
            return Interval(0.0, 0.0, 0.0)
        generator = np.random.default_rng(_SEED)
        ratio = np.maximum(generator.normal(self.ratio, self.deviation, _DRAWS), 0.02)
        ratio *= np.maximum(generator.normal(1.0, _DRIFT, _DRAWS), 0.1)
        likely = np.minimum(ratio[:, None] * (doubt / np.maximum(occurrences, 1.0))[None, :], _MOST_LIKELY)
        made = (generator.random(likely.shape) < likely) @ occurrences
        low, high = np.quantile(made, [0.5 - level / 2.0, 0.5 + level / 2.0]).tolist()
        value = float(self.changes(occurrences, doubt).sum())
        return Interval(value, min(low, value), max(high, value))


def forecast(history: TaskHistory) -> Forecast:
    """Learn from reviewed tasks; none are needed."""
    table = np.column_stack([history.doubt, history.tokens]).reshape(-1, 2)
    precision = np.diag(1.0 / _DEVIATION**2)
    recent = np.ones(len(table)) if history.age is None else 0.5 ** (history.age / _HALF_LIFE)
    weight = recent / np.maximum(table @ _PRIOR, 0.05)
    dispersion = 1.5
    numbers = _PRIOR
    inverse = np.linalg.inv(precision)
    for _ in range(2):
        gram = (table * weight[:, None]).T @ table / dispersion + precision
        inverse = np.linalg.inv(gram)
        numbers = inverse @ ((table * weight[:, None]).T @ history.changes / dispersion + precision @ _PRIOR)
        numbers = np.maximum(numbers, [0.1, 0.0])
        expected = np.maximum(table @ numbers, 0.05)
        weight = recent / expected
        if len(table) >= 10:
            dispersion = float(
                np.clip(np.average((history.changes - expected) ** 2 / expected, weights=recent), 0.5, 10.0)
            )
    return Forecast(float(numbers[0]), float(numbers[1]), inverse.tolist(), dispersion)


def forecast_names(history: NameHistory) -> NameForecast:
    """Learn from answered questions; none are needed."""
    ratio, inverse = _NAME_RATIO, _NAME_DEVIATION**2
    for _ in range(3):
        # a question's changes scatter by its occurrences times what is expected
        weight = 1.0 / np.maximum(history.occurrences * ratio * history.doubt, 0.05)
        inverse = 1.0 / (float((weight * history.doubt**2).sum()) + 1.0 / _NAME_DEVIATION**2)
        seen = float((weight * history.doubt * history.changes).sum())
        ratio = max(inverse * (seen + _NAME_RATIO / _NAME_DEVIATION**2), 0.05)
    return NameForecast(ratio, float(np.sqrt(inverse)), len(history.doubt))


class ModelPoint(NamedTuple):
    """A model run: gold tasks it learned from, strict F1 on held-out gold, and that one's 95 % interval."""

    gold: int
    f1: float
    low: float
    high: float


class ModelOutlook(msgspec.Struct, frozen=True):
    """Strict F1 of the next model on the same held-out gold as ``runs`` model runs: ``now``, and ``after`` as many
    more gold tasks as were asked about."""

    runs: int
    gold: int
    now: Interval
    after: Interval


def model_outlook(points: Sequence[ModelPoint], gold: int, more: int, level: float = 0.95) -> ModelOutlook | None:
    """What a model will be worth that learns from ``gold`` tasks, and from ``more`` beside them. None without a
    run to go by."""
    from scipy.stats import norm

    points = [point for point in points if point.gold > 0]
    if not points:
        return None
    size = np.log([point.gold for point in points])
    score = np.array([point.f1 for point in points])
    # all are judged on the same held-out gold, whose chance they share; what is left of it tells them apart
    width = float(np.mean([max(point.high - point.low, 0.0) for point in points]))
    shared = width / (2.0 * float(norm.ppf(0.975)))
    variance_of_run = _RUN_DEVIATION**2 + (shared / 2.0) ** 2
    table = np.column_stack([np.ones(len(points)), size - size[-1]])
    precision = np.diag([1e-6, 1.0 / _SLOPE_DEVIATION**2])
    inverse = np.linalg.inv(table.T @ table / variance_of_run + precision)
    numbers = inverse @ (table.T @ score / variance_of_run + precision @ np.array([0.0, _SLOPE]))

    def at(tasks: int) -> Interval:
        row = np.array([1.0, np.log(max(tasks, 1)) - size[-1]])
        value = float(np.clip(row @ numbers, 0.0, 1.0))
        margin = float(norm.ppf(0.5 + level / 2.0)) * float(
            np.sqrt(row @ inverse @ row + variance_of_run + shared**2)
        )
        return in_log_odds(value, margin)

    return ModelOutlook(len(points), gold, at(gold), at(gold + more))
