"""A table of evidence made anew, in which what has hardly changed stays as it was.

A task's answer depends on the entries that its own names and texts look up. Counts of a corpus that grows all
grow a little, and without a threshold nearly every task would be another one. So an entry takes the new counts
only where its evidence moves, and all that is looked up together (a name with its votes, a text with its
occurrences) moves together, so that shares stay shares. An entry that stays is never further than the threshold
from the true counts: it is compared with them at each refresh.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import log1p
from typing import NamedTuple, TypeVar

import msgspec

from xner_label.projection.corpus.tally import Tally

# How far an entry may be from the true counts: the logarithm of one more than a count, and a share.
_GROWTH, _SHARE = 0.4, 0.1
_MOST_RATE = 1.5  # as the evidence has it

Count = TypeVar("Count")


class RefreshedTable(NamedTuple):
    """tally: the table; names, texts: the folded names and texts whose entries are others than before."""

    tally: Tally
    names: frozenset[str]
    texts: frozenset[str]


def refresh(before: Tally, counted: Tally) -> RefreshedTable:
    """The table ``before`` with the entries of ``counted`` where their evidence has moved.

    Both have the same labels and hold the same sentences.
    """
    names = _moved_names(before, counted)
    texts = _moved_texts(before, counted)
    tally = msgspec.structs.replace(
        before,
        names=_mixed(before.names, counted.names, names),
        votes={key: value for key, value in before.votes.items() if _name_of(key) not in names}
        | {key: value for key, value in counted.votes.items() if _name_of(key) in names},
        entities=_mixed(before.entities, counted.entities, texts),
        occurrences=_mixed(before.occurrences, counted.occurrences, texts),
    )
    return RefreshedTable(tally, names, texts)


class Lookups:
    """Which sentences look up an entry that moved; may name one that doesn't, never misses one.

    Names and texts are runs of folded words, as in the table.
    """

    def __init__(self, names: Sequence[str], texts: Sequence[str]) -> None:
        self._source = frozenset(names), _longest(names)
        self._target = frozenset(texts), _longest(texts)

    def touch(self, source: Sequence[str], target: Sequence[str]) -> bool:
        """Whether one of the moved entries is a run of these folded words."""
        return any(
            not moved.isdisjoint(_runs(words, longest))
            for words, (moved, longest) in ((source, self._source), (target, self._target))
        )


def _moved_names(before: Tally, counted: Tally) -> frozenset[str]:
    nothing = [0.0] * (3 + len(before.labels))
    moved: set[str] = set()
    for name in before.names.keys() | counted.names.keys():
        old, new = before.names.get(name, nothing), counted.names.get(name, nothing)
        if _has_grown(old[0], new[0]) or any(
            abs(part / (old[0] + 1) - now / (new[0] + 1)) > _SHARE
            for part, now in zip(old[1:], new[1:], strict=True)
        ):
            moved.add(name)
    for key in before.votes.keys() | counted.votes.keys():
        name = _name_of(key)
        if name not in moved:
            old, new = before.names.get(name, nothing), counted.names.get(name, nothing)
            shares = before.votes.get(key, 0.0) / (old[0] + 1), counted.votes.get(key, 0.0) / (new[0] + 1)
            if abs(shares[0] - shares[1]) > _SHARE:
                moved.add(name)
    return frozenset(moved)


def _moved_texts(before: Tally, counted: Tally) -> frozenset[str]:
    return frozenset(
        text
        for text in before.entities.keys() | counted.entities.keys()
        if _has_grown(before.entities.get(text, 0.0), counted.entities.get(text, 0.0))
        or abs(_rate(before, text) - _rate(counted, text)) > _SHARE
    )


def _has_grown(old: float, new: float) -> bool:
    return abs(log1p(old) - log1p(new)) > _GROWTH


def _rate(tally: Tally, text: str) -> float:
    return min(tally.entities.get(text, 0.0) / (tally.occurrences.get(text, 0.0) + 1.0), _MOST_RATE)


def _mixed(old: Mapping[str, Count], new: Mapping[str, Count], moved: frozenset[str]) -> dict[str, Count]:
    kept = {key: value for key, value in old.items() if key not in moved}
    return kept | {key: new[key] for key in moved if key in new}


def _name_of(key: str) -> str:
    return key.partition("\t")[0]


def _longest(texts: Sequence[str]) -> int:
    """At most so many words: one of them may hold a space itself."""
    return 1 + max((text.count(" ") for text in texts), default=-1)


def _runs(words: Sequence[str], longest: int) -> Iterator[str]:
    for first in range(len(words)):
        for last in range(first + 1, min(len(words), first + longest) + 1):
            yield " ".join(words[first:last])
