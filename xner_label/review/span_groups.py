"""Questions about names in a simulation: the spans of one group, settled by one answer.

What is asked first is where the most wrong entities are expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xner_label.review.name_groups import MIN_OCCURRENCES, NameKey
from xner_label.review.pool import Bools, Floats, Ints

# A span less likely than this belongs to no group: nobody sees it, and hardly any is right.
LEAST_CONFIDENCE = 0.05


class SpanGroup(NamedTuple):
    """The occurrences of a group: ``rows`` are numbers of spans, the most doubtful first, ``doubt`` of which are
    expected to be wrong."""

    key: NameKey
    rows: Ints
    doubt: float


def span_groups(
    keys: Sequence[NameKey], confidence: Floats, doubt: Floats, eligible: Bools, least: int = MIN_OCCURRENCES
) -> list[SpanGroup]:
    """The groups of at least ``least`` spans, the largest doubt first.

    ``keys`` are those of the spans; ``confidence``, ``doubt`` and ``eligible`` have the shape (n,).
    """
    members: dict[NameKey, list[int]] = {}
    for row in np.flatnonzero(eligible & (confidence >= LEAST_CONFIDENCE)).tolist():
        members.setdefault(keys[row], []).append(row)
    groups = []
    for key, rows in members.items():
        if len(rows) >= least:
            numbers = np.array(rows, np.int64)
            numbers = numbers[np.argsort(-doubt[numbers], kind="stable")]
            groups.append(SpanGroup(key, numbers, float(doubt[numbers].sum())))
    return sorted(groups, key=lambda group: (-group.doubt, group.key))
