"""Spans of target tokens: half-open ranges ``(first, last)``."""

from __future__ import annotations

TokenRange = tuple[int, int]

# The paper's M: a candidate has at most this many words.
MAX_LENGTH = 10


def ngrams(first: int, last: int, max_length: int = MAX_LENGTH, min_length: int = 1) -> list[TokenRange]:
    """Every run of ``min_length`` to ``max_length`` tokens inside ``[first, last)``, left to right."""
    return [
        (start, end)
        for start in range(first, last)
        for end in range(start + min_length, min(start + max_length, last) + 1)
    ]
