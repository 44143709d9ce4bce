"""Weak spots: which kinds of names are tagged in the source and lost on their way to the target."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import msgspec

from xner_label.entities import Entity
from xner_label.review.error_sources import ReviewedTask, SourceLinks

# Words of English (the usual source) that stand inside names without being capitalised.
_SMALL_WORDS = frozenset(("a", "an", "and", "at", "by", "de", "for", "in", "of", "on", "the", "to", "von"))
_EXAMPLES = 5

_PATTERNS: dict[str, Callable[[list[str]], bool]] = {
    "initials": lambda words: len(words) == 1 and words[0].isupper() and 2 <= len(words[0]) <= 6,
    "one word": lambda words: len(words) == 1,
    "two words": lambda words: len(words) == 2,
    "three words or more": lambda words: len(words) >= 3,
    "a small word inside": lambda words: any(word in _SMALL_WORDS for word in words[1:-1]),
    "a hyphen": lambda words: any("-" in word.strip("-") for word in words),
    "a digit": lambda words: any(character.isdigit() for word in words for character in word),
    "not capitalised": lambda words: words[0].islower(),
}


class NamePattern(msgspec.Struct, frozen=True):
    """Of ``names`` settled entities whose source name was tagged and has the ``pattern``, ``lost`` were not
    predicted exactly; ``low`` and ``high`` bound the share that is lost (Wilson, 95 %). ``examples`` are
    ``source name → target name``."""

    pattern: str
    names: int
    lost: int
    low: float
    high: float
    examples: tuple[str, ...]


def name_patterns(tasks: Iterable[ReviewedTask]) -> list[NamePattern]:
    """Patterns of source names and labels, those that lose the largest share of their names for certain first."""
    names: dict[str, int] = defaultdict(int)
    lost: dict[str, list[str]] = defaultdict(list)
    for task in tasks:
        links = SourceLinks(task)
        predicted = {(entity.start, entity.end, entity.label) for entity in task.predicted}
        for entity in task.gold:
            mention = links.mention_of(entity)
            if mention is None or task.source is None:
                continue
            name = task.source[mention.start : mention.end]
            for pattern in _patterns_of(name, entity):
                names[pattern] += 1
                if (entity.start, entity.end, entity.label) not in predicted:
                    lost[pattern].append(f"{name} → {task.text[entity.start : entity.end]}")
    rows = [_row(pattern, count, lost[pattern]) for pattern, count in names.items()]
    return sorted(rows, key=lambda row: (-row.low, row.pattern))


def _patterns_of(name: str, entity: Entity) -> list[str]:
    words = name.split()
    shapes = [pattern for pattern, fits in _PATTERNS.items() if words and fits(words)]
    return [*shapes, f"label {entity.label}"]


def _row(pattern: str, names: int, lost: list[str]) -> NamePattern:
    from scipy.stats import binomtest

    interval = binomtest(len(lost), names).proportion_ci(method="wilson")
    examples = tuple(dict.fromkeys(lost))[:_EXAMPLES]
    return NamePattern(pattern, names, len(lost), float(interval.low), float(interval.high), examples)
