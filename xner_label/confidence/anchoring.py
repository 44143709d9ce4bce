"""How far suggestions sway people: acceptance with them against agreement with them unseen.

Tasks of the control slice are answered blind. Where people, blind, write b of what the pipeline would have
suggested, and with suggestions accept a of it, in tasks drawn at random both, then a - b of the suggestions
were accepted that people wouldn't have written: (a - b) / (1 - b) of the wrong ones.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.confidence.estimates import Interval
from xner_label.projection.loglinear.columns import Bools, Floats

# Below so many tasks on either side nothing is said.
MIN_TASKS = 20
_RESAMPLES, _SEED = 1000, 13


class SliceCounts(NamedTuple):
    """Tasks of one slice, all (n,): entities suggested (or that would have been), those that people left or
    wrote exactly so, tokens, and lead time in seconds (NaN where unknown)."""

    suggested: Floats
    accepted: Floats
    tokens: Floats
    seconds: Floats


class Anchoring(msgspec.Struct, frozen=True, kw_only=True):
    """``with_suggestions`` and ``blind``: share of the suggestions that people's answers hold; ``swayed``:
    share of wrong suggestions that are accepted because they were shown. Seconds per token are medians; None
    where no lead time is known. ``tasks``: with suggestions and blind."""

    tasks: tuple[int, int]
    with_suggestions: Interval
    blind: Interval
    swayed: Interval
    seconds_per_token: float | None
    seconds_per_token_blind: float | None


def anchoring(shown: SliceCounts, blind: SliceCounts) -> Anchoring | None:
    """Compare both slices; None where one has fewer than MIN_TASKS tasks, or no suggestions."""
    sides = (shown, blind)
    if min(len(side.suggested) for side in sides) < MIN_TASKS or min(side.suggested.sum() for side in sides) <= 0:
        return None
    generator = np.random.default_rng(_SEED)
    draws = [_shares(side, generator) for side in sides]
    accepted, agreed = (float(side.accepted.sum() / side.suggested.sum()) for side in sides)
    swayed = _swayed(np.array([accepted]), np.array([agreed]))
    return Anchoring(
        tasks=(len(shown.suggested), len(blind.suggested)),
        with_suggestions=_interval(accepted, draws[0]),
        blind=_interval(agreed, draws[1]),
        swayed=_interval(float(swayed[0]), _swayed(*draws)),
        seconds_per_token=_pace(shown),
        seconds_per_token_blind=_pace(blind),
    )


def _shares(side: SliceCounts, generator: np.random.Generator) -> Floats:
    """(_RESAMPLES,) the share accepted in draws of tasks with replacement."""
    rows = generator.integers(0, len(side.suggested), (_RESAMPLES, len(side.suggested)))
    result: Floats = side.accepted[rows].sum(axis=1) / np.maximum(side.suggested[rows].sum(axis=1), 1.0)
    return result


def _swayed(accepted: Floats, agreed: Floats) -> Floats:
    result: Floats = np.clip((accepted - agreed) / np.maximum(1.0 - agreed, 1e-9), 0.0, 1.0)
    return result


def _interval(value: float, draws: Floats) -> Interval:
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    return Interval(value, min(low, value), max(high, value))


def _pace(side: SliceCounts) -> float | None:
    known: Bools = np.isfinite(side.seconds) & (side.seconds > 0)
    if not known.any():
        return None
    return round(float(np.median(side.seconds[known] / np.maximum(side.tokens[known], 1.0))), 3)
