"""The sentences least likely to be right as a whole first."""

from __future__ import annotations

import numpy as np

from xner_label.review.pool import ReviewPool, highest


class LeastConfident:
    """By the product, over a sentence's spans, of the probability that each is rightly shown or left out."""

    def choose(self, pool: ReviewPool, count: int, generator: np.random.Generator) -> list[int]:
        """See :class:`xner_label.review.strategies.Strategy`; nothing is drawn."""
        surprise = -np.log(np.maximum(1.0 - pool.doubt, 1e-9))
        return highest(pool, np.bincount(pool.sentence, surprise, len(pool.tokens)), count)


make = LeastConfident
