"""What a CRF observes at each word. Needs Python's own library alone: exported models bring this file along."""

import unicodedata
from collections.abc import Sequence

from xner_label.letter_case import has_case, shape

# Part of the signature: a model only fits the features it was trained with.
FEATURES_VERSION = 2
_AFFIXES = (1, 2, 3, 4, 5)


def features(words: Sequence[str], extra: Sequence[Sequence[str]] | None = None) -> list[list[str]]:
    """The observations at each word: itself, its affixes and shape, and the same of up to two words around.

    Words of scripts without capitals, whose shape says little, also show their script, their length and their
    letters in twos and threes.

    ``extra`` adds observations of the caller's own, one list per word (a projected tag, a gazetteer).
    """
    lowered = [word.lower() for word in words]
    shapes = [shape(word) for word in words]
    rows: list[list[str]] = []
    for index, word in enumerate(lowered):
        row = ["bias", f"w={word}", f"s={shapes[index]}"]
        row += [f"p={word[:size]}" for size in _AFFIXES if len(word) >= size]
        row += [f"e={word[-size:]}" for size in _AFFIXES if len(word) >= size]
        if not word.isascii() and not has_case(word):
            row += _letters(word)
        for offset in (-2, -1, 1, 2):
            near = index + offset
            if 0 <= near < len(lowered):
                row += [f"{offset}w={lowered[near]}", f"{offset}s={shapes[near]}"]
                if abs(offset) == 1:
                    row += [f"{offset}p={lowered[near][:3]}", f"{offset}e={lowered[near][-3:]}"]
            else:
                row.append(f"{offset}end")
        if index:
            row += [f"ww={lowered[index - 1]}|{word}", f"ss={shapes[index - 1]}|{shapes[index]}"]
        if extra is not None:
            row += extra[index]
        rows.append(row)
    return rows


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
