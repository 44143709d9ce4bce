"""A task made of tokens with tags, as CoNLL columns and Hugging Face records give it."""

from __future__ import annotations

from collections.abc import Sequence

import regex

from xner_label.entities import Entity, Task, Tokens
from xner_label.errors import RecordError
from xner_label.exchange.readers.interface import id_of
from xner_label.exchange.tag_schemes import decode_tags

# Letters, marks and punctuation of scripts that put no spaces between words.
_SCRIPTS = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
_UNSPACED = regex.compile("|".join(rf"\p{{Script_Extensions={script}}}" for script in _SCRIPTS))


def task_of(
    tokens: Sequence[str], tags: Sequence[str], *, key: str | int | None = None, text: str | None = None
) -> Task:
    """A task with its tokens, and the entities of the tags as code points.

    ``text`` is the running text where the file has it; otherwise the tokens are joined (:func:`join`). Tokens of
    nothing but white space are left out. ``key`` is the task's id, by default made from the text. Raises
    RecordError for tokens that aren't in the text, and for an entity that has no visible token.
    """
    stripped = [token.strip() for token in tokens]
    visible = [index for index, token in enumerate(stripped) if token]
    words = tuple(stripped[index] for index in visible)
    if text is None:
        text = join(words)
    located = Tokens.locate(text, words)
    new_index = {old: new for new, old in enumerate(visible)}
    entities = []
    for first, last, label in decode_tags(tags):
        covered = [new_index[index] for index in range(first, last) if index in new_index]
        if not covered:
            raise RecordError("tags", f"token {first} has the tag of a {label} and holds nothing but white space")
        span = located.span(covered[0], covered[-1] + 1)
        entities.append(Entity(span.start, span.end, label))
    return Task(id=id_of(text) if key is None else key, text=text, tokens=words, entities=tuple(entities))


def join(words: Sequence[str]) -> str:
    """The words as running text: with single spaces, but for those between letters of scripts that have none."""
    pieces: list[str] = []
    for word in words:
        if pieces and not (_UNSPACED.fullmatch(pieces[-1][-1]) and _UNSPACED.fullmatch(word[0])):
            pieces.append(" ")
        pieces.append(word)
    return "".join(pieces)
