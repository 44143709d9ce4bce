"""What a review is going to find, before it begins, and whether it did.

Expected changes of a task: ratio * doubt + rate * tokens, where doubt is the number of shown entities expected
to be wrong and the rate stands for what isn't shown. Both numbers are fitted to the tasks already reviewed
(weighted least squares with a prior around ratio 1); how much more tasks scatter than independent entities
would is estimated there, too, and widens the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.confidence.estimates import Interval
from xner_label.confidence.lead_times import LeadTimes
from xner_label.projection.loglinear.columns import Floats

# Prior: every expected error is one, and a missed entity in 100 tokens; standard deviations as large as that.
_PRIOR, _DEVIATION = np.array([1.0, 0.01]), np.array([0.7, 0.015])
# The projection changes between rounds: expectations are off by about so much as a share, beside all chance.
_DRIFT = 0.15


class TaskHistory(NamedTuple):
    """Reviewed tasks, all (n,): tokens, doubt as it was without knowing the answers, changes that people
    made."""

    tokens: Floats
    doubt: Floats
    changes: Floats


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


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """``tasks``: numbers of the tasks to be read, in order, which take ``minutes`` and in which ``changes`` are
    expected."""

    tasks: list[int]
    minutes: float
    changes: Interval


def forecast(history: TaskHistory) -> Forecast:
    """Learn from reviewed tasks; none are needed."""
    table = np.column_stack([history.doubt, history.tokens]).reshape(-1, 2)
    precision = np.diag(1.0 / _DEVIATION**2)
    weight = 1.0 / np.maximum(table @ _PRIOR, 0.05)
    dispersion = 1.5
    numbers = _PRIOR
    inverse = np.linalg.inv(precision)
    for _ in range(2):
        gram = (table * weight[:, None]).T @ table / dispersion + precision
        inverse = np.linalg.inv(gram)
        numbers = inverse @ ((table * weight[:, None]).T @ history.changes / dispersion + precision @ _PRIOR)
        numbers = np.maximum(numbers, [0.1, 0.0])
        expected = np.maximum(table @ numbers, 0.05)
        weight = 1.0 / expected
        if len(table) >= 10:
            dispersion = float(np.clip(np.mean((history.changes - expected) ** 2 / expected), 0.5, 10.0))
    return Forecast(float(numbers[0]), float(numbers[1]), inverse.tolist(), dispersion)


def plan(
    order: Sequence[int],
    tokens: Floats,
    doubt: Floats,
    minutes: float,
    outlook: Forecast,
    times: LeadTimes,
    level: float = 0.95,
) -> Plan:
    """As many tasks of ``order`` (numbers into ``tokens`` and ``doubt``, both (S,)) as people can do in
    ``minutes``."""
    numbers = np.asarray(order, np.int64)
    expected = outlook.changes(tokens[numbers], doubt[numbers])
    spent = np.cumsum(times.seconds(tokens[numbers], expected))
    count = int((spent <= 60.0 * minutes).sum())
    chosen = numbers[:count]
    return Plan(
        tasks=chosen.tolist(),
        minutes=round(float(spent[count - 1]) / 60.0, 1) if count else 0.0,
        changes=outlook.total(tokens[chosen], doubt[chosen], level),
    )
