"""What every trained model promises, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from xner_label.entities import Entity
from xner_label.training.sentences import Sentence


class TaggedText(msgspec.Struct, frozen=True):
    """The entities of one text, in text order, each with its probability as ``score``; ``confidence`` is the
    probability that the whole text is right."""

    entities: tuple[Entity, ...]
    confidence: float


class NerModel(Protocol):
    """A trained named-entity recogniser. Safe to share between threads."""

    kind: str

    def predict(self, sentences: Sequence[Sentence]) -> list[TaggedText]:
        """One answer per sentence, in order."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything the model needs into an empty folder."""
        ...
