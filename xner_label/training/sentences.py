"""Tasks as models see them."""

from __future__ import annotations

import msgspec

from xner_label.entities import Entity, ProjectedEntity, Tokens


class Sentence(msgspec.Struct, frozen=True):
    """A task as a model sees it: its tokens and, where a pipeline has projected it, the projected entities.

    ``source`` and ``source_entities`` are the text that it was projected from and what was tagged there, where
    they are known: what a model with fused input reads beside the text.
    """

    task_id: int
    id: str
    tokens: Tokens
    silver: tuple[ProjectedEntity, ...] | None = None
    source: str | None = None
    source_entities: tuple[Entity, ...] = ()

    @property
    def text(self) -> str:
        """The sentence."""
        return self.tokens.text


class GoldSentence(msgspec.Struct, frozen=True):
    """A sentence with the entities that people settled."""

    sentence: Sentence
    entities: tuple[Entity, ...]
