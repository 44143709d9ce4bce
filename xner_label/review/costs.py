"""What a person's time is spent on: seconds for a sentence and for a question about a name."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec
import numpy as np

from xner_label.confidence.lead_times import (
    MIN_MEASURED,
    SECONDS_PER_CHANGE,
    SECONDS_PER_TOKEN,
    LeadTimes,
    fit_lead_times,
)
from xner_label.review.pool import Floats

# Seconds for a question about a name, before there are measured ones.
SECONDS_PER_NAME = 6.0


class Costs(msgspec.Struct, frozen=True):
    """Seconds for a token read, an entity put right, a sentence opened, and a question about a name."""

    token: float = SECONDS_PER_TOKEN
    change: float = SECONDS_PER_CHANGE
    task: float = 0.0
    name: float = SECONDS_PER_NAME

    def sentences(self, tokens: Floats, changes: Floats) -> Floats:
        """(S,) seconds for sentences of so many tokens with so many changes, the time of a token at least."""
        seconds: Floats = self.task + self.token * tokens + self.change * changes
        return np.maximum(seconds, self.token)


def measured_costs(sentences: Sequence[tuple[float, int, int]], names: Sequence[float]) -> Costs:
    """The costs by measured times: (seconds, tokens, changes) of answered sentences, and seconds of answered
    cards. Where there are fewer than 20 times of a kind, the assumed costs hold."""
    seconds, tokens, changes = np.array(sentences, np.float64).reshape(-1, 3).T
    times: LeadTimes = fit_lead_times(tokens, changes, seconds)
    name = median(names) if len(names) >= MIN_MEASURED else SECONDS_PER_NAME
    return Costs(times.per_token, times.per_change, times.per_task, name)
