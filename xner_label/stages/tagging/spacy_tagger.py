"""Tagging with any installed spaCy pipeline that finds entities."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

from xner_label.entities import Entity, Tokens
from xner_label.errors import ConfigurationError, MissingExtraError

# spaCy's entity recogniser tells no probability. This says: found by a tagger, not given by a person.
SCORE = 0.9
_FIND = frozenset({"ner", "beam_ner", "entity_ruler", "span_ruler"})


class SpacyTagger:
    """Tags with a spaCy pipeline: an installed package's name, or a folder.

    ``known`` are the labels that its components can give. Every entity's score is SCORE. Raises MissingExtraError
    without spaCy, ConfigurationError for a pipeline that isn't here, can't be read, or finds no entities.
    """

    def __init__(self, model: str) -> None:
        try:
            import spacy
        except ImportError:
            raise MissingExtraError("spacy", "the tagger spacy") from None
        self.signature = f"spacy:{spacy_signature(model)}"
        try:
            self._pipeline = spacy.load(model)
        except (OSError, ValueError, ImportError) as error:
            raise ConfigurationError(
                f"the spaCy pipeline {model} can't be read: {error}",
                hint="check it with `python -m spacy validate`",
            ) from None
        labels = self._pipeline.pipe_labels
        self.known = sorted({label for name in self._pipeline.pipe_names for label in labels.get(name, ())})
        if not any(self._pipeline.get_pipe_meta(name).factory in _FIND for name in self._pipeline.pipe_names):
            raise ConfigurationError(
                f"the spaCy pipeline {model} finds no entities", hint="choose one with `ner` or `entity_ruler`"
            )

    def tag(self, texts: Sequence[Tokens]) -> list[list[Entity]]:
        """The entities of each text, by spaCy's own tokens."""
        return [
            [Entity(entity.start_char, entity.end_char, entity.label_, SCORE) for entity in document.ents]
            for document in self._pipeline.pipe(tokens.text for tokens in texts)
        ]


def spacy_signature(model: str) -> str:
    """What names a pipeline: an installed package's version, or a hash of all files of a folder.

    Raises ConfigurationError where there is neither.
    """
    if not model:
        raise ConfigurationError(
            "the tagger spacy needs a pipeline", hint="name one with pipeline.tagger_model or --model"
        )
    folder = Path(model)
    if folder.is_dir():
        digest = hashlib.sha256()
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes() + b"\0")
        return f"{folder.name}@{digest.hexdigest()[:12]}"
    try:
        return f"{model}@{importlib.metadata.version(model)}"
    except importlib.metadata.PackageNotFoundError:
        raise ConfigurationError(
            f"there is no spaCy pipeline {model!r} here", hint=f"install it: python -m spacy download {model}"
        ) from None
