"""Tags of any usual scheme as spans: IOB1, IOB2, IOE, BIOES, BILOU, BMES, and bare labels (IO).

They agree wherever they use the same letter, so that one reading serves all of them: B, S and U begin an entity; I
and M continue one of the same label, or begin one where there is none; E and L are its last token; a bare label
continues the same label before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from xner_label.iob2 import TokenSpan

OUTSIDE = frozenset({"O", "o", "_", "-", ""})
_PREFIXED = re.compile(r"([BIESLUMbieslum])[-_](.+)", re.DOTALL)
_SUFFIXED = re.compile(r"(.+)[-_]([BIESLUM])", re.DOTALL)
# Labels of syntactic chunks (CoNLL-2000), which look like entity tags and aren't.
CHUNKS = frozenset(
    {"NP", "VP", "PP", "ADVP", "ADJP", "SBAR", "PRT", "CONJP", "INTJ", "LST", "UCP", "NC", "VC", "PC", "NX"}
)


def split_tag(tag: str) -> tuple[str, str]:
    """A tag as (letter, label): ``B-PER`` and ``PER-B`` as ``("B", "PER")``, a bare label as ``("I", label)``."""
    if tag in OUTSIDE:
        return "O", ""
    if match := _PREFIXED.fullmatch(tag):
        return match[1].upper(), match[2]
    match = _SUFFIXED.fullmatch(tag)
    return (match[2], match[1]) if match else ("I", tag)


def is_tag(value: str) -> bool:
    """Whether a string is a tag with a letter of one of the schemes, or ``O``."""
    return value in ("O", "o") or any(form.fullmatch(value) for form in (_PREFIXED, _SUFFIXED))


def decode_tags(tags: Sequence[str]) -> list[TokenSpan]:
    """The entities of a tag sequence, in order, whichever of the schemes it is in."""
    spans: list[TokenSpan] = []
    first, current = 0, ""
    for index, tag in enumerate(tags):
        letter, label = split_tag(tag)
        if current and (label != current or letter in "BSU"):
            spans.append((first, index, current))
            current = ""
        if label and not current:
            first, current = index, label
        if current and letter in "ESLU":
            spans.append((first, index + 1, current))
            current = ""
    if current:
        spans.append((first, len(tags), current))
    return spans
