"""Cutting long texts where sentences end, offsets kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import regex

from xner_label.entities import Span

# After a line break; after 。 and its kin; after other sentence-final punctuation with its closing quotes and
# brackets where white space and no small letter follow.
_BORDER = regex.compile(
    r"(?<=\S)(?=\s*\n)"
    r"|[。！？｡]+[\p{Pe}\p{Pf}\"'」』]*"
    r"|[\p{Sentence_Terminal}…]+[\p{Pe}\p{Pf}\"']*(?=\s+[^\s\p{Ll}])"
)
# A full stop after one of these mostly belongs to an abbreviation: an initial, or a short capitalised title.
_ABBREVIATION = regex.compile(r"(?:^|[^\p{L}\p{N}])(?:\p{L}|\p{Lu}\p{L}{1,2}|(?:\p{L}\.)+\p{L})$")


def sentences(text: str) -> list[Span]:
    """The sentences of a text, in order, without the white space around them; together they hold all the rest."""
    cuts = [match.end() for match in _BORDER.finditer(text) if not _abbreviates(text, match)]
    return [
        span
        for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)
        for span in _trimmed(text, start, end)
    ]


def pieces(text: str, fits: Callable[[str], bool]) -> list[Span]:
    """Cut a text into sentences, and those that don't fit in the middle, at white space where there is any."""
    return [piece for span in sentences(text) for piece in _halved(text, span, fits)]


def _abbreviates(text: str, match: regex.Match[str]) -> bool:
    return match[0] == "." and _ABBREVIATION.search(text, max(0, match.start() - 12), match.start()) is not None


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield Span(start, end)


def _halved(text: str, span: Span, fits: Callable[[str], bool]) -> Iterator[Span]:
    if span.end - span.start < 2 or fits(text[span.start : span.end]):
        yield span
        return
    middle = (span.start + span.end) // 2
    spaces = [match.start() for match in regex.finditer(r"\s", text, pos=span.start, endpos=span.end)]
    cut = min(spaces, key=lambda space: abs(space - middle), default=middle)
    for start, end in ((span.start, cut), (cut, span.end)):
        for half in _trimmed(text, start, end):
            yield from _halved(text, half, fits)
