"""Questions about names in a simulation: all spans of one target text with one label, settled by one answer.

Occurrences with another label are another question, so that senses stay apart. What is asked first is where the
most wrong entities are expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xner_label.review.pool import Bools, Floats, Ints

# A span less likely than this belongs to no group: nobody sees it, and hardly any is right.
LEAST_CONFIDENCE = 0.05
# How many occurrences a person is shown, the most doubtful first.
SHOWN = 5


class SpanGroup(NamedTuple):
    """Occurrences of ``text`` with ``label``: ``rows`` are numbers of spans, the most doubtful first, ``doubt``
    of which are expected to be wrong."""

    text: str
    label: str
    rows: Ints
    doubt: float

    @property
    def shown(self) -> Ints:
        """The occurrences that a person is shown."""
        return self.rows[:SHOWN]


def span_groups(
    texts: Sequence[str], labels: Sequence[str], confidence: Floats, doubt: Floats, eligible: Bools
) -> list[SpanGroup]:
    """The groups of some spans, the largest doubt first.

    ``texts`` and ``labels`` are those of the spans, texts folded; ``confidence``, ``doubt`` and ``eligible``
    have the shape (n,).
    """
    members: dict[tuple[str, str], list[int]] = {}
    for row in np.flatnonzero(eligible & (confidence >= LEAST_CONFIDENCE)).tolist():
        members.setdefault((texts[row], labels[row]), []).append(row)
    groups = []
    for (text, label), rows in members.items():
        numbers = np.array(rows, np.int64)
        numbers = numbers[np.argsort(-doubt[numbers], kind="stable")]
        groups.append(SpanGroup(text, label, numbers, float(doubt[numbers].sum())))
    return sorted(groups, key=lambda group: (-group.doubt, group.text, group.label))
