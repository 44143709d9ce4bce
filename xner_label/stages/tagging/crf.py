"""A linear-chain conditional random field (Lafferty et al. 2001) over word-shape and affix features.

It learns a NER model from a few hundred sentences in seconds on a CPU, for the source side and for the target
side alike. Training is deterministic: the same sentences in the same order give the same model.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xner_label.entities import Entity, Tokens
from xner_label.errors import ConfigurationError, UsageError
from xner_label.iob2 import decode
from xner_label.stages.tagging.crf_features import FEATURES_VERSION, features

# Models of these versions are served: they ignore the observations that they haven't learned from.
SERVED_VERSIONS = (1, 2)


def _known_runs(tags: Sequence[str | None]) -> list[tuple[int, int]]:
    """The half-open ranges of consecutive words whose tag isn't None."""
    borders = [-1, *(index for index, tag in enumerate(tags) if tag is None), len(tags)]
    return [(before + 1, after) for before, after in pairwise(borders) if before + 1 < after]


class CrfTagger:
    """A trained CRF. Safe to share between threads.

    ``labels`` are its tags (IOB2, as in the training data) in the order of the columns of
    :meth:`tag_with_marginals`; ``signature`` names the model by the hash of its weights.
    """

    def __init__(self, model: bytes, where: str = "the CRF model") -> None:
        """Open a model held in memory. Raises ConfigurationError, naming ``where``, when it isn't one."""
        import pycrfsuite

        self._model = model  # the tagger reads from this buffer as long as it lives
        self._tagger: Any = pycrfsuite.Tagger()
        self._lock = Lock()
        # The header carries the file's own size: a truncated model would otherwise be read past its end.
        if len(model) < 48 or model[:4] != b"lCRF" or int.from_bytes(model[4:8], "little") != len(model):
            raise ConfigurationError(f"{where} isn't a CRF model", hint="train it again with `xner-label train`")
        self._tagger.open_inmemory(model)
        self.labels: tuple[str, ...] = tuple(self._tagger.labels())
        digest = hashlib.sha256(model).hexdigest()[:12]
        self.signature = f"crf{FEATURES_VERSION}:{digest}"

    @classmethod
    def train(
        cls,
        sentences: Sequence[Sequence[str]],
        labels: Sequence[Sequence[str | None]],
        *,
        extra: Sequence[Sequence[Sequence[str]]] | None = None,
        repeats: Sequence[int] | None = None,
        c1: float = 0.1,
        c2: float = 0.01,
        max_iterations: int = 100,
    ) -> CrfTagger:
        """Fit by L-BFGS on tokenised sentences with one tag per word.

        A word tagged None is unknown: the sentence is learned in pieces around it, each with the features it has
        in the whole.
        ``extra[k]`` holds additional features of sentence ``k`` (give the same when tagging); ``repeats[k]`` says
        how often the sentence counts (0 leaves it out), the only weighting the library knows. ``c1`` and ``c2``
        are the weights of the L1 and L2 penalties. Raises UsageError when nothing is left to learn from.
        """
        import pycrfsuite

        trainer = pycrfsuite.Trainer(
            params={"c1": c1, "c2": c2, "max_iterations": max_iterations, "feature.possible_transitions": True},
            verbose=False,
        )
        used = 0
        for index, (words, tags) in enumerate(zip(sentences, labels, strict=True)):
            times = 1 if repeats is None else repeats[index]
            if not words or times <= 0:
                continue
            rows = features(words, None if extra is None else extra[index])
            for first, last in _known_runs(tags):
                items = pycrfsuite.ItemSequence(rows[first:last])
                for _ in range(times):
                    trainer.append(items, list(tags[first:last]))
                used += 1
        if not used:
            raise UsageError("no labelled sentence to train a CRF on", hint="import labelled data first")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.crf"
            trainer.train(str(path))
            return cls(path.read_bytes())

    @classmethod
    def load(cls, path: Path | str) -> CrfTagger:
        """Read a model file. Raises ConfigurationError when it can't be read or isn't one."""
        try:
            return cls(Path(path).read_bytes(), str(path))
        except OSError as error:
            raise ConfigurationError(
                f"can't read the CRF model {path}: {error.strerror}", hint="check the path, or train one"
            ) from None

    def to_bytes(self) -> bytes:
        """The model, as :class:`CrfTagger` takes it."""
        return self._model

    def save(self, path: Path | str) -> None:
        """Write the model to a file."""
        Path(path).write_bytes(self._model)

    def tag_words(self, words: Sequence[str], extra: Sequence[Sequence[str]] | None = None) -> list[str]:
        """The most probable tag sequence (Viterbi)."""
        if not words:
            return []
        with self._lock:
            tags: list[str] = self._tagger.tag(features(words, extra))
        return tags

    def tag_with_marginals(
        self, words: Sequence[str], extra: Sequence[Sequence[str]] | None = None
    ) -> tuple[list[str], NDArray[np.float64]]:
        """The Viterbi tags and P(tag at word | sentence), shape (words, labels), rows summing to 1."""
        if not words:
            return [], np.zeros((0, len(self.labels)))
        with self._lock:
            tags: list[str] = self._tagger.tag(features(words, extra))
            marginal = self._tagger.marginal
            matrix = np.array([[marginal(label, row) for label in self.labels] for row in range(len(words))])
        return tags, matrix

    def tag_with_confidence(
        self, words: Sequence[str], extra: Sequence[Sequence[str]] | None = None
    ) -> tuple[list[str], list[float], float]:
        """The Viterbi tags, P(tag | sentence) of each, and P(all of them | sentence)."""
        if not words:
            return [], [], 1.0
        with self._lock:
            tags: list[str] = self._tagger.tag(features(words, extra))
            marginals = [self._tagger.marginal(tag, row) for row, tag in enumerate(tags)]
            whole = self._tagger.probability(tags)
        return tags, [_clipped(value) for value in marginals], _clipped(whole)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags, in the order of the columns of :meth:`token_probabilities`."""
        return self.labels

    def token_probabilities(self, texts: Sequence[Tokens]) -> list[NDArray[np.float64]]:
        """P(tag at word | sentence) of each text, shape (words, tags)."""
        return [self.tag_with_marginals(tokens.words())[1] for tokens in texts]

    def tag(self, texts: Sequence[Tokens]) -> list[list[Entity]]:
        """The entities of each text; an entity's score is the lowest marginal of its words' tags."""
        return [self._entities(tokens) for tokens in texts]

    def _entities(self, tokens: Tokens) -> list[Entity]:
        tags, marginals, _ = self.tag_with_confidence(tokens.words())
        return scored_entities(tokens, tags, marginals)


def scored_entities(tokens: Tokens, tags: Sequence[str], probabilities: Sequence[float]) -> list[Entity]:
    """The entities of IOB2 tags; an entity's score is the lowest probability of its words' tags."""
    entities: list[Entity] = []
    for first, last, label in decode(tags):
        span = tokens.span(first, last)
        entities.append(Entity(span.start, span.end, label, min(probabilities[first:last])))
    return entities


def _clipped(probability: float) -> float:
    return min(max(probability, 0.0), 1.0)  # rounding can leave the interval
