"""What a person's time is spent on: seconds for a sentence and for a question about a name."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec

from xner_label.review.pool import SECONDS_PER_CHANGE, SECONDS_PER_NAME, SECONDS_PER_TOKEN

# Fewer measured times than this say nothing.
_ENOUGH = 20
# A measured median is believed within this factor of the assumed one: some leave the page open over lunch.
_FACTOR = 5.0


class Costs(msgspec.Struct, frozen=True):
    """Seconds for a token read, for an entity put right, and for a question about a name."""

    token: float = SECONDS_PER_TOKEN
    change: float = SECONDS_PER_CHANGE
    name: float = SECONDS_PER_NAME


def measured_costs(sentences: Sequence[tuple[float, int, int]], names: Sequence[float]) -> Costs:
    """The costs by measured times: (seconds, tokens, changes) of answered sentences, and seconds of answered
    cards.

    A sentence's costs are the assumed ones times the median of measured over assumed seconds. Where there are
    fewer than 20 times of a kind, the assumed costs hold.
    """
    usual = Costs()
    ratios = [
        seconds / (usual.token * tokens + usual.change * changes)
        for seconds, tokens, changes in sentences
        if seconds > 0 and tokens > 0
    ]
    factor = _bounded(median(ratios)) if len(ratios) >= _ENOUGH else 1.0
    per_name = _bounded(median(names) / usual.name) if len(names) >= _ENOUGH else 1.0
    return Costs(factor * usual.token, factor * usual.change, per_name * usual.name)


def _bounded(factor: float) -> float:
    return min(max(factor, 1 / _FACTOR), _FACTOR)
