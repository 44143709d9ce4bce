"""Source taggers: a transformers checkpoint for token classification (the CRF is in :mod:`.crf`)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xner_label.checkpoints.batches import TokenBatches
from xner_label.checkpoints.devices import Placement, choose_placement
from xner_label.checkpoints.loading import load_checkpoint, load_tokenizer
from xner_label.checkpoints.signatures import checkpoint_signature
from xner_label.checkpoints.subwords import Subwords, context_ids, position_limit, windows
from xner_label.entities import Entity, Tokens
from xner_label.errors import ConfigurationError
from xner_label.iob2 import decode
from xner_label.stages.tagging.tag_map import TagMap

logger = logging.getLogger(__name__)

Probabilities = NDArray[np.float64]


class TransformersTagger:
    """Tags with a checkpoint for token classification, read from ``model`` (a folder or a fetched hub name).

    Words get the probabilities of their first subtoken, which is what checkpoints are trained on. Texts longer
    than the model reads are covered by overlapping windows, each word judged where it has most context. ``labels``
    is the project's label set and ``mapping`` overrides how the checkpoint's labels translate, see
    :class:`~xner_label.stages.tagging.tag_map.TagMap`; ``tags`` names the columns of :meth:`token_probabilities`.

    Raises ConfigurationError for a checkpoint that isn't there, is of the wrong kind, or whose labels don't fit.
    """

    def __init__(
        self,
        model: str,
        labels: Sequence[str],
        *,
        mapping: Mapping[str, str] | None = None,
        placement: Placement | None = None,
    ) -> None:
        self._placement = placement or choose_placement()
        self._model = load_checkpoint("AutoModelForTokenClassification", model, self._placement)
        tokenizer = load_tokenizer(model)
        if getattr(tokenizer, "add_prefix_space", None) is False:
            tokenizer = load_tokenizer(model, add_prefix_space=True)  # words are given one by one
        self._subwords = Subwords(tokenizer)
        self._before, self._after = self._subwords.frame()
        self._pad_id = tokenizer.pad_token_id or 0
        self._limit = position_limit(self._model.base_model, tokenizer) - len(self._before) - len(self._after)
        self._batches = TokenBatches(self._placement.batch_tokens)
        names = self._model.config.id2label
        self._map = TagMap([names[index] for index in range(len(names))], labels, mapping)
        self.tags = self._map.tags
        if self._map.unknown:
            logger.warning("the tagger %s doesn't know %s", model, ", ".join(self._map.unknown))
        self._name = model
        self._options = [",".join(labels), self._placement.signature]
        self._options += [f"{name}={target}" for name, target in sorted((mapping or {}).items())]

    @cached_property
    def signature(self) -> str:
        """Checkpoint, labels and how they translate; worked out when first asked for, a served model never is."""
        parts = [checkpoint_signature(self._name, self._placement.cache), *self._options]
        return ":".join(["transformers", *filter(None, parts)])

    def tag(self, texts: Sequence[Tokens]) -> list[list[Entity]]:
        """The entities of each text; an entity's score is the lowest probability among its words' tags."""
        return [
            _entities(tokens, self.tags, probabilities)
            for tokens, probabilities in zip(texts, self.token_probabilities(texts), strict=True)
        ]

    def token_probabilities(
        self, texts: Sequence[Tokens], contexts: Sequence[Sequence[str]] | None = None
    ) -> list[Probabilities]:
        """P(tag | word) of each text, shape (words, tags), rows summing to 1.

        ``contexts`` are words that the model reads behind each text, as it was trained to. A word that the
        tokenizer has nothing for is O. Raises ConfigurationError when the model answers with
        anything but numbers.
        """
        pieces = self._subwords.split([tokens.words() for tokens in texts])
        behind = [
            context_ids(words, self._after, self._limit)
            for words in self._subwords.split(contexts or [[] for _ in texts])
        ]
        raw = [np.zeros((len(words), self._model.config.num_labels)) for words in pieces]
        rows: list[list[int]] = []
        wanted: list[tuple[int, list[int], list[int]]] = []  # text, its words, their positions in the row
        for index, words in enumerate(pieces):
            for row, kept, positions in self._windows(words, behind[index]):
                rows.append(row)
                wanted.append((index, kept, positions))
        for batch, probabilities in self._batches.run(
            [len(row) for row in rows],
            lambda batch: self._forward([rows[item] for item in batch], [wanted[item][2] for item in batch]),
        ):
            start = 0
            for item in batch:
                text, kept, positions = wanted[item]
                raw[text][kept] = probabilities[start : start + len(positions)]
                start += len(positions)
        return [self._mapped(checkpoint_probabilities) for checkpoint_probabilities in raw]

    def _windows(
        self, words: Sequence[tuple[int, ...]], behind: Sequence[int]
    ) -> Iterable[tuple[list[int], list[int], list[int]]]:
        """The model's inputs for a text: ids, the words judged in it, and where each of them begins."""
        ids = [piece for word in words for piece in word]
        ends = np.cumsum([len(word) for word in words])
        firsts = [
            (number, int(end) - len(word))
            for number, (word, end) in enumerate(zip(words, ends, strict=True))
            if word
        ]
        for window in windows(len(ids), self._limit - len(behind)):
            kept = [(number, first) for number, first in firsts if window.keep_start <= first < window.keep_end]
            if kept:
                offset = len(self._before) - window.start
                row = [*self._before, *ids[window.start : window.end], *self._after, *behind]
                yield row, [number for number, _ in kept], [first + offset for _, first in kept]

    def _forward(self, rows: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        import torch

        longest = max(map(len, rows))
        device = self._model.device
        ids = torch.tensor([[*row, *[self._pad_id] * (longest - len(row))] for row in rows], device=device)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        mask = torch.arange(longest, device=device) < lengths[:, None]
        flat = [row * longest + position for row, judged in enumerate(positions) for position in judged]
        with torch.inference_mode():
            logits = self._model(input_ids=ids, attention_mask=mask.long()).logits
            chosen = logits.flatten(0, 1)[torch.tensor(flat, device=device)]
            probabilities: NDArray[np.float32] = torch.softmax(chosen.float(), dim=-1).cpu().numpy()
        if not np.isfinite(probabilities).all():
            raise ConfigurationError(
                f"the tagger's scores aren't numbers in {self._placement.dtype}",
                hint="choose float32 (--dtype), or check the checkpoint",
            )
        return probabilities

    def _mapped(self, raw: NDArray[np.float64]) -> Probabilities:
        probabilities = self._map(raw)
        probabilities[~raw.any(axis=1), 0] = 1.0
        return probabilities


def _entities(tokens: Tokens, tags: Sequence[str], probabilities: Probabilities) -> list[Entity]:
    best = probabilities.argmax(axis=1)
    entities: list[Entity] = []
    for first, last, label in decode([tags[column] for column in best]):
        span = tokens.span(first, last)
        score = float(probabilities[np.arange(first, last), best[first:last]].min())
        entities.append(Entity(span.start, span.end, label, min(score, 1.0)))
    return entities
