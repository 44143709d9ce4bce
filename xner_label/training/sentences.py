"""Tasks as models see them."""

from __future__ import annotations

import msgspec

from xner_label.entities import Entity, ProjectedEntity, Tokens


class Sentence(msgspec.Struct, frozen=True):
    """A task as a model sees it: its tokens and, where a pipeline has projected it, the projected entities.

    ``source`` and ``source_entities`` are the text that it was projected from and what was tagged there, where
    they are known: what a model with fused input reads beside the text. ``source_is_translated``: a translator
    made it of the text.
    """

    task_id: int
    id: str
    tokens: Tokens
    silver: tuple[ProjectedEntity, ...] | None = None
    source: str | None = None
    source_entities: tuple[Entity, ...] = ()
    source_is_translated: bool = False

    @property
    def text(self) -> str:
        """The sentence."""
        return self.tokens.text

    @property
    def text_alone(self) -> Sentence:
        """The sentence as if it had no source and nothing had projected it."""
        return msgspec.structs.replace(
            self, silver=None, source=None, source_entities=(), source_is_translated=False
        )


class GoldSentence(msgspec.Struct, frozen=True):
    """A sentence with the entities that people settled, and the ``people`` who say so."""

    sentence: Sentence
    entities: tuple[Entity, ...]
    people: tuple[str, ...] = ()
