"""The form in which names are compared."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import regex

# Letters with a stroke and the like, which don't decompose; variants of an Arabic letter; quotation marks that
# serve as apostrophes and in Hebrew abbreviations.
_VARIANTS = str.maketrans(
    dict(zip("łøđıħŧɨʉƀɗɓƙ", "lodihtiubdbk", strict=True))
    | dict.fromkeys("ىیېے", "ي")
    | dict.fromkeys("کڪ", "ك")
    | dict.fromkeys("ةەہھۀ", "ه")
    | dict.fromkeys("’‘ʼ׳", "'")
    | dict.fromkeys("“”״", '"')
    | {"ـ": None}
)
# Scripts in which combining marks are diacritics; elsewhere they are vowels, voicing or tones.
_DIACRITIC = regex.compile(
    r"(?<=[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Hebrew}\p{Script=Arabic}]\p{M}*)\p{M}"
)
_INVISIBLE = regex.compile(r"\p{Cf}+")
_DIGIT = regex.compile(r"[^\P{Nd}0-9]")


@lru_cache(maxsize=1 << 16)
def fold(text: str) -> str:
    """Lower case without diacritics, for comparing names: ``Müller`` and ``MULLER`` fold alike.

    Only marks of Latin, Greek, Cyrillic, Hebrew and Arabic letters are diacritics. Digits of every script become
    ASCII ones, letters with a stroke lose it (``Łódź``), variants of a letter become one, invisible characters go.
    The Armenian ligature ``և`` is ``եվ``, as its capitals are.
    """
    if text.isascii():
        return text.lower()
    decomposed = _DIACRITIC.sub("", unicodedata.normalize("NFKD", text.casefold()))
    plain = unicodedata.normalize("NFC", _INVISIBLE.sub("", decomposed)).translate(_VARIANTS).replace("եւ", "եվ")
    folded: str = _DIGIT.sub(_ascii_digit, plain)
    return folded


def fold_word(word: str) -> str:
    """A folded word; one of combining marks alone stays as it is."""
    return fold(word) or word


def _ascii_digit(match: regex.Match[str]) -> str:
    return str(unicodedata.digit(match[0]))
