"""A table of evidence made anew, in which what has hardly changed stays as it was.

A task's answer depends on the entries that its own names and texts look up. Counts of a corpus that grows all
grow a little, and without a threshold nearly every task would be another one. So an entry takes the new counts
only where its evidence moves, and all that is looked up together (a name with its votes, a text with its
occurrences) moves together, so that shares stay shares. An entry that stays is never further than the threshold
from the true counts: it is compared with them at each refresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.projection.corpus.counts import Counts, find
from xner_label.projection.corpus.tally import Tally
from xner_label.projection.corpus.text_hashes import HashedWords, Hashes, halves
from xner_label.projection.loglinear.columns import Bools, Floats

# How far an entry may be from the true counts: the logarithm of one more than a count, and a share.
_GROWTH, _SHARE = 0.4, 0.1
_MOST_RATE = 1.5  # as the evidence has it


class RefreshedTable(NamedTuple):
    """tally: the table; names, texts: hashes of the folded names (:func:`halves`) and texts whose entries are
    others than before, in order. Two names that share a half move together: some two hundred of a million do."""

    tally: Tally
    names: Hashes
    texts: Hashes


def refresh(before: Tally, counted: Tally) -> RefreshedTable:
    """The table ``before`` with the entries of ``counted`` where their evidence has moved.

    Both have the same labels and hold the same sentences.
    """
    names = _moved_names(before, counted)
    texts = _moved_texts(before, counted)
    tally = msgspec.structs.replace(
        before,
        names=_mixed(before.names, counted.names, names, by_half=True),
        votes=_mixed(before.votes, counted.votes, names, by_half=True),
        entities=_mixed(before.entities, counted.entities, texts),
        occurrences=_mixed(before.occurrences, counted.occurrences, texts),
    )
    return RefreshedTable(tally, names, texts)


class Lookups:
    """Which sentences look up an entry that moved; may name one that doesn't, never misses one.

    Names and texts are those of :class:`RefreshedTable`.
    """

    def __init__(self, names: Hashes, texts: Hashes) -> None:
        self._names, self._texts = names, texts

    def touch(self, source: Sequence[str], target: Sequence[str]) -> bool:
        """Whether one of the moved entries is a run of these folded words."""
        names, texts = (HashedWords.of(words).all_runs() for words in (source, target))
        return bool(find(self._names, halves(names))[1].any() or find(self._texts, texts)[1].any())


def _moved_names(before: Tally, counted: Tally) -> Hashes:
    names = np.union1d(before.names.keys, counted.names.keys)
    old, new = before.names.of(names), counted.names.of(names)
    shares = [rows[:, 1:] / (rows[:, :1] + 1) for rows in (old, new)]
    moved = _has_grown(old[:, 0], new[:, 0]) | (np.abs(shares[0] - shares[1]) > _SHARE).any(axis=1)
    pairs = np.union1d(before.votes.keys, counted.votes.keys)
    name = np.searchsorted(halves(names), halves(pairs))
    shares = [tally.votes.of(pairs)[:, 0] / (rows[name, 0] + 1) for tally, rows in ((before, old), (counted, new))]
    return np.union1d(halves(names[moved]), halves(pairs[np.abs(shares[0] - shares[1]) > _SHARE]))


def _moved_texts(before: Tally, counted: Tally) -> Hashes:
    texts = np.union1d(before.entities.keys, counted.entities.keys)
    old, new = before.entities.of(texts)[:, 0], counted.entities.of(texts)[:, 0]
    rates = [
        np.minimum(entities / (tally.occurrences.of(texts)[:, 0] + 1.0), _MOST_RATE)
        for tally, entities in ((before, old), (counted, new))
    ]
    moved: Bools = _has_grown(old, new) | (np.abs(rates[0] - rates[1]) > _SHARE)
    return texts[moved]


def _has_grown(old: Floats, new: Floats) -> Bools:
    result: Bools = np.abs(np.log1p(old) - np.log1p(new)) > _GROWTH
    return result


def _mixed(old: Counts, new: Counts, moved: Hashes, *, by_half: bool = False) -> Counts:
    """The new rows of what has moved, the old ones of everything else."""
    mixed = Counts(old.columns)
    for counts, has_moved in ((old, False), (new, True)):
        keys = halves(counts.keys) if by_half else counts.keys
        chosen = find(moved, keys)[1] == has_moved
        mixed.add(counts.keys[chosen], counts.values[chosen])
    return mixed
