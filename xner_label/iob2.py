"""IOB2 tags and token spans: one tag per token, ``B-X`` begins an entity of label X, ``I-X`` continues it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xner_label.entities import Entity, Tokens

# A labelled run of tokens: first token, one past the last, label.
TokenSpan = tuple[int, int, str]


def tags_of(tokens: Tokens, entities: Iterable[Entity]) -> list[str]:
    """The tags of a text's tokens.

    Entities widen to whole tokens. Tags can't overlap: of entities that share a token the longest is kept, of
    equal ones the first.
    """
    spans = [(*tokens.covering(entity.start, entity.end)[:2], entity.label) for entity in entities]
    return encode(spans, len(tokens))


def encode(spans: Iterable[TokenSpan], length: int) -> list[str]:
    """The tags of ``length`` tokens; of overlapping spans the longest is kept, of equal ones the first."""
    return place(list(spans), length)[0]


def place(spans: Sequence[TokenSpan], length: int) -> tuple[list[str], list[bool]]:
    """The tags as :func:`encode` gives them, and for each span whether it is among them.

    A span without tokens isn't, nor is one that overlaps a longer one.
    """
    tags = ["O"] * length
    placed = [False] * len(spans)
    for index in sorted(range(len(spans)), key=lambda index: (spans[index][0] - spans[index][1], spans[index][0])):
        first, last, label = spans[index]
        if first < last and all(tag == "O" for tag in tags[first:last]):
            tags[first:last] = [f"B-{label}"] + [f"I-{label}"] * (last - first - 1)
            placed[index] = True
    return tags, placed


def decode(tags: Sequence[str]) -> list[TokenSpan]:
    """The spans of a tag sequence, in order; an ``I-X`` that continues nothing begins an entity."""
    spans: list[TokenSpan] = []
    first, label = 0, ""
    for index, tag in enumerate([*tags, "O"]):
        if label and tag != f"I-{label}":
            spans.append((first, index, label))
            label = ""
        if tag != "O" and not label:
            first, label = index, tag[2:]
    return spans
