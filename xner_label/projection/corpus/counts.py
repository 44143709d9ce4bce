"""Sums by 64-bit key in sorted arrays: 8 bytes for a key and for each number."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from xner_label.projection.corpus.text_hashes import Hashes
from xner_label.projection.loglinear.columns import Bools, Floats, Ints, Numbers

# What is added waits till there is so much of it, or such a share of what is there.
_WAITING, _SHARE = 20_000, 0.1


class Counts:
    """Rows of ``columns`` numbers by key; a key that was never counted has zeros."""

    def __init__(self, columns: int = 1) -> None:
        self.columns = columns
        self._keys: Hashes = np.zeros(0, np.uint64)
        self._values: Floats = np.zeros((0, columns))
        self._waiting: list[tuple[Hashes, Floats]] = []
        self._rows_waiting = 0

    @classmethod
    def made(cls, keys: Hashes, values: Floats) -> Counts:
        """Of keys (n,) in order, each once, and their rows (n, columns), or (n,) of one column."""
        counts = cls(1 if values.ndim == 1 else values.shape[1])
        counts._keys, counts._values = keys, values.reshape(len(keys), counts.columns)
        return counts

    def add(self, keys: Hashes, values: Floats) -> None:
        """Count rows (n, columns), or (n,) of one column, by their keys (n,), which may be the same."""
        self._waiting.append((keys, values.reshape(len(keys), self.columns)))
        self._rows_waiting += len(keys)
        if self._rows_waiting > max(_WAITING, _SHARE * len(self._keys)):
            self._merge()

    def __len__(self) -> int:
        return len(self.keys)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Counts)
            and np.array_equal(self.keys, other.keys)
            and np.array_equal(self.values, other.values)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def keys(self) -> Hashes:
        """(n,) in order, each once."""
        self._merge()
        return self._keys

    @property
    def values(self) -> Floats:
        """(n, columns)"""
        self._merge()
        return self._values

    def of(self, keys: Hashes) -> Floats:
        """(m, columns) of any keys (m,)."""
        if not len(self):
            return np.zeros((len(keys), self.columns))
        asked, group = np.unique(keys, return_inverse=True)
        place, known = find(self.keys, asked)
        values = np.zeros((len(asked), self.columns))
        values[known] = self.values[place[known]]
        result: Floats = values[group]
        return result

    def have(self, keys: Hashes) -> Bools:
        """(m,) which keys were counted."""
        return find(self.keys, keys)[1]

    def chosen(self, rows: Bools) -> Counts:
        """Only some of the rows (n,)."""
        return Counts.made(self.keys[rows], self.values[rows])

    def _merge(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting, self._rows_waiting = self._waiting, [], 0
        keys, group = np.unique(np.concatenate([each for each, _ in waiting]), return_inverse=True)
        rows = np.concatenate([each for _, each in waiting])
        values = np.column_stack([np.bincount(group, column, len(keys)) for column in rows.T])
        place, known = find(self._keys, keys)
        self._values = np.insert(self._values, place[~known], values[~known], axis=0)
        self._keys = np.insert(self._keys, place[~known], keys[~known])
        self._values[np.searchsorted(self._keys, keys[known])] += values[known]


def find(ordered: Numbers, wanted: Numbers) -> tuple[Ints, Bools]:
    """(m,) where in ordered numbers (n,) others (m,) are or would be, and whether they are there."""
    place = np.searchsorted(ordered, wanted)
    known = place < len(ordered)
    known[known] = ordered[place[known]] == wanted[known]
    return place, known


def to_document(value: Any) -> Any:
    """How msgspec encodes counts; for its ``enc_hook``."""
    if not isinstance(value, Counts):
        raise TypeError(f"no document holds a {type(value).__name__}")
    return [
        value.columns,
        value.keys.astype("<u8", copy=False).tobytes(),
        value.values.astype("<f8", copy=False).tobytes(),
    ]


def from_document(kind: type, value: Any) -> Any:
    """For msgspec's ``dec_hook``. Raises ValidationError for what isn't counts."""
    if kind is not Counts:
        raise TypeError(f"no document holds a {kind.__name__}")
    try:
        columns, keys, values = value
        made = Counts.made(np.frombuffer(keys, "<u8"), np.frombuffer(values, "<f8").reshape(-1, columns))
    except (TypeError, ValueError) as error:
        raise msgspec.ValidationError("counts are two arrays") from error
    return made
