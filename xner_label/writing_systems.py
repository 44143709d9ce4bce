"""What a word's script says about it: whether it has spaces, and how it would read in Latin letters.

Names are compared in Latin letters, whatever script they are written in. Romanisation is anyascii's, a table
without context, after a few rules of ours for what is read together: vowels that a script leaves out stay out, and
Chinese characters are read in Mandarin, in Japanese text too. The consonant skeleton is what is left where vowels
and the voicing of consonants don't count.
"""

from __future__ import annotations

import re
from functools import lru_cache

import regex
from anyascii import anyascii

# Scripts that put no spaces between words.
UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
# A pattern's character class of them; their shared marks and prolonged sound marks included.
UNSPACED_CLASS = "".join(rf"\p{{Script_Extensions={script}}}" for script in UNSPACED)

# What stands between the parts of a foreign name in Chinese and Japanese.
NAME_DOTS = frozenset("·・･‧•゠＝")
# Brackets that texts close; of quotation marks only those of East Asia, which are brackets in form.
OPENING, CLOSING = frozenset("(（﹙﴾［｛〈《「『【〔〖"), frozenset(")）﹚﴿］｝〉》」』】〕〗")

_UNSPACED = regex.compile(rf"(?V1)[{UNSPACED_CLASS}]")
_FOREIGN = regex.compile(r"(?V1)[\p{L}--\p{Script=Latin}]")
_UNREAD = re.compile(r"[^a-z0-9 ]+")

# What anyascii's table can't know, by script: letters that are read together, vowels that are written before the
# consonant that they follow or only part consonants (Korean), Burmese letters by their sound in foreign names.
# Chosen on the names of countries and cities in CLDR (bench/romanised_names.py).
_READ_TOGETHER = tuple(
    (regex.compile(pattern), reading)
    for pattern, reading in (
        *(("ου", "u"), ("μπ", "b"), ("ντ", "d"), ("γκ", "g"), ("γγ", "ng"), ("τζ", "j"), ("τσ", "ch")),
        *(("[εο]ι", "i"), ("([αε])υ", r"\1v"), ("υ", "y"), ("χ", "h")),
        *(("ու", "u"), ("וו", "v"), (r"(?<=\p{Script=Hebrew})ו", "o")),
        *(("([เแโใไ])([ก-ฮ])", r"\2\1"), ("([ເແໂໃໄ])([ກ-ຮ])", r"\2\1")),
        *(("дж", "j"), ("تش", "ch"), ("[ऑॉ]", "o"), ("ज़", "z"), ("फ़", "f")),
        *(zip("스트르크드프브그즈츠", ("s", "t", "l", "k", "d", "p", "b", "g", "z", "ts"), strict=True)),
        *(("[စဆ]", "s"), ("ဈ", "z"), ("ည", "ny"), ("ွ", "w"), ("ဋ", "t"), ("ဗ", "b")),
    )
)
_READ_BY_RULE = regex.compile(
    r"[\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Armenian}\p{Script=Hebrew}\p{Script=Arabic}"
    r"\p{Script=Devanagari}\p{Script=Thai}\p{Script=Lao}\p{Script=Myanmar}\p{Script=Hangul}]"
)

_SOFT_C = re.compile(r"c(?=[eiy])")
_NASAL = re.compile(r"ng(?![aeiou])")
_MERGED = str.maketrans("bfvdgcqzxjr", "ppptkkksssl")
_LEFT_OUT = str.maketrans("", "", "aeiouywh")
_DOUBLED = re.compile(r"(.)\1+")


def is_unspaced(word: str) -> bool:
    """Whether the word has a letter of a script that puts no spaces between words."""
    return not word.isascii() and _UNSPACED.search(word) is not None


def is_romanisable(word: str) -> bool:
    """Whether the word has a letter of another script than Latin."""
    return not word.isascii() and _FOREIGN.search(word) is not None


@lru_cache(maxsize=1 << 16)
def romanise(folded: str) -> str:
    """A folded word in Latin letters; one that has only Latin letters as it is."""
    if not is_romanisable(folded):
        return folded
    letters = folded
    if _READ_BY_RULE.search(folded):
        for pattern, reading in _READ_TOGETHER:
            letters = pattern.sub(reading, letters)
    return _UNREAD.sub("", anyascii(letters).lower()).strip() or folded


@lru_cache(maxsize=1 << 16)
def consonant_skeleton(latin: str) -> str:
    """The consonants of a romanised word, in classes: voiced and voiceless ones, l and r don't differ."""
    hard = _NASAL.sub("n", _SOFT_C.sub("s", latin))
    return _DOUBLED.sub(r"\1", hard.translate(_MERGED)).translate(_LEFT_OUT)
