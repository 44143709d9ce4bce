"""How words look: their shape, and the form in which names are compared."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_SHAPES = {True: "X", False: "x"}


def shape(word: str) -> str:
    """The word's shape: capitals X, other letters x, digits 9, the rest as it stands; runs longer than two cut."""
    kept: list[str] = []
    for character in word:
        if character.isalpha():
            character = _SHAPES[character.isupper()]
        elif character.isdigit():
            character = "9"
        if kept[-2:] != [character, character]:
            kept.append(character)
    return "".join(kept)


@lru_cache(maxsize=1 << 16)
def fold(text: str) -> str:
    """Lower case without diacritics, for comparing names: ``Müller`` and ``MULLER`` fold alike."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))
