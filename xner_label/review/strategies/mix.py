"""A fifth at random, the rest by leverage: the random ones show what the model is wrongly sure of."""

from __future__ import annotations

import numpy as np

from xner_label.review.greedy import choose_greedily
from xner_label.review.pool import ReviewPool

_RANDOM_SHARE = 0.2


class Mix:
    """Random sentences among those of the largest leverage."""

    def choose(self, pool: ReviewPool, count: int, generator: np.random.Generator) -> list[int]:
        """See :class:`xner_label.review.strategies.Strategy`."""
        drawn = generator.permutation(pool.candidates)[: int(count * _RANDOM_SHARE)]
        rest = pool.open.copy()
        rest[drawn] = False
        chosen: list[int] = drawn.tolist()
        return chosen + choose_greedily(pool._replace(open=rest), count - len(chosen), spreads=True)


make = Mix
