"""What every trained model promises, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from xner_label.entities import Entity, Tokens
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

    @property
    def tags(self) -> Sequence[str]:
        """The IOB2 tags, in the order of the columns of :meth:`token_probabilities`."""
        ...

    def token_probabilities(self, texts: Sequence[Tokens]) -> list[NDArray[np.float64]]:
        """P(tag | word) of each text by itself, shape (words, tags)."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything the model needs into an empty folder."""
        ...
