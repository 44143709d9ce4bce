"""How WebAnno TSV 3 writes down texts, offsets and labels; what INCEpTION exports and imports.

The format is described in INCEpTION's user guide (appendix "WebAnno TSV 3.3 File format"). Offsets are Java's:
UTF-16 code units from the beginning of the document, so that a character beyond U+FFFF counts as two.
"""

from __future__ import annotations

import re

FORMAT = "#FORMAT=WebAnno TSV 3.3"
# The layer of named entities that INCEpTION comes with, and its feature that holds the label.
NAMED_ENTITY, VALUE = "de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity", "value"
# A cell without an annotation, and an annotation without a value.
NOTHING, NO_VALUE = "_", "*"

_IN_TEXT = {"\\": "\\\\", "\t": "\\t", "\r": "\\r"}
_IN_VALUE = {
    **{mark: f"\\{mark}" for mark in ("\\", "[", "]", "|", "_", "->", ";", "*")},
    "\t": "\\t",
    "\n": "\\n",
}
_VALUE_MARKS = re.compile("->|" + "|".join(re.escape(mark) for mark in _IN_VALUE if mark != "->"))
_ESCAPED = re.compile(r"\\(->|.)", re.DOTALL)
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r"}
_ANNOTATION = re.compile(r"((?:\\.|[^\\|])*?)(?:\[(\d+)\])?(?:\||$)", re.DOTALL)


def escape_text(text: str) -> str:
    """Running text as it stands after ``#Text=`` or in a token's column. It holds no line feed."""
    return "".join(_IN_TEXT.get(character, character) for character in text)


def escape_value(value: str) -> str:
    """A feature's value as it stands in a cell."""
    return _VALUE_MARKS.sub(lambda match: _IN_VALUE[match[0]], value)


def unescape(text: str) -> str:
    """What a piece of a file means."""
    return _ESCAPED.sub(lambda match: _CONTROLS.get(match[1], match[1]), text)


def annotations_of(cell: str) -> list[tuple[str, str]]:
    """The (value, number) pairs of a cell; what is annotated once and on one token has the number "".

    ``LOC[1]|PER[2]`` gives ``[("LOC", "1"), ("PER", "2")]``; an annotation without a value has the value "".
    """
    if cell in (NOTHING, ""):
        return []
    pairs = [(match[1], match[2] or "") for match in _ANNOTATION.finditer(cell) if match[0]]
    return [("" if value == NO_VALUE else unescape(value), number) for value, number in pairs]


def units(text: str) -> int:
    """The length of a text in UTF-16 code units."""
    return len(text) + sum(character > "\uffff" for character in text)


def code_points(text: str, length: int) -> int:
    """How many code points of a text its first ``length`` UTF-16 units are; at most all of them."""
    for index, character in enumerate(text):
        length -= 2 if character > "\uffff" else 1
        if length < 0:
            return index
    return len(text)
