"""Texts that are almost the same: what is learned from must not be what is judged by, a word changed.

MinHash over runs of letters, banded (Broder 1997; Indyk & Motwani 1998; the library datasketch), finds candidates;
the similarity of those is then counted exactly.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from xner_label.word_forms import fold

_LETTERS = 5
_PERMUTATIONS = 64
_SEED = 13


class NearDuplicates:
    """Finds texts whose runs of five letters are shared to at least ``similarity`` (Jaccard, 0..1; 1: none is
    looked for) with one of ``texts``. Case, diacritics and white space don't count."""

    def __init__(self, texts: Collection[str], similarity: float) -> None:
        self._similarity = similarity
        self._runs = {} if similarity >= 1 else {str(place): _runs(text) for place, text in enumerate(texts)}
        self._index: Any = None
        if self._runs:
            from datasketch import MinHashLSH

            # the index misses little below its threshold, and what it finds in vain is counted exactly
            self._index = MinHashLSH(threshold=max(similarity - 0.1, 0.1), num_perm=_PERMUTATIONS)
            for key, runs in self._runs.items():
                if runs:
                    self._index.insert(key, _min_hash(runs))

    def has(self, text: str) -> bool:
        """Whether a text is nearly one of them."""
        if self._index is None:
            return False
        runs = _runs(text)
        if not runs:
            return False
        near = (self._runs[key] for key in self._index.query(_min_hash(runs)))
        return any(len(runs & other) >= self._similarity * len(runs | other) for other in near)


def _runs(text: str) -> frozenset[bytes]:
    letters = " ".join(fold(text).split())
    return frozenset(
        letters[start : start + _LETTERS].encode() for start in range(max(len(letters) - _LETTERS + 1, 1))
    ) - {b""}


def _min_hash(runs: frozenset[bytes]) -> Any:
    from datasketch import MinHash

    sketch = MinHash(num_perm=_PERMUTATIONS, seed=_SEED)
    sketch.update_batch(runs)
    return sketch
