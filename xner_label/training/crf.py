"""A trained CRF with its stages: which of them answers a text, and which sees the projection beside it.

How the stages are trained, and which of them are kept, is :mod:`recipes`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from xner_label.entities import Entity, ProjectedEntity, Tokens
from xner_label.errors import ConfigurationError, UsageError
from xner_label.iob2 import encode
from xner_label.stages.tagging.crf import SERVED_VERSIONS, CrfTagger, scored_entities
from xner_label.stages.tagging.crf_features import FEATURES_VERSION, tag_observations
from xner_label.training.model import TaggedText
from xner_label.training.sentences import Sentence

KIND = "crf"
_DESCRIPTION = "crf.json"
# Stages that answer a text without hints, the first there is.
_WITHOUT_HINTS = ("gold", "mixed", "teacher")
_CONFIDENCE_STEPS = 5

Hints = list[list[str]]


class _Description(msgspec.Struct, frozen=True):
    """What a saved model says of itself."""

    features_version: int
    stages: tuple[str, ...]


class CrfModel:
    """The trained stages, by name. Raises UsageError without any."""

    kind = KIND

    def __init__(self, stages: dict[str, CrfTagger]) -> None:
        if not stages:
            raise UsageError(
                "nothing to train on", hint="review some tasks, or run `xner-label predict` for silver"
            )
        self._stages = stages
        self._teacher = stages.get("teacher")

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages there are."""
        return tuple(self._stages)

    def without(self, stage: str) -> CrfModel:
        """The model without a stage, should it have it. Raises UsageError where nothing else is left."""
        return CrfModel({name: tagger for name, tagger in self._stages.items() if name != stage})

    def predict(self, sentences: Sequence[Sentence]) -> list[TaggedText]:
        """One answer per sentence; an entity's score is the lowest marginal of its tags."""
        return [self._tag(sentence) for sentence in sentences]

    def _tag(self, sentence: Sentence) -> TaggedText:
        words = sentence.tokens.words()
        if sentence.silver is not None:
            student = self._stages.get("projected")
            if student is None:
                return _as_projected(sentence.silver)
            beside = joined(hints_of(words, self._teacher), projection_hints(sentence))
            return _tagged(student, sentence, words, beside)
        tagger, hints = self._for_text(words)
        return TaggedText((), 0.0) if tagger is None else _tagged(tagger, sentence, words, hints)

    def _for_text(self, words: Sequence[str]) -> tuple[CrfTagger | None, Hints | None]:
        """What answers a text alone, and the observations that it takes beside the words."""
        if "text" in self._stages:
            return self._stages["text"], hints_of(words, self._teacher)
        return next((self._stages[name] for name in _WITHOUT_HINTS if name in self._stages), None), None

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the stage that answers texts alone."""
        tagger, _ = self._for_text([])
        return ("O",) if tagger is None else tagger.labels

    def token_probabilities(self, texts: Sequence[Tokens]) -> list[NDArray[np.float64]]:
        """P(tag | word) of each text by itself, shape (words, tags)."""
        probabilities = []
        for tokens in texts:
            words = tokens.words()
            tagger, hints = self._for_text(words)
            known = np.ones((len(words), 1)) if tagger is None else tagger.tag_with_marginals(words, hints)[1]
            probabilities.append(known)
        return probabilities

    def save(self, folder: Path) -> None:
        """Write the stages into a folder."""
        for name, tagger in self._stages.items():
            tagger.save(folder / f"{name}.crf")
        description = _Description(FEATURES_VERSION, self.stages)
        (folder / _DESCRIPTION).write_bytes(msgspec.json.encode(description))

    @classmethod
    def load(cls, folder: Path) -> CrfModel:
        """Read a saved model. Raises ConfigurationError when it isn't whole or fits another version."""
        try:
            description = msgspec.json.decode((folder / _DESCRIPTION).read_bytes(), type=_Description)
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigurationError(
                f"{folder} holds no CRF model: {error}", hint="train again with `xner-label train`"
            ) from None
        if description.features_version not in SERVED_VERSIONS:
            raise ConfigurationError(
                f"{folder} was trained on features of version {description.features_version}, "
                f"this is version {FEATURES_VERSION}",
                hint="train again with `xner-label train`",
            )
        return cls({name: CrfTagger.load(folder / f"{name}.crf") for name in description.stages})


def hints_of(words: Sequence[str], teacher: CrfTagger | None) -> Hints:
    """What the teacher thinks of each word, as observations; empty without a teacher."""
    if teacher is None:
        return [[] for _ in words]
    return tag_observations("teacher", teacher.tag_words(words))


def projection_hints(sentence: Sentence) -> Hints:
    """What the pipeline projected onto each word, and how sure it was, as observations."""
    tags = projected_tags(sentence)
    hints = tag_observations("silver", tags)
    for entity in sentence.silver or ():
        first, last, _ = sentence.tokens.covering(entity.start, entity.end)
        step = min(int(entity.confidence * _CONFIDENCE_STEPS), _CONFIDENCE_STEPS - 1)
        for index in range(first, last):
            hints[index].append(f"silver={tags[index]}|{step}")
    return hints


def projected_tags(sentence: Sentence) -> list[str]:
    """The projection as IOB2 tags."""
    tokens = sentence.tokens
    spans = [(*tokens.covering(item.start, item.end)[:2], item.label) for item in sentence.silver or ()]
    return encode(spans, len(tokens))


def joined(first: Hints, second: Hints) -> Hints:
    """Both observations at each word."""
    return [left + right for left, right in zip(first, second, strict=True)]


def _tagged(tagger: CrfTagger, sentence: Sentence, words: Sequence[str], hints: Hints | None = None) -> TaggedText:
    tags, marginals, confidence = tagger.tag_with_confidence(words, hints)
    return TaggedText(tuple(scored_entities(sentence.tokens, tags, marginals)), confidence)


def _as_projected(silver: Sequence[ProjectedEntity]) -> TaggedText:
    """The projection itself, for want of a student that knows better."""
    entities = tuple(Entity(item.start, item.end, item.label, item.confidence) for item in silver)
    return TaggedText(entities, prod(item.confidence for item in silver))
