"""64-bit hashes of texts, the same in every process, that are made of those of their words.

With w(1) ... w(n) the hashes of a text's words, that of the text is f(w(1) B**(n - 1) + ... + w(n)) modulo 2**64:
a polynomial (Karp and Rabin 1987), by which all runs of a text are hashed at once, and f, which spreads its bits
over the whole number (the finaliser of SplitMix64, Steele et al. 2014). That any two of ten million texts share a
hash has a probability of one in 300,000.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import chain

import numpy as np
import numpy.typing as npt

from xner_label.projection.loglinear.columns import Ints, borders

Hashes = npt.NDArray[np.uint64]

_BASE = 0x9E3779B97F4A7C17
_INVERSE = pow(_BASE, -1, 2**64)
_FIRST_HALF, _SECOND_HALF = np.uint64(0xFFFFFFFF00000000), np.uint64(0xFFFFFFFF)


class HashedWords:
    """Words in a row, any run of which has the hash of the text that they make with single spaces between them.
    ``code`` (n,) are places in ``vocabulary``; what stands there may hold spaces itself."""

    def __init__(self, vocabulary: Sequence[str], code: Ints) -> None:
        sizes = np.array([text.count(" ") + 1 for text in vocabulary], np.int64)
        self._at: Ints = borders(sizes[code])
        count = int(self._at[-1])
        self._powers = _powers(_BASE, count + 1)
        terms = _polynomials(vocabulary)[code] * _powers(_INVERSE, count)[self._at[1:] - 1]
        self._sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms)])

    @classmethod
    def of(cls, words: Iterable[str]) -> HashedWords:
        """Of words as they come."""
        codes: dict[str, int] = {}
        code = np.array([codes.setdefault(word, len(codes)) for word in words], np.int64)
        return cls(list(codes), code)

    def runs(self, first: Ints, last: Ints) -> Hashes:
        """The hashes of the words ``[first, last)``, both (n,), of at least one word each."""
        return _spread((self._sums[last] - self._sums[first]) * self._powers[self._at[last] - 1])

    def all_runs(self) -> Hashes:
        """The hashes of all runs of words."""
        first, final = np.triu_indices(len(self._at) - 1)
        return self.runs(first, final + 1)


def hash_texts(texts: Sequence[str]) -> Hashes:
    """(T,) of texts."""
    return _spread(_polynomials(texts))


def hash_ngrams(texts: Sequence[Sequence[str]], longest: int) -> Hashes:
    """Of all runs of up to so many words in texts that are given as words, in no particular order."""
    words = HashedWords.of(chain.from_iterable(texts))
    lengths = np.array([len(text) for text in texts], np.int64)
    end = np.repeat(np.cumsum(lengths), lengths)
    first = np.arange(len(end))
    runs = [first[first + length <= end] for length in range(1, min(longest, int(lengths.max(initial=0))) + 1)]
    hashes = [words.runs(start, start + length) for length, start in enumerate(runs, start=1)]
    return np.concatenate([np.zeros(0, np.uint64), *hashes])


def hash_pairs(names: Hashes, texts: Hashes) -> Hashes:
    """(n,) of a name with a text: half of the bits of each, so that a name's pairs lie together in order."""
    result: Hashes = (names & _FIRST_HALF) | (texts & _SECOND_HALF)
    return result


def halves(hashes: Hashes) -> Hashes:
    """(n,) what of a name's hash is in those of its pairs."""
    result: Hashes = hashes & _FIRST_HALF
    return result


def _polynomials(texts: Sequence[str]) -> Hashes:
    return np.array([_polynomial(text) for text in texts], np.uint64)


@lru_cache(maxsize=1 << 16)
def _polynomial(text: str) -> int:
    """Of single words, mostly, and the same ones again and again."""
    value = 0
    for word in text.split(" "):
        digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        value = (value * _BASE + int.from_bytes(digest, "little")) % 2**64
    return value


def _powers(base: int, count: int) -> Hashes:
    """base**0 ... base**(count - 1), modulo 2**64."""
    factors = np.full(count, base, np.uint64)
    factors[:1] = 1
    result: Hashes = np.cumprod(factors)
    return result


def _spread(hashes: Hashes) -> Hashes:
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))
