"""Words to subtokens, and texts longer than an encoder can read to overlapping windows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec

# Words whose subtokens are remembered; beyond that the memory starts anew.
_REMEMBERED = 200_000


class Subwords:
    """Splits words with a fast tokenizer, each distinct word once.

    A tokenizer splits every word of pre-tokenised input by itself, so the subtokens of a sentence are those of its
    words, put together: exactly what ``tokenizer(words, is_split_into_words=True)`` gives.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._pieces: dict[str, tuple[int, ...]] = {}

    def split(self, sentences: Sequence[Sequence[str]]) -> list[list[tuple[int, ...]]]:
        """The subtoken ids of each word of each sentence; none for a word the tokenizer has nothing for."""
        pieces = self._pieces
        if len(pieces) > _REMEMBERED:
            pieces = self._pieces = {}
        new = list({word: None for words in sentences for word in words if word not in pieces})
        if new:
            # The Rust tokenizer directly: transformers' wrapper around it takes five times as long.
            backend = self._tokenizer.backend_tokenizer
            backend.no_truncation()
            backend.no_padding()
            encoded = backend.encode_batch_fast(
                [[word] for word in new], is_pretokenized=True, add_special_tokens=False
            )
            pieces.update((word, tuple(encoding.ids)) for word, encoding in zip(new, encoded, strict=True))
        return [[pieces[word] for word in words] for words in sentences]

    def frame(self, language: str | None = None) -> tuple[list[int], list[int]]:
        """The special tokens before and after a sentence, for tokenizers that mark its language in that one."""
        if language is not None:
            self._tokenizer.src_lang = language
        encoded = self._tokenizer(["a"], is_split_into_words=True, return_special_tokens_mask=True)
        ids, special = encoded["input_ids"], encoded["special_tokens_mask"]
        first = special.index(0)
        last = len(special) - special[::-1].index(0)
        return ids[:first], ids[last:]


class Window(msgspec.Struct, frozen=True):
    """Subtokens ``[start, end)`` are read together; the states of ``[keep_start, keep_end)`` are used."""

    start: int
    end: int
    keep_start: int
    keep_end: int


def windows(length: int, limit: int) -> list[Window]:
    """Cover ``length`` subtokens with windows of at most ``limit``, neighbours overlapping by a quarter.

    Each subtoken is kept from the window in which it is farther from the edge, so every one has context on both
    sides where the text does. Raises ValueError for a limit below 1.
    """
    if limit < 1:
        raise ValueError(f"a window must hold at least 1 subtoken, not {limit}")
    if length <= limit:
        return [Window(0, length, 0, length)]
    step = max(limit - limit // 4, 1)
    starts = [*range(0, length - limit, step), length - limit]
    cuts = [0, *((first + limit + second) // 2 for first, second in pairwise(starts)), length]
    return [
        Window(start, start + limit, keep_start, keep_end)
        for start, (keep_start, keep_end) in zip(starts, pairwise(cuts), strict=True)
    ]


def context_ids(words: Sequence[Sequence[int]], after: Sequence[int], limit: int) -> list[int]:
    """What stands behind a text in the same row: the subtokens of a context's words, cut to half of the ``limit``
    of a row, and the tokenizer's end. None for no words.
    """
    if not words:
        return []
    room = max(limit // 2 - len(after), 0)
    return [*[piece for word in words for piece in word][:room], *after]


def position_limit(encoder: Any, tokenizer: Any) -> int:
    """The longest input, in subtokens with special tokens, that an encoder and its tokenizer allow."""
    limit = min(int(tokenizer.model_max_length), int(getattr(encoder.config, "max_position_embeddings", 0) or 512))
    positions = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    padding = getattr(positions, "padding_idx", None)
    if padding is not None:
        # RoBERTa and its kin number positions from padding_idx + 1 on.
        limit = min(limit, positions.num_embeddings - padding - 1)  # type: ignore[union-attr]
    return limit
