"""What a CRF observes at each word. Needs Python's own library alone: exported models bring this file along."""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from xner_label.letter_case import has_case, shape

# Part of the signature: a model only fits the features it was trained with.
FEATURES_VERSION = 2
_AFFIXES = (1, 2, 3, 4, 5)
# Where the words around a word stand.
_AROUND = (-2, -1, 1, 2)


def features(words: Sequence[str], extra: Sequence[Sequence[str]] | None = None) -> list[list[str]]:
    """The observations at each word: itself, its affixes and shape, and the same of up to two words around.

    Words of scripts without capitals, whose shape says little, also show their script, their length and their
    letters in twos and threes.

    ``extra`` adds observations of the caller's own, one list per word (a projected tag, a gazetteer).
    """
    seen = [_observed(word) for word in words]
    rows: list[list[str]] = []
    for index, word in enumerate(seen):
        row = [*word.at_it]
        for offset in _AROUND:
            near = index + offset
            row += seen[near].around_it[offset] if 0 <= near < len(seen) else (f"{offset}end",)
        if index:
            before = seen[index - 1]
            row += [f"ww={before.lowered}|{word.lowered}", f"ss={before.shape}|{word.shape}"]
        if extra is not None:
            row += extra[index]
        rows.append(row)
    return rows


class _Observed(NamedTuple):
    """A word in lower case, its shape, and what is observed of it: where it stands, and where it stands so many
    words away."""

    lowered: str
    shape: str
    at_it: tuple[str, ...]
    around_it: dict[int, tuple[str, ...]]


@lru_cache(maxsize=1 << 14)
def _observed(word: str) -> _Observed:
    lowered, its_shape = word.lower(), shape(word)
    at_it = ["bias", f"w={lowered}", f"s={its_shape}"]
    at_it += [f"p={lowered[:size]}" for size in _AFFIXES if len(lowered) >= size]
    at_it += [f"e={lowered[-size:]}" for size in _AFFIXES if len(lowered) >= size]
    if not lowered.isascii() and not has_case(lowered):
        at_it += _letters(lowered)
    around_it: dict[int, tuple[str, ...]] = {}
    for offset in _AROUND:
        around_it[offset] = (f"{offset}w={lowered}", f"{offset}s={its_shape}")
        if abs(offset) == 1:
            around_it[offset] += (f"{offset}p={lowered[:3]}", f"{offset}e={lowered[-3:]}")
    return _Observed(lowered, its_shape, tuple(at_it), around_it)


def tag_observations(name: str, tags: Sequence[str]) -> list[list[str]]:
    """What another tagger, called ``name``, says of each word and of those beside it, as observations."""
    padded = ["^", *tags, "$"]
    return [
        [f"{name}={padded[index]}", f"{name}-1={padded[index - 1]}", f"{name}+1={padded[index + 1]}"]
        for index in range(1, len(padded) - 1)
    ]


def _letters(word: str) -> list[str]:
    framed = f"<{word}>"
    grams = [f"g={framed[at : at + size]}" for size in (2, 3) for at in range(len(framed) - size + 1)]
    script = unicodedata.name(word[0], "").partition(" ")[0]
    return [f"script={script}", f"length={min(len(word), 8)}", *grams]
