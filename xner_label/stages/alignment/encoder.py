"""Contextual vectors of words: an encoder, one of its layers, and batches of any texts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xner_label.checkpoints.batches import TokenBatches
from xner_label.checkpoints.devices import Placement
from xner_label.checkpoints.languages import LanguageCodes
from xner_label.checkpoints.loading import load_checkpoint, load_tokenizer
from xner_label.checkpoints.subwords import Subwords, position_limit, windows
from xner_label.errors import ConfigurationError
from xner_label.stages.alignment.hooked_layer import HookedLayer, LayerRunner, check_layer, layer_count
from xner_label.stages.alignment.packed_bert import PackedBert

logger = logging.getLogger(__name__)

Tensor = Any
Indices = npt.NDArray[np.int64]


class Vectors:
    """The subtoken vectors of sentences, one sentence after the other.

    ``states`` is ``(subtokens + 1, width)`` in float32 on the encoder's device, the last row zeros, to stand for
    places beyond the end of a sentence; ``word`` the word of each subtoken, counted within its sentence;
    ``bounds[k]..bounds[k + 1]`` the subtokens of sentence ``k``.
    """

    __slots__ = ("bounds", "states", "word")

    def __init__(self, states: Tensor, word: Indices, bounds: Indices) -> None:
        self.states = states
        self.word = word
        self.bounds = bounds


class Encoder:
    """One layer of a transformer encoder, applied to sentences of words.

    ``languages`` are the tokenizer's own codes of the source and the target side, for tokenizers that mark a
    sentence's language (NLLB, M2M-100). Sentences longer than the encoder reads are windowed. Memory that runs out
    halves the batches from there on.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        placement: Placement,
        layer: int,
        *,
        languages: tuple[str, str] | None = None,
        packed: bool = True,
    ) -> None:
        self.layer = layer
        self.device = placement.device
        self._subwords = Subwords(tokenizer)
        self._frames = [self._subwords.frame(language) for language in languages or (None, None)]
        self._window = position_limit(model, tokenizer) - max(len(a) + len(b) for a, b in self._frames)
        if self._window < 1:
            raise ConfigurationError(
                "the encoder reads no more than its special tokens", hint="check the checkpoint's configuration"
            )
        self._states = threading.local()
        self._runner: LayerRunner = HookedLayer(model, layer, tokenizer.pad_token_id or 0)
        if packed:
            before, after = self._frames[0]
            rows = [[*before, *after], [*before, *after, *after], [*before, *after]]
            self._runner = _packed(model, layer, self._runner, rows) or self._runner
        self._batches = TokenBatches(placement.batch_tokens, padded=not isinstance(self._runner, PackedBert))

    @property
    def pool_subtokens(self) -> int:
        """How many subtokens to encode at a time: enough to fill batches with sentences of near-equal length."""
        return max(8 * self._batches.max_tokens, 32_768)

    def encode(self, sides: Sequence[Sequence[Sequence[tuple[int, ...]]]]) -> Vectors:
        """The vectors of the sentences of each side (source, target), all in one pass over the encoder.

        A sentence is given as the subtokens of its words, see :meth:`Subwords.split`; sentences are numbered
        through the sides. On a CPU the thread's next call overwrites what this one returned. Raises
        ConfigurationError when memory runs out on a single sentence.
        """
        import torch

        sentences = [(words, side) for side, texts in enumerate(sides) for words in texts]
        rows: list[list[int]] = []
        kept: list[tuple[int, int, int]] = []  # of each row: first kept subtoken, their number, where they go
        word: list[int] = []
        bounds = [0]
        for words, side in sentences:
            ids = [index for pieces in words for index in pieces]
            before, after = self._frames[side]
            for window in windows(len(ids), self._window) if ids else ():
                rows.append([*before, *ids[window.start : window.end], *after])
                first = len(before) + window.keep_start - window.start
                kept.append((first, window.keep_end - window.keep_start, bounds[-1] + window.keep_start))
            word += [number for number, pieces in enumerate(words) for _ in pieces]
            bounds.append(len(word))
        states = None
        for batch, batch_states in self._batches.run(
            [len(row) for row in rows], lambda b: self._runner([rows[k] for k in b])
        ):
            if states is None:
                states = self._room(len(word) + 1, batch_states.shape[1])
                states[-1] = 0.0
            start, source, target = 0, [], []
            for index in batch:
                first, count, goal = kept[index]
                source.append(np.arange(start + first, start + first + count))
                target.append(np.arange(goal, goal + count))
                start += len(rows[index])
            with torch.inference_mode():
                picked = torch.from_numpy(np.concatenate(source)).to(self.device)
                places = torch.from_numpy(np.concatenate(target)).to(self.device)
                states.index_copy_(0, places, batch_states.index_select(0, picked).float())
        if states is None:
            states = torch.zeros(1, 1, device=self.device)
        return Vectors(states, np.array(word, dtype=np.int64), np.array(bounds, dtype=np.int64))

    def _room(self, rows: int, width: int) -> Tensor:
        """An uninitialised tensor for states; on a CPU the thread's own, whose pages needn't be mapped again."""
        import torch

        if self.device != "cpu":
            return torch.empty(rows, width, device=self.device)
        room = getattr(self._states, "room", None)
        if room is None or len(room) < rows:
            room = self._states.room = torch.empty(rows, width)
        return room[:rows]

    def split(self, sentences: Sequence[Sequence[str]]) -> list[list[tuple[int, ...]]]:
        """The subtokens of each word of each sentence."""
        return self._subwords.split(sentences)


def _packed(model: Any, layer: int, reference: LayerRunner, rows: Sequence[Sequence[int]]) -> PackedBert | None:
    """The model as PackedBert; None where it isn't made for it, or disagrees with ``reference`` on some rows.

    It reads modules of transformers by their names, which another version may change. Then the model's own forward
    is what remains: slower, with the same answers.
    """
    try:
        if PackedBert.fits(model):
            runner = PackedBert(model, layer)
            return runner if runner.agrees_with(reference, rows) else None
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        logger.warning("%s runs as transformers has it, more slowly: %s", type(model).__name__, error)
    return None


def load_encoder(name: str, placement: Placement, layer: int | None = None, *, packed: bool = True) -> Encoder:
    """Load an encoder checkpoint. Without a layer, two thirds up: 8 of 12, as SimAlign found best for mBERT."""
    model = load_checkpoint("AutoModel", name, placement)
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    return _encoder(model, name, placement, layer, share=2 / 3, packed=packed)


def load_translation_encoder(
    name: str,
    placement: Placement,
    layer: int | None = None,
    *,
    languages: tuple[str, str] | None = None,
) -> Encoder:
    """Load the encoder of a translation model; a translator with the same checkpoint shares its weights.

    ``languages`` are the ISO 639 codes of source and target; without them both sides are read in the language
    that the tokenizer assumes. Without a layer, the last one, as in TransAlign. Raises ConfigurationError for a
    language that the checkpoint doesn't know.
    """
    model = load_checkpoint("AutoModelForSeq2SeqLM", name, placement).get_encoder()
    return _encoder(model, name, placement, layer, share=1.0, languages=languages)


def _encoder(
    model: Any,
    name: str,
    placement: Placement,
    layer: int | None,
    *,
    share: float,
    languages: tuple[str, str] | None = None,
    packed: bool = True,
) -> Encoder:
    total = layer_count(model)
    if layer is None:
        layer = round(share * total)
    check_layer(layer, total)
    tokenizer = load_tokenizer(name)
    return Encoder(
        model, tokenizer, placement, layer, languages=_source_codes(tokenizer, languages), packed=packed
    )


def _source_codes(tokenizer: Any, languages: tuple[str, str] | None) -> tuple[str, str] | None:
    """The tokenizer's own codes; None where it doesn't mark the language of what the encoder reads."""
    codes = LanguageCodes(tokenizer) if languages is not None else None
    if languages is None or codes is None or codes.family not in ("nllb", "m2m100"):
        return None
    source, target = (codes.token(language).strip("_") for language in languages)
    return source, target
