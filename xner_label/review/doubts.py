"""What a person who reviews a prediction should look at first: doubtful entities, and what may be missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from xner_label.entities import Entity, Tokens
from xner_label.errors import RecordError
from xner_label.pharaoh import parse_links

if TYPE_CHECKING:
    from xner_label.store.tables import ProjectedEntity, Task

# The confidence below which an entity is doubtful.
DOUBTFUL = 0.7
# Hints that one task gets.
_MOST_HINTS = 5
# Tasks in which people marked a name before its other places are hinted at, and its length in words.
_LEAST_TASKS = 2
_LONGEST_NAME = 6
# The share of a mention's links that lands beside the entity from which its borders count as uncertain.
_BESIDE = 0.25


class Hint(msgspec.Struct, frozen=True, omit_defaults=True):
    """A possible entity that a prediction lacks.

    ``words`` stand in the text at ``start`` to ``end`` (code points, end exclusive) when people marked them in
    ``tasks`` other tasks, else in the source (then ``start`` is None).
    """

    words: str
    label: str
    start: int | None = None
    end: int | None = None
    tasks: int = 0


class LinkSupport(NamedTuple):
    """What the word alignment says of a span: ``share`` (0 to 1) of the links of the source mention and of the
    span that join the two, and ``beside``, the share of the mention's that land on a neighbouring word."""

    share: float
    beside: float

    @property
    def uncertain_border(self) -> bool:
        """Whether the alignment would rather have other borders."""
        return self.beside >= _BESIDE


def link_support(
    task: Task, mention: tuple[int, int], span: tuple[int, int], computed: str | None
) -> LinkSupport | None:
    """How the links that came with a task, or else ``computed`` ones (Pharaoh format), join a mention of the
    source with a span of the text (start and end, code points); None where there is nothing to say."""
    alignment = task.alignment or computed
    if not alignment or task.source is None:
        return None
    counted = task.alignment is not None
    try:
        source = Tokens.of(task.source, task.source_tokens, "source_tokens", letters=counted)
        target = Tokens.of(task.text, task.tokens, letters=counted)
        links = parse_links(alignment, len(source), len(target))
    except RecordError:
        return None  # links of other tokens
    said, marked = set(_inside(source, *mention)), set(_inside(target, *span))
    if not said or not marked:
        return None
    neighbours = {min(marked) - 1, max(marked) + 1}
    joined = of_mention = of_span = beside = 0.0
    for left, right, weight in links:
        of_mention += weight * (left in said)
        of_span += weight * (right in marked)
        joined += weight * (left in said and right in marked)
        beside += weight * (left in said and right in neighbours)
    if not of_mention + of_span:
        return LinkSupport(0.0, 0.0)
    return LinkSupport(2 * joined / (of_mention + of_span), beside / of_mention if of_mention else 0.0)


def _inside(tokens: Tokens, start: int, end: int) -> Iterator[int]:
    return (
        number
        for number, (first, last) in enumerate(zip(tokens.starts, tokens.ends, strict=True))
        if first < end and start < last
    )


def doubtful(entities: Iterable[ProjectedEntity]) -> list[ProjectedEntity]:
    """The entities that deserve a second look, the least certain first."""
    return sorted(
        (entity for entity in entities if entity.confidence < DOUBTFUL), key=lambda entity: entity.confidence
    )


class KnownNames:
    """Names that people marked in several tasks, always with one label; ``gold`` pairs each text with its
    entities."""

    def __init__(self, gold: Iterable[tuple[str, Sequence[Entity]]]) -> None:
        tasks: dict[str, dict[str, int]] = {}
        for text, entities in gold:
            for words, label in {(text[entity.start : entity.end], entity.label) for entity in entities}:
                labels = tasks.setdefault(words, {})
                labels[label] = labels.get(label, 0) + 1
        self._names = {
            words: next(iter(labels.items()))
            for words, labels in tasks.items()
            if len(labels) == 1 and next(iter(labels.values())) >= _LEAST_TASKS
        }

    def find(self, text: str, tokens: Tokens) -> Iterator[Hint]:
        """Where they stand in a text, the longest names first at each place."""
        if not self._names:
            return
        first = 0
        while first < len(tokens):
            for last in range(min(first + _LONGEST_NAME, len(tokens)), first, -1):
                start, end = tokens.starts[first], tokens.ends[last - 1]
                known = self._names.get(text[start:end])
                if known is not None:
                    yield Hint(text[start:end], known[0], start, end, known[1])
                    first = last
                    break
            else:
                first += 1


def hints(task: Task, entities: Sequence[ProjectedEntity], names: KnownNames, labels: Sequence[str]) -> list[Hint]:
    """What may be missing from a task's prediction: names that people marked elsewhere, and entities of the source
    that nothing was projected from."""
    marked = [(entity.start, entity.end) for entity in entities]
    projected = [
        (entity.source_start, entity.source_end)
        for entity in entities
        if entity.source_start is not None and entity.source_end is not None
    ]
    known = [
        hint
        for hint in names.find(task.text, Tokens.of(task.text, task.tokens))
        if hint.start is not None and hint.end is not None and not _overlaps(hint.start, hint.end, marked)
    ]
    missing = [
        Hint(task.source[mention["start"] : mention["end"]], mention["label"])
        for mention in task.source_entities or ()
        if task.source is not None
        and mention["label"] in labels
        and not _overlaps(mention["start"], mention["end"], projected)
    ]
    return [*known, *missing][:_MOST_HINTS]


def _overlaps(start: int, end: int, spans: Iterable[tuple[int, int]]) -> bool:
    return any(start < other_end and other_start < end for other_start, other_end in spans)


class HintCounts(msgspec.Struct, frozen=True):
    """How many hints people saw in tasks that they answered, and for how many they marked such an entity."""

    shown: int
    accepted: int


def count_accepted(answered: Iterable[tuple[Sequence[Mapping[str, object]], Sequence[Entity]]]) -> HintCounts:
    """Compare stored hints of answered tasks with the entities that people added there.

    A hint with a place is accepted by an added entity of its label that overlaps it; one from the source, whose
    place nobody knows, by any added entity of its label that no other hint claims.
    """
    shown = accepted = 0
    for stored, added in answered:
        free = list(added)
        for hint in sorted(msgspec.convert(stored, list[Hint]), key=lambda hint: hint.start is None):
            shown += 1
            match = next((entity for entity in free if _answers(hint, entity)), None)
            if match is not None:
                free.remove(match)
                accepted += 1
    return HintCounts(shown, accepted)


def _answers(hint: Hint, entity: Entity) -> bool:
    if hint.label != entity.label:
        return False
    return hint.start is None or hint.end is None or _overlaps(hint.start, hint.end, [(entity.start, entity.end)])
