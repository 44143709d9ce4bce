"""Capitals and other letters, by what Python itself knows of Unicode: exported models bring this file along."""

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
def has_case(word: str) -> bool:
    """Whether the word has a letter of a script in which texts distinguish capitals.

    Georgian and Cherokee letters have capitals in Unicode, but texts don't use them.
    """
    return any(
        unicodedata.category(letter) in ("Lu", "Ll", "Lt")
        and not unicodedata.name(letter, "").startswith(("GEORGIAN", "CHEROKEE"))
        for letter in word
    )
