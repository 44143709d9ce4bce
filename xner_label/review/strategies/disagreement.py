"""The sentences first where a tagger of the target language that never saw them finds other entities."""

from __future__ import annotations

import numpy as np

from xner_label.errors import UsageError
from xner_label.review.pool import ReviewPool, highest


class Disagreement:
    """Expected changes by the tagger, per second of a person's time."""

    def choose(self, pool: ReviewPool, count: int, generator: np.random.Generator) -> list[int]:
        """See :class:`xner_label.review.strategies.Strategy`; nothing is drawn. Raises UsageError where no such
        tagger was at work."""
        if pool.disagreement is None:
            raise UsageError(
                "there is no tagger of the target language to disagree with",
                hint="predict at least 50 tasks with the default projector, or choose another strategy",
            )
        return highest(pool, pool.disagreement / pool.seconds, count)


make = Disagreement
