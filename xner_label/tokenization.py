"""The built-in tokeniser, used wherever a task brings no tokens of its own.

Words keep their combining marks, invisible joiners and inner apostrophes and hyphens (``ng'ombe``, ``Jean-Paul``,
Hebrew abbreviations, Catalan ``col·lecció``), but a final ``'s`` is a token of its own, so that a name ends where
the name ends; numbers keep their separators (``1,000.5``, ``17:30``). Scripts without spaces (Han, kana, Thai,
Lao, Khmer, Myanmar) are cut into words, see :mod:`segmentation`, or, without its library, into letters with their
marks; Korean particles are tokens of their own. Every other visible character is a token of its own, emoji
sequences whole. White space and control characters belong to no token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import regex

from xner_label.segmentation import particle_length, word_lengths
from xner_label.writing_systems import UNSPACED_CLASS

_WORD = rf"[[\p{{L}}\p{{M}}\p{{N}}_\u00ad\u200c\u200d\u2060]--[{UNSPACED_CLASS}]]"
_POSSESSIVE = rf"['’][sS](?!{_WORD})"
_JOINED = (
    r"['’ʼ‐‑-]"
    r"|(?<=\p{N})[.,:/](?=\p{N})"
    r"|(?<=\p{Script=Hebrew})[\"״׳](?=\p{Script=Hebrew})"
    r"|(?<=\p{Script=Latin})·(?=\p{Script=Latin})"
)
_UNSPACED_LETTER = rf"[{UNSPACED_CLASS}][\p{{M}}\u200c\u200d\u2060]*"
_OTHERS = (
    rf"|(?<={_WORD}){_POSSESSIVE}"
    rf"|{_WORD}+(?:(?!{_POSSESSIVE})(?:{_JOINED}){_WORD}+)*"
    r"|(?![\s\p{C}])\X"
)
_LETTERS = regex.compile(rf"(?V1){_UNSPACED_LETTER}{_OTHERS}")
_WORDS = regex.compile(rf"(?V1)(?P<unspaced>(?:{_UNSPACED_LETTER})+){_OTHERS}")
# The same of ASCII text, which most source text is, without looking at properties: four times as fast.
_ASCII_POSSESSIVE = r"'[sS](?!\w)"
_ASCII = re.compile(
    rf"(?<=\w){_ASCII_POSSESSIVE}"
    rf"|\w+(?:(?!{_ASCII_POSSESSIVE})(?:['-]|(?<=[0-9])[.,:/](?=[0-9]))\w+)*"
    r"|[!-~]",
    re.ASCII,
)
_HANGUL = regex.compile(r"\p{Script=Hangul}{3,}")


def tokenize(text: str, *, letters: bool = False) -> list[tuple[int, int]]:
    """Return the tokens of ``text`` as ``(start, end)`` code-point spans, in order.

    With ``letters`` nothing is cut that the text alone doesn't show: each letter of a script without spaces is a
    token, particles stay at their word. That is the same everywhere, so that others can count such tokens.
    """
    if text.isascii():
        return [match.span() for match in _ASCII.finditer(text)]
    if letters:
        return [match.span() for match in _LETTERS.finditer(text)]
    return list(_words(text))


def _words(text: str) -> Iterator[tuple[int, int]]:
    for match in _WORDS.finditer(text):
        start, end = match.span()
        if match["unspaced"] is not None:
            lengths = word_lengths(match[0])
            if lengths is None:
                yield from ((start + first, start + last) for first, last in tokenize(match[0], letters=True))
                continue
            for length in lengths:
                yield start, start + length
                start += length
        elif _HANGUL.fullmatch(match[0]) and (particle := particle_length(match[0])):
            yield start, end - particle
            yield end - particle, end
        else:
            yield start, end
