"""Doubtful sentences first whose names no earlier question was about."""

from __future__ import annotations

import numpy as np

from xner_label.review.greedy import choose_greedily
from xner_label.review.pool import ReviewPool


class Diversity:
    """Expected wrong entities put right, names asked about counting less, per second of a person's time."""

    def choose(self, pool: ReviewPool, count: int, generator: np.random.Generator) -> list[int]:
        """See :class:`xner_label.review.strategies.Strategy`; nothing is drawn."""
        return choose_greedily(pool, count, spreads=False)


make = Diversity
