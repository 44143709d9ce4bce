"""What strategies choose from: the sentences that nobody has reviewed, and how sure their spans are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xner_label.confidence.lead_times import SECONDS_PER_CHANGE, SECONDS_PER_TOKEN

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class ReviewPool(NamedTuple):
    """The sentences of a project and the spans that a pipeline sees in them, those below the cut, too.

    tokens: (S,), length of each sentence; open: (S,), whether it may be chosen
    sentence, confidence, name: (n,) per span, the number of its sentence, P(exactly right), and a code that spans
    of one name share; cut: the confidence below which spans are left out
    disagreement: (S,), expected number of spans that a tagger of the target language would change; None where no
    such tagger was at work
    """

    tokens: Ints
    open: Bools
    sentence: Ints
    confidence: Floats
    name: Ints
    cut: float
    disagreement: Floats | None = None

    @property
    def doubt(self) -> Floats:
        """(n,) the probability that what is shown (or left out) of each span is wrong."""
        return np.where(self.confidence >= self.cut, 1.0 - self.confidence, self.confidence)

    @property
    def expected_errors(self) -> Floats:
        """(S,) how many spans of each sentence are expected to be wrong."""
        result: Floats = np.bincount(self.sentence, self.doubt, len(self.tokens)).astype(np.float64)
        return result

    @property
    def seconds(self) -> Floats:
        """(S,) what a review of each sentence is expected to take."""
        result: Floats = SECONDS_PER_TOKEN * self.tokens + SECONDS_PER_CHANGE * self.expected_errors
        return np.maximum(result, SECONDS_PER_TOKEN)

    @property
    def candidates(self) -> Ints:
        """The numbers of the open sentences."""
        return np.flatnonzero(self.open)


def highest(pool: ReviewPool, worth: npt.NDArray[Any], count: int) -> list[int]:
    """The ``count`` open sentences of the largest ``worth`` (S,), ties in their order."""
    numbers = pool.candidates
    chosen: list[int] = numbers[np.argsort(-worth[numbers], kind="stable")][:count].tolist()
    return chosen
