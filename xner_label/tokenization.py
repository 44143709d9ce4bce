"""The built-in tokeniser, used wherever a task brings no tokens of its own.

Words keep their combining marks and inner apostrophes and hyphens (``ng'ombe``, ``Jean-Paul``), but a final
``'s`` is a token of its own, so that a name ends where the name ends; numbers keep their separators
(``1,000.5``, ``17:30``); each letter of a script written without spaces (Han, kana, Thai, Lao, Khmer, Myanmar)
is a token with its marks; every other visible character is a token of its own, emoji sequences whole. White
space and control characters belong to no token.
"""

from __future__ import annotations

import regex

_UNSPACED = "".join(
    rf"\p{{Script_Extensions={script}}}"
    for script in ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
)
_WORD = rf"[[\p{{L}}\p{{M}}\p{{N}}_\u200c\u200d]--[{_UNSPACED}]]"
_POSSESSIVE = rf"['’][sS](?!{_WORD})"
_TOKEN = regex.compile(
    rf"(?V1)[{_UNSPACED}]\p{{M}}*"
    rf"|(?<={_WORD}){_POSSESSIVE}"
    rf"|{_WORD}+(?:(?!{_POSSESSIVE})(?:['’ʼ‐‑-]|(?<=\p{{N}})[.,:/](?=\p{{N}})){_WORD}+)*"
    r"|(?![\s\p{C}])\X"
)


def tokenize(text: str) -> list[tuple[int, int]]:
    """Return the tokens of ``text`` as ``(start, end)`` code-point spans, in order."""
    return [match.span() for match in _TOKEN.finditer(text)]
