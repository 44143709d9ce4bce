"""What the stages of the pipeline promise each other, and the cache they may be handed.

Every stage carries a ``signature``: a short string that names the method, the model and every option that
changes its output. Two stages with the same signature give the same answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeGuard

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

from xner_label.entities import Entity, Link, Span, Tokens
from xner_label.errors import RecordError


class Segment(msgspec.Struct, frozen=True):
    """A part of a text that was translated by itself, and its translation, as code-point spans of both."""

    text: Span
    translation: Span


# Source words, target words.
SentencePair = tuple[Sequence[str], Sequence[str]]


class Translation(msgspec.Struct, frozen=True):
    """A translated text; ``score`` is the mean log-probability per target subtoken, None for a human one.

    ``segments`` says which part of the translation came from which part of a text that was cut, in order.
    """

    text: str
    score: float | None = None
    segments: tuple[Segment, ...] = ()


class Translator(Protocol):
    """Translates texts into the source language (the language of the tagger)."""

    signature: str

    def translate(self, texts: Sequence[str]) -> Sequence[Translation | RecordError]:
        """One translation per text, in order, or what keeps the text from getting one."""
        ...


class Tagger(Protocol):
    """Finds entities in source-language texts."""

    @property
    def signature(self) -> str:
        """Names method, model and options."""
        ...

    def tag(self, texts: Sequence[Tokens]) -> Sequence[list[Entity] | RecordError]:
        """The entities of each text, in text order, offsets in code points, each with its probability; or what
        keeps the text from being tagged."""
        ...


class Aligner(Protocol):
    """Links the words of sentence pairs."""

    @property
    def learns(self) -> bool:
        """Whether it is a LearningAligner, which has ``fit``."""
        ...

    @property
    def signature(self) -> str:
        """What names this aligner; that of one that learns changes when it has."""
        ...

    def align(self, pairs: Sequence[SentencePair]) -> list[list[Link]]:
        """For each (source words, target words) its links ``(source, target, weight)``, sorted."""
        ...


class LearningAligner(Aligner, Protocol):
    """An aligner that learns from parallel text, and so should get all of it before it aligns any."""

    def fit(self, pairs: Sequence[SentencePair]) -> bool:
        """Learn from a project's parallel text; True when that changed the signature."""
        ...


def learns(aligner: Aligner | None) -> TypeGuard[LearningAligner]:
    """Whether there is an aligner, and one that learns from the text it is given."""
    return aligner is not None and aligner.learns


class Cache(Protocol):
    """A place that keeps results between runs, handed in by whoever owns storage."""

    def get_many(self, namespace: str, keys: Sequence[str]) -> dict[str, bytes]:
        """The entries that exist, by key."""
        ...

    def put_many(self, namespace: str, entries: Mapping[str, bytes]) -> None:
        """Add or replace entries."""
        ...


class TargetTagger(Protocol):
    """Tells what it thinks of each word of a target-language text."""

    @property
    def signature(self) -> str:
        """Names method, model and options."""
        ...

    @property
    def tags(self) -> Sequence[str]:
        """The IOB2 tags, in the order of the columns of :meth:`token_probabilities`."""
        ...

    def token_probabilities(self, texts: Sequence[Tokens]) -> Sequence[NDArray[np.float64]]:
        """P(tag | token) of each text, shape (tokens, tags)."""
        ...


class VariantScorer(Protocol):
    """Says how probable a translation model finds each of many variants of a text."""

    signature: str

    def log_probabilities(
        self, sources: Sequence[str], text: str, variants: Sequence[str], least_ratio: float = 0.0
    ) -> NDArray[np.float64]:
        """log P(variant | source) of all its subtokens, the end included: shape (sources, variants).

        ``variants`` are ``text`` with something inserted. Minus infinity for those of less than ``least_ratio``
        times the source's most probable variant, and for all where a text is longer than the model reads.
        """
        ...


class TranslationScorer(Protocol):
    """Judges how well texts translate each other, without translating."""

    signature: str

    def to_target(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """For each (source, target) the mean log-probability per subtoken of the target given the source."""
        ...

    def to_source(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """For each (source, target) the mean log-probability per subtoken of the source given the target."""
        ...
