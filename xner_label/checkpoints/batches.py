"""Batches bounded by tokens, halved where memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice, takewhile
from typing import TypeVar

from xner_label.checkpoints.devices import is_out_of_memory
from xner_label.errors import ConfigurationError

R = TypeVar("R")

logger = logging.getLogger(__name__)


class TokenBatches:
    """Runs a model over items in batches of near-equal length, each at most ``max_tokens`` long.

    Padding to a batch's longest item counts, unless the model runs without (``padded=False``). A batch for which
    memory runs out is halved, and so are those after it; a warning says so. One instance may serve several
    threads.
    """

    def __init__(self, max_tokens: int, *, padded: bool = True) -> None:
        self.max_tokens = max_tokens
        self._padded = padded

    def run(self, lengths: Sequence[int], forward: Callable[[list[int]], R]) -> Iterator[tuple[list[int], R]]:
        """Call ``forward`` with the indices of each batch, longest items first; yields indices and answer.

        ``lengths`` holds the subtokens of each item. Every item is in exactly one batch; an item longer than
        ``max_tokens`` gets a batch of its own. Raises ConfigurationError when a single item doesn't fit in memory.
        """
        order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
        start = 0
        while start < len(order):
            longest = max(lengths[order[start]], 1)
            if self._padded:
                taken = self.max_tokens // longest
            else:
                total = accumulate(lengths[index] for index in islice(order, start, None))
                taken = sum(1 for _ in takewhile(self.max_tokens.__ge__, total))
            batch = order[start : start + max(taken, 1)]
            try:
                answer = forward(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise ConfigurationError(
                        f"memory ran out on a single text of {longest} subtokens",
                        hint="choose a smaller model or another device, or split the text",
                    ) from None
            else:
                yield batch, answer
                start += len(batch)
                continue
            # Outside the handler: its traceback would keep the failed batch's tensors alive.
            self._halve(len(batch) * longest if self._padded else sum(lengths[index] for index in batch))

    def _halve(self, tokens: int) -> None:
        import torch

        self.max_tokens = max(tokens // 2, 1)
        logger.warning("memory ran out on %d subtokens; going on with %d per batch", tokens, self.max_tokens)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
