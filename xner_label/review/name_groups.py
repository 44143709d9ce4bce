"""Groups of occurrences that one question about a name can settle.

Occurrences of one source name that land on one target text with one label form a group. The same words with
another label, or as the translation of another name, are another sense and another group.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from xner_label.entities import Span
from xner_label.tokenization import tokenize

# A group of fewer occurrences is better asked about in its sentence, where misses are seen as well.
MIN_OCCURRENCES = 2
# Other spans that a question offers beside the group's own.
_OTHER_SPANS = 3
# How many occurrences a card shows.
SHOWN = 5
# A longer or shorter span is offered when at least this share of the occurrences could take it.
_COMMON = 0.5


class NameKey(msgspec.Struct, frozen=True, order=True):
    """What the occurrences of a group share: source name, target text (both as :func:`name_form`), label.

    ``source`` is empty for entities that were added without a source entity.
    """

    source: str
    target: str
    label: str


class Occurrence(msgspec.Struct, frozen=True):
    """One projected entity of a task: ``start``, ``end`` in code points of ``text``; ``confidence`` in 0..1.

    ``source`` is the source sentence, ``mention`` the source entity's place in it; None where there is none.
    """

    task: int
    text: str
    start: int
    end: int
    label: str
    confidence: float
    source: str | None = None
    mention: Span | None = None

    @property
    def key(self) -> NameKey:
        """The group it belongs to."""
        name = (
            ""
            if self.source is None or self.mention is None
            else self.source[self.mention.start : self.mention.end]
        )
        return NameKey(name_form(name), name_form(self.text[self.start : self.end]), self.label)


class NameGroup(msgspec.Struct, frozen=True):
    """A name and where it occurs, the occurrences that the model doubts most first."""

    key: NameKey
    occurrences: tuple[Occurrence, ...]

    @property
    def expected_errors(self) -> float:
        """How many of the occurrences are expected to be wrong: sum of 1 - confidence."""
        return sum(1.0 - occurrence.confidence for occurrence in self.occurrences)


def name_form(name: str) -> str:
    """The form in which names are the same: NFKC, case folded, runs of white space as one space.

    Diacritics count: they tell names apart in many languages.
    """
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def places_shown(count: int) -> list[int]:
    """Which of a group's ``count`` occurrences, the most doubtful first, a card shows: all ranks alike.

    One answer settles all of them: the most doubtful alone are its exceptions, the more so the better doubt tells
    wrong ones from right ones.
    """
    if count <= SHOWN:
        return list(range(count))
    return [rank * (count - 1) // (SHOWN - 1) for rank in range(SHOWN)]


def group_names(occurrences: Iterable[Occurrence], *, least: int = MIN_OCCURRENCES) -> list[NameGroup]:
    """The groups of at least ``least`` occurrences, the one with the most expected errors first.

    Ties go by key, so that the order doesn't depend on the order of the input.
    """
    by_key: dict[NameKey, list[Occurrence]] = defaultdict(list)
    for occurrence in occurrences:
        by_key[occurrence.key].append(occurrence)
    groups = [
        NameGroup(key, tuple(sorted(members, key=lambda member: (member.confidence, member.task, member.start))))
        for key, members in by_key.items()
        if len(members) >= least
    ]
    return sorted(groups, key=lambda group: (-group.expected_errors, group.key))


def other_labels(key: NameKey, groups: Mapping[NameKey, int], labels: Sequence[str]) -> list[str]:
    """The labels that the group's words could have instead, likeliest first.

    ``groups`` counts the occurrences of every group: labels that the same words carry elsewhere come first, then
    the others in the order of the label set.
    """
    elsewhere: Counter[str] = Counter()
    for other, count in groups.items():
        if other.target == key.target and other.label != key.label:
            elsewhere[other.label] += count
    seen = [label for label, _ in elsewhere.most_common() if label in labels]
    return [*seen, *(label for label in labels if label != key.label and label not in seen)]


def other_spans(group: NameGroup, keys: Collection[NameKey] = ()) -> list[str]:
    """Other target texts for the group's name, likeliest first, as they stand in the texts.

    These are the group's text with up to two words more, or less, at either end, where most occurrences have them;
    first those that the same source name landed on elsewhere (``keys``).
    """
    group_name = group.key.target
    counts: Counter[str] = Counter()
    for occurrence in group.occurrences:
        spans = _overlapping(occurrence.text, Span(occurrence.start, occurrence.end))
        counts.update(dict.fromkeys((occurrence.text[span.start : span.end] for span in spans), 1))
    needed = _COMMON * len(group.occurrences)
    candidates = [
        text for text, count in counts.most_common() if count >= needed and name_form(text) != group_name
    ]
    elsewhere = {
        key.target
        for key in keys
        if group.key.source and key.source == group.key.source and key.target != group_name
    }
    known = [text for text in candidates if name_form(text) in elsewhere]
    chosen = dict.fromkeys([*known, *candidates])
    return list(chosen)[:_OTHER_SPANS]


def place_of(text: str, near: Span, name: str) -> Span | None:
    """Where another span for an occurrence stands in ``text``: the ``name`` that meets ``near``, else None."""
    wanted = name_form(name)
    for span in _overlapping(text, near):
        if name_form(text[span.start : span.end]) == wanted:
            return span
    return None


def _overlapping(text: str, near: Span) -> list[Span]:
    """A span with up to two words more, or less, at one end; none begins or ends with punctuation."""
    tokens = tokenize(text)
    inside = [at for at, (start, end) in enumerate(tokens) if start < near.end and end > near.start]
    if not inside:
        return []
    first, last = inside[0], inside[-1]
    borders = []
    for step in (1, 2):
        borders += [(first - step, last), (first, last + step), (first + step, last), (first, last - step)]
    spans = []
    for left, right in borders:
        if 0 <= left <= right < len(tokens):
            span = Span(tokens[left][0], tokens[right][1])
            if text[span.start].isalnum() and text[span.end - 1].isalnum():
                spans.append(span)
    return spans
