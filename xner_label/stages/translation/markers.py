"""Markers around spans that translation models carry over to the translation.

``brackets`` are those of EasyProject (Chen et al. 2023, arXiv 2211.15613): every span as ``[ span ]``. ``xml`` are
the tags of LabelPigeon (Thennal D K et al. 2026, arXiv 2603.12021): ``<a>span</a>``, ``<b>span</b>``, ... in text
order. Tags say which span is which, brackets don't.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from string import ascii_lowercase
from typing import Literal

import msgspec
import regex

from xner_label.entities import Span, trimmed

MarkerStyle = Literal["brackets", "xml"]
STYLES: tuple[MarkerStyle, ...] = ("brackets", "xml")
# Pairs to choose among, in order: the first of which neither stands in the text.
BRACKETS = (("[", "]"), ("{", "}"), ("<", ">"), ("«", "»"), ("⟦", "⟧"))
_TAG = regex.compile(r"<\s*(/?)\s*([A-Za-z]{1,2})\s*>")


class MarkedText(msgspec.Struct, frozen=True):
    """A text with markers. ``names[i]`` is the marker of span i, None for one that couldn't be marked.

    With brackets every name is the pair itself, as ``[]``; tags have names of their own. ``plain`` is the text
    without markers.
    """

    text: str
    plain: str
    style: MarkerStyle
    names: tuple[str | None, ...]


class Unmarked(msgspec.Struct, frozen=True):
    """A translated text without its markers, and the spans (code points) that these enclosed.

    ``named`` is one span for each span that was marked, None where its marker is lost; with brackets, which have
    no names, it is empty and ``spans`` holds all that came back, in text order. ``unpaired`` counts markers
    without a counterpart or around nothing, ``doubled`` those that came more than once.
    """

    text: str
    spans: tuple[Span, ...] = ()
    named: tuple[Span | None, ...] = ()
    unpaired: int = 0
    doubled: int = 0


def free_brackets(*texts: str) -> tuple[str, str] | None:
    """The first pair of brackets that stands in none of the texts; None where each does."""
    return next((pair for pair in BRACKETS if not any(mark in text for mark in pair for text in texts)), None)


def layers(spans: Sequence[Span]) -> list[list[int]]:
    """The indices of the spans in groups whose spans don't cross; one group wherever that is possible.

    Spans may touch, and one may hold another.
    """
    groups: list[list[int]] = []
    for index, span in sorted(enumerate(spans), key=lambda item: (item[1].start, -item[1].end)):
        for group in groups:
            if not any(_cross(spans[other], span) for other in group):
                group.append(index)
                break
        else:
            groups.append([index])
    return [sorted(group) for group in groups]


def _cross(left: Span, right: Span) -> bool:
    first, second = sorted((left, right))
    return first.start < second.start < first.end < second.end


def mark(text: str, spans: Sequence[Span], style: MarkerStyle) -> MarkedText:
    """The text with a marker around each span; spans must not cross (:func:`layers`).

    Equal spans share a marker. None can be set where the text holds every kind of bracket; names of tags that the
    text holds are passed over, and there are some seven hundred.
    """
    distinct = sorted(set(spans), key=lambda span: (span.start, -span.end))
    if style == "brackets":
        pair = free_brackets(text)
        if pair is None:
            return MarkedText(text, text, style, (None,) * len(spans))
        names = {span: "".join(pair) for span in distinct}
        tags = dict.fromkeys(distinct, (f"{pair[0]} ", f" {pair[1]}"))
    else:
        names = dict(zip(distinct, _tag_names(text), strict=False))
        tags = {span: (f"<{name}>", f"</{name}>") for span, name in names.items()}
    # At one place inner markers close first, then outer ones; then outer ones open.
    closing = sorted(tags, key=lambda span: (span.end, -span.start))
    borders = [(span.end, 0, order, tags[span][1]) for order, span in enumerate(closing)]
    borders += [(span.start, 1, order, tags[span][0]) for order, span in enumerate(tags)]
    built: list[str] = []
    position = 0
    for place, _, _, marker in sorted(borders):
        built += (text[position:place], marker)
        position = place
    built.append(text[position:])
    return MarkedText("".join(built), text, style, tuple(names.get(span) for span in spans))


def _tag_names(text: str) -> Iterator[str]:
    """``a`` to ``z``, ``aa`` to ``zz``, without those that the text holds as tags."""
    taken = {match[2].lower() for match in _TAG.finditer(text)}
    for letters in (*ascii_lowercase, *map("".join, product(ascii_lowercase, repeat=2))):
        if letters not in taken:
            yield letters


class _Border(msgspec.Struct, frozen=True):
    """A marker in a translated text: where it stands there, whether it closes, and its name."""

    start: int
    end: int
    closes: bool
    name: str


def unmark(translated: str, marked: MarkedText) -> Unmarked:
    """Take the markers out of a translation, and say what they enclosed.

    White space that a marker brought along inside goes with it. Markers that were lost, doubled or made up by the
    model are taken out and counted; with tags the first pair of a name counts.
    """
    borders = _borders(translated, marked)
    pairs, unpaired = _pairs(borders)
    text, places = _without(translated, borders)
    spans: dict[tuple[int, int], Span | None] = {}
    for opening, closing in pairs:
        start, end = trimmed(text, places[opening], places[closing])
        spans[opening, closing] = Span(start, end) if start < end else None
    unpaired += sum(span is None for span in spans.values())
    if marked.style == "brackets":
        kept = [span for span in spans.values() if span is not None]
        distinct = sorted(set(kept), key=lambda span: (span.start, -span.end))
        return Unmarked(text, tuple(distinct), (), unpaired, len(kept) - len(distinct))
    of_name: dict[str, Span] = {}
    doubled = 0
    for (opening, _), span in sorted(spans.items()):
        if span is not None:
            doubled += borders[opening].name in of_name
            of_name.setdefault(borders[opening].name, span)
    named = tuple(of_name.get(name) if name else None for name in marked.names)
    known = {name for name in marked.names if name}
    unpaired += sum(name not in known for name in of_name)
    return Unmarked(text, tuple(sorted(span for span in set(named) if span)), named, unpaired, doubled)


def _borders(translated: str, marked: MarkedText) -> list[_Border]:
    if marked.style == "brackets":
        pair = next((name for name in marked.names if name), "")
        return [
            _Border(place, place + 1, character == pair[1], pair)
            for place, character in enumerate(translated)
            if pair and character in pair
        ]
    foreign = {match[2].lower() for match in _TAG.finditer(marked.plain)}
    return [
        _Border(match.start(), match.end(), bool(match[1]), match[2].lower())
        for match in _TAG.finditer(translated)
        if match[2].lower() not in foreign  # what was a tag before stays one
    ]


def _pairs(borders: Sequence[_Border]) -> tuple[list[tuple[int, int]], int]:
    """Which opening marker belongs to which closing one, by index, and how many belong to none."""
    open_ones: list[int] = []
    pairs: list[tuple[int, int]] = []
    for index, border in enumerate(borders):
        if not border.closes:
            open_ones.append(index)
            continue
        place = next((p for p in reversed(range(len(open_ones))) if borders[open_ones[p]].name == border.name), -1)
        if place >= 0:
            pairs.append((open_ones.pop(place), index))
    return pairs, len(borders) - 2 * len(pairs)


def _without(translated: str, borders: Sequence[_Border]) -> tuple[str, list[int]]:
    """The text without markers, and the place of each marker in it.

    The white space on a marker's inner side goes as well, unless words would grow together.
    """
    built = ""
    places: list[int] = []
    position = 0
    for border in borders:
        built += translated[position : border.start]
        position = border.end
        if border.closes:
            stripped = built.rstrip()
            after = translated[position : position + 1]
            if not (after.isalnum() and stripped != built):
                built = stripped
            places.append(len(stripped))
            continue
        after = translated[position:]
        inner = len(after) - len(after.lstrip())
        if inner and (not built or built[-1].isspace() or not built[-1].isalnum()):
            position += inner
        places.append(len(built))
    built += translated[position:]
    return built.strip() if built != built.strip() else built, _moved(places, built)


def _moved(places: list[int], built: str) -> list[int]:
    """The places in a text that has lost the white space around it."""
    leading = len(built) - len(built.lstrip())
    length = len(built.strip())
    return [min(max(place - leading, 0), length) for place in places]


def relative_place(span: Span, text: str) -> float:
    """Where a span's middle stands in its text, from 0 to 1."""
    return (span.start + span.end) / (2 * max(len(text), 1))


def tally(unmarked: Unmarked, marked: MarkedText, carried: int) -> Counter[str]:
    """What became of a text's markers, by kind: ``marked``, ``carried`` over, ``lost``, ``doubled``, ``unpaired``,
    and ``unmarkable`` for spans that never got one."""
    total = sum(name is not None for name in marked.names)
    return Counter(
        marked=total,
        carried=carried,
        lost=total - carried,
        doubled=unmarked.doubled,
        unpaired=unmarked.unpaired,
        unmarkable=len(marked.names) - total,
    )
