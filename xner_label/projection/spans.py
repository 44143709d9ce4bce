"""Spans of target tokens: half-open ranges ``(first, last)``."""

from __future__ import annotations

from xner_label.writing_systems import is_unspaced

TokenRange = tuple[int, int]

# The paper's M: a candidate has at most this many words.
MAX_LENGTH = 10
# So many tokens of a script without spaces may stand for one word of another: each letter may be a token.
UNSPACED_TOKENS = 3


def longest_run(max_length: int, text: str) -> int:
    """``max_length`` tokens, UNSPACED_TOKENS times as many where ``text`` is in a script without spaces."""
    return max_length * UNSPACED_TOKENS if is_unspaced(text) else max_length


def ngrams(first: int, last: int, max_length: int = MAX_LENGTH, min_length: int = 1) -> list[TokenRange]:
    """Every run of ``min_length`` to ``max_length`` tokens inside ``[first, last)``, left to right."""
    return [
        (start, end)
        for start in range(first, last)
        for end in range(start + min_length, min(start + max_length, last) + 1)
    ]
