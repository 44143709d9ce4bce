"""Candidates: the runs of target tokens that a mention may be projected to.

Spans are half-open token ranges ``(first, last)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xner_label.entities import Link
from xner_label.projection.problem import Mention
from xner_label.projection.spans import MAX_LENGTH, TokenRange


def alignment_window(mentions: Sequence[Mention], links: Iterable[Link]) -> TokenRange:
    """From the leftmost to the rightmost target token linked to any mention; ``(0, 0)`` without such a link.

    For a score  c = (link mass in the rectangle) / (|p| + |t|)  and at most one candidate per mention, an
    optimal matching exists inside the window (Politov et al. 2025): a candidate that sticks out scores more once
    cut to the window, and the cut one is free wherever the longer one was.
    """
    linked = {index for mention in mentions for index in range(mention.first, mention.last)}
    reached = [target for source, target, _ in links if source in linked]
    return (min(reached), max(reached) + 1) if reached else (0, 0)


def anchored_runs(anchors: Sequence[int], max_length: int = MAX_LENGTH) -> list[TokenRange]:
    """The runs that begin and end on one of the given tokens (in ascending order), left to right."""
    runs = []
    for index, first in enumerate(anchors):
        for last in anchors[index:]:
            if last - first >= max_length:
                break
            runs.append((first, last + 1))
    return runs
