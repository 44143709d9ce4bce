"""Candidates: the runs of target tokens that a mention may be projected to.

Spans are half-open token ranges ``(first, last)``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from xner_label.entities import Link, Tokens
from xner_label.projection.instance import Mention
from xner_label.projection.matching import Candidate

TokenSpan = tuple[int, int]

# The paper's M: a candidate has at most this many words.
MAX_LENGTH = 10


def ngrams(first: int, last: int, max_length: int = MAX_LENGTH, min_length: int = 1) -> list[TokenSpan]:
    """Every run of ``min_length`` to ``max_length`` tokens inside ``[first, last)``, left to right."""
    return [
        (start, end)
        for start in range(first, last)
        for end in range(start + min_length, min(start + max_length, last) + 1)
    ]


def alignment_window(mentions: Sequence[Mention], links: Iterable[Link]) -> TokenSpan:
    """From the leftmost to the rightmost target token linked to any mention; ``(0, 0)`` without such a link.

    For a score  c = (link mass in the rectangle) / (|p| + |t|)  and at most one candidate per mention, an
    optimal matching exists inside the window (Politov et al. 2025): a candidate that sticks out scores more once
    cut to the window, and the cut one is free wherever the longer one was.
    """
    linked = {index for mention in mentions for index in range(mention.first, mention.last)}
    reached = [target for source, target, _ in links if source in linked]
    return (min(reached), max(reached) + 1) if reached else (0, 0)


def windows(anchors: Sequence[int], max_length: int = MAX_LENGTH) -> list[TokenSpan]:
    """The runs that begin and end on one of the given tokens (in ascending order), left to right."""
    spans = []
    for index, first in enumerate(anchors):
        for last in anchors[index:]:
            if last - first >= max_length:
                break
            spans.append((first, last + 1))
    return spans


def fold(text: str) -> str:
    """Lower case without diacritics, for comparing names: ``Müller`` and ``MULLER`` fold alike."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


class FoldedTokens:
    """The folded words of a text, from which any run can be cut: one space where the text has white space."""

    __slots__ = ("ends", "starts", "text")

    def __init__(self, tokens: Tokens) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        parts: list[str] = []
        position = previous = 0
        for start, end in zip(tokens.starts, tokens.ends, strict=True):
            if start > previous and parts:
                parts.append(" ")
                position += 1
            word = fold(tokens.text[start:end])
            parts.append(word)
            self.starts.append(position)
            position += len(word)
            self.ends.append(position)
            previous = end
        self.text = "".join(parts)

    def __len__(self) -> int:
        return len(self.starts)

    def run(self, first: int, last: int) -> str:
        """The folded text of the tokens ``[first, last)``."""
        return self.text[self.starts[first] : self.ends[last - 1]]


def similar_ngrams(
    mention: str, length: int, target: FoldedTokens, *, least: float, slack: int = 1
) -> list[Candidate]:
    """The target runs that read like the mention, as ``(similarity, first, last)`` in no particular order.

    ``mention`` is folded text of ``length`` tokens; runs of ``length`` +- ``slack`` tokens are compared by the
    normalised indel similarity  2 * LCS / (|a| + |b|)  in 0..1, and kept from ``least`` on.
    """
    from rapidfuzz.fuzz import ratio
    from rapidfuzz.process import extract

    spans = ngrams(0, len(target), length + slack, max(1, length - slack))
    starts, ends, text = target.starts, target.ends, target.text
    texts = [text[starts[first] : ends[last - 1]] for first, last in spans]
    found = extract(mention, texts, score_cutoff=100.0 * least, limit=None, scorer=ratio)
    return [(similarity / 100.0, *spans[index]) for _, similarity, index in found]
