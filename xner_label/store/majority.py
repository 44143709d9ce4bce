"""What most people say about a text, stretch by stretch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from xner_label.entities import Entity

# People that it takes: of two, neither is the majority.
LEAST_PEOPLE = 3


def stretches(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted spans (code points, end exclusive) joined where they overlap."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def majority(people: Sequence[Sequence[Entity]]) -> tuple[Entity, ...] | None:
    """What more than half of at least three people say of each stretch that anybody marked, the label and the
    borders exactly alike (nothing may be what they say); None when some stretch has no such majority."""
    if len(people) < LEAST_PEOPLE:
        return None
    settled: list[Entity] = []
    every = sorted({(entity.start, entity.end) for entities in people for entity in entities})
    for start, end in stretches(every):
        said = Counter(
            tuple(
                sorted(
                    (entity.start, entity.end, entity.label)
                    for entity in entities
                    if start <= entity.start and entity.end <= end
                )
            )
            for entities in people
        )
        commonest, count = said.most_common(1)[0]
        if 2 * count <= len(people):
            return None
        settled += [Entity(*marked) for marked in dict.fromkeys(commonest)]
    return tuple(settled)
