"""The mentions that take part in a projection: every source entity once, and names that its tagger overlooked."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xner_label.entities import Entity
from xner_label.projection.problem import Instance, Mention

# The label of a mention that the tagger overlooked; never shown to anybody.
NAMELESS = ""


def is_tagged(instance: Instance) -> bool:
    """Whether a tagger, not a person, found the source entities: one has a score."""
    return any(mention.score is not None for mention in instance.mentions)


def matched_mentions(instance: Instance, *, overlooked: bool) -> tuple[Instance, Sequence[int | None]]:
    """The instance with the mentions that take part, and for each of them its place in ``instance.mentions``.

    A source entity that is there twice, with the same label, takes part once: the two would compete for the same
    words, and neither would seem sure of them. With ``overlooked`` capitalised runs of the source outside any
    mention take part too; their label is NAMELESS and their place None.
    """
    mentions = instance.mentions
    places = range(len(mentions))
    # Reversed, so that of equal mentions the first one's place stays.
    place_of = {
        (mention.first, mention.last, mention.label): place
        for place, mention in zip(reversed(places), reversed(mentions), strict=True)
    }
    added = _capitalised_runs(instance) if overlooked else []
    if not added and len(place_of) == len(mentions):
        return instance, places
    kept = sorted(place_of.values())
    matched = (*(mentions[place] for place in kept), *added)
    return msgspec.structs.replace(instance, mentions=matched), [*kept, *(None for _ in added)]


def _capitalised_runs(instance: Instance) -> list[Mention]:
    words = instance.source.words()
    taken = {place for mention in instance.mentions for place in range(mention.first, mention.last)}
    free = [
        place not in taken and len(word) > 1 and not word.islower() and any(char.isupper() for char in word)
        for place, word in enumerate(words)
    ]
    runs = []
    first = 0
    while first < len(words):
        last = first
        while last < len(words) and free[last]:
            last += 1
        if last > first:
            span = instance.source.span(first, last)
            runs.append(Mention(first, last, NAMELESS, 0.5, Entity(span.start, span.end, NAMELESS, 0.5)))
        first = max(last, first + 1)
    return runs
