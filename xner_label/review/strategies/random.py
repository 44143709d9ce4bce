"""Sentences drawn at random: the yardstick of every other order."""

from __future__ import annotations

import numpy as np

from xner_label.review.pool import ReviewPool


class Random:
    """Every open sentence is as likely as every other."""

    def choose(self, pool: ReviewPool, count: int, generator: np.random.Generator) -> list[int]:
        """See :class:`xner_label.review.strategies.Strategy`."""
        chosen: list[int] = generator.permutation(pool.candidates)[:count].tolist()
        return chosen


make = Random
