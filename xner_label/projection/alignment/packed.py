"""BERT-family encoders on a CPU: the same function as the model's own forward, close to the limit of its products.

The model's own forward pads, allocates every intermediate anew (page faults for anything of a few MB) and runs
attention kernels made for long texts. Here the subtokens of a batch stand one after the other without padding,
large intermediates live in buffers that are used again, and attention is batched over sentences of equal length.
Biases are folded where the function allows it: a key's bias adds the same to every score of a query, which the
softmax cancels; a value's bias passes through the weighted mean and joins that of the output projection.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from itertools import groupby
from typing import Any

Tensor = Any

# Above this length attention is a product large enough for the fused kernel.
_FUSED_ATTENTION_LENGTH = 96
# Agreement with the model's own forward that a checkpoint must show before it is run this way; states are of
# order 1.
_TOLERANCE = 1e-3


class PackedBert:
    """Hidden states of one layer of a BERT, RoBERTa or XLM-R encoder, for rows of subtoken ids."""

    def __init__(self, encoder: Any, layer: int) -> None:
        import torch

        config = encoder.config
        self._heads = int(config.num_attention_heads)
        self._width = int(config.hidden_size)
        self._inner = int(config.intermediate_size)
        self._epsilon = float(config.layer_norm_eps)
        embeddings = encoder.embeddings
        positions = embeddings.position_embeddings
        self._first_position = 0 if positions.padding_idx is None else positions.padding_idx + 1
        self._words = embeddings.word_embeddings.weight
        self._norm = embeddings.LayerNorm
        self._layers = encoder.encoder.layer[:layer]
        self._local = threading.local()
        with torch.inference_mode():
            self._positions = positions.weight + embeddings.token_type_embeddings.weight[0]
            self._output_biases = [
                module.attention.output.dense.bias
                + module.attention.output.dense.weight @ module.attention.self.value.bias
                for module in self._layers
            ]

    @staticmethod
    def fits(encoder: Any) -> bool:
        """Whether an encoder is of the family and in the place that this class is made for."""
        import torch
        import transformers

        family = (transformers.BertModel, transformers.RobertaModel, transformers.XLMRobertaModel)
        config = encoder.config
        return (
            type(encoder) in family
            and encoder.device.type == "cpu"
            and encoder.dtype is torch.float32
            and config.hidden_act == "gelu"
            and not config.is_decoder
            and getattr(config, "position_embedding_type", None) in (None, "absolute")
        )

    def agrees_with(self, reference: Any, rows: Sequence[Sequence[int]]) -> bool:
        """Whether this gives the states of another runner for some rows, up to rounding."""
        import torch

        return bool(torch.allclose(self(rows), reference(rows), atol=_TOLERANCE, rtol=_TOLERANCE))

    def __call__(self, rows: Sequence[Sequence[int]]) -> Tensor:
        import torch

        groups = [(length, len(list(run))) for length, run in groupby(map(len, rows))]
        ids = torch.tensor([index for row in rows for index in row])
        with torch.inference_mode():
            buffers = self._buffers(len(ids))
            states = self._words.index_select(0, ids)
            start = 0
            for length, count in groups:
                end = start + length * count
                first = self._first_position
                states[start:end].view(count, length, -1).add_(self._positions[first : first + length])
                start = end
            states = self._normalised(self._norm, states)
            for module, bias in zip(self._layers, self._output_biases, strict=True):
                states = self._layer(module, bias, groups, states, buffers)
            return states

    def _layer(
        self, module: Any, output_bias: Tensor, groups: list[tuple[int, int]], states: Tensor, buffers: _Buffers
    ) -> Tensor:
        """One layer; what ``states`` holds is used up."""
        import torch

        total = len(states)
        projections = module.attention.self
        query, key, value = buffers.query[:total], buffers.key[:total], buffers.value[:total]
        scale = 1.0 / math.sqrt(self._width // self._heads)
        weight = projections.query.weight.t()
        torch.addmm(projections.query.bias, states, weight, beta=scale, alpha=scale, out=query)
        torch.mm(states, projections.key.weight.t(), out=key)
        torch.mm(states, projections.value.weight.t(), out=value)
        start = 0
        for length, count in groups:
            rows = slice(start, start + length * count)
            self._attend(query[rows], key[rows], value[rows], count, length, buffers)
            start = rows.stop
        # The query's buffer holds the mixed values now.
        states.add_(output_bias).addmm_(query, module.attention.output.dense.weight.t())
        states = self._normalised(module.attention.output.LayerNorm, states)
        inner = buffers.inner[:total]
        torch.addmm(module.intermediate.dense.bias, states, module.intermediate.dense.weight.t(), out=inner)
        torch.ops.aten.gelu_(inner)
        states.add_(module.output.dense.bias).addmm_(inner, module.output.dense.weight.t())
        return self._normalised(module.output.LayerNorm, states)

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, count: int, length: int, buffers: _Buffers
    ) -> None:
        """Attention within ``count`` sentences of ``length`` subtokens; the result replaces the queries."""
        import torch

        heads, size = self._heads, self._width // self._heads
        queries, keys, values = (part.view(count, length, heads, size) for part in (query, key, value))
        if length > _FUSED_ATTENTION_LENGTH:
            mixed = torch.nn.functional.scaled_dot_product_attention(
                queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), scale=1.0
            )
            queries.copy_(mixed.transpose(1, 2))
            return
        # Head by head, or sentence by sentence where those are fewer, the products read queries, keys and values
        # where they stand; all of them at once would copy.
        by_head = heads <= count
        order = (2, 0, 1, 3) if by_head else (0, 2, 1, 3)
        outer, inner = (heads, count) if by_head else (count, heads)
        left, middle, right = (part.permute(order).unbind(0) for part in (queries, keys, values))
        scores, weights = buffers.scores(outer, inner, length)
        for part, other, target in zip(left, middle, scores.unbind(0), strict=True):
            torch.bmm(part, other.transpose(1, 2), out=target)
        torch.softmax(scores, -1, out=weights)
        mixed = key.view(outer, inner, length, size)  # the keys are done with
        for part, other, target in zip(weights.unbind(0), right, mixed.unbind(0), strict=True):
            torch.bmm(part, other, out=target)
        queries.copy_(mixed.permute((1, 2, 0, 3) if by_head else (0, 2, 1, 3)))

    def _normalised(self, norm: Any, states: Tensor) -> Tensor:
        import torch

        return torch.nn.functional.layer_norm(states, (self._width,), norm.weight, norm.bias, self._epsilon)

    def _buffers(self, total: int) -> _Buffers:
        """This thread's buffers, made anew when they are too small."""
        buffers: _Buffers | None = getattr(self._local, "buffers", None)
        if buffers is None or len(buffers.query) < total:
            buffers = self._local.buffers = _Buffers(total, self._width, self._inner)
        return buffers


class _Buffers:
    """The intermediates of one thread, each as long as the largest batch so far."""

    def __init__(self, total: int, width: int, inner: int) -> None:
        import torch

        self.query, self.key, self.value = (torch.empty(total, width) for _ in range(3))
        self.inner = torch.empty(total, inner)
        self._scores = torch.empty(2, 0)

    def scores(self, outer: int, inner: int, length: int) -> tuple[Tensor, Tensor]:
        """Two buffers of shape ``(outer, inner, length, length)``: attention's scores and weights."""
        import torch

        size = outer * inner * length * length
        if self._scores.shape[1] < size:
            self._scores = torch.empty(2, size)
        scores, weights = self._scores[:, :size].view(2, outer, inner, length, length)
        return scores, weights
