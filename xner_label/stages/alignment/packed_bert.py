"""BERT-family encoders on a CPU: the same function as the model's own forward, close to the limit of its products.

The model's own forward pads, allocates every intermediate anew (page faults for anything of a few MB) and runs
attention kernels made for long texts. Here the subtokens of a batch stand one after the other without padding,
large intermediates live in buffers that are used again, and attention is batched over sentences of equal length.

Biases are folded where the function allows it. A key's bias adds the same to every score of a query, which the
softmax cancels. The bias of a block's output is added by the normalisation before the block, whose result is also
the residual; what the block then reads too much of is taken off its query's, value's and inner bias.

The softmax is an exponential without the customary shift by each row's maximum, divided by the row's sum once the
values are mixed, which takes a third of the time on short rows. Where a sum comes near the ends of float32, the
group is computed again with the shift.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from itertools import groupby
from typing import Any

Tensor = Any

# Above this length the scores of one sentence no longer fit a cache, and the fused kernel keeps none.
_FUSED_ATTENTION_LENGTH = 512
# Sums of exponentials outside lose precision to underflow, or overflow.
_SUMS = (1e-30, 1e30)
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
        self._local = threading.local()
        modules = encoder.encoder.layer[:layer]
        # What each normalisation adds for the attention that follows it; none after the last layer.
        shifts = [module.attention.output.dense.bias for module in modules] + [torch.zeros(self._width)]
        with torch.inference_mode():
            self._positions = positions.weight + embeddings.token_type_embeddings.weight[0]
            self._norm_bias = self._norm.bias + shifts[0]
            self._layers = [
                _Layer(module, shift, next_shift)
                for module, shift, next_shift in zip(modules, shifts, shifts[1:], strict=False)
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
        """Hidden states of all subtokens of the rows, one row after the other: ``(sum of lengths, width)``."""
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
            states = self._normalised(states, self._norm.weight, self._norm_bias)
            for layer in self._layers:
                states = self._run_layer(layer, groups, states, buffers)
            return states

    def _run_layer(
        self, layer: _Layer, groups: list[tuple[int, int]], states: Tensor, buffers: _Buffers
    ) -> Tensor:
        """One layer; what ``states`` holds is used up."""
        import torch

        total = len(states)
        query, key, value = buffers.query[:total], buffers.key[:total], buffers.value[:total]
        torch.mm(states, layer.query, out=query)
        query.add_(layer.query_bias)
        torch.mm(states, layer.key, out=key)
        torch.mm(states, layer.value, out=value)
        start = 0
        for length, count in groups:
            rows = slice(start, start + length * count)
            shape = (count, length, self._heads, self._width // self._heads)
            group = (tensor[rows].view(shape) for tensor in (query, key, value))
            self._attend(*group, bias=layer.mixed_bias, buffers=buffers)
            start = rows.stop
        # The query's buffer holds the mixed values now.
        states.addmm_(query, layer.attention_output)
        states = self._normalised(states, layer.attention_norm, layer.attention_norm_bias)
        inner = buffers.inner[: total * self._inner].view(total, self._inner)
        torch.addmm(layer.inner_bias, states, layer.inner, out=inner)
        torch.ops.aten.gelu_(inner)
        states.addmm_(inner, layer.output)
        return self._normalised(states, layer.output_norm, layer.output_norm_bias)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor, buffers: _Buffers) -> None:
        """Attention within sentences, each ``(sentences, length, heads, size)``; the result replaces ``query``."""
        import torch

        count, length, heads, size = query.shape
        scale = 1.0 / math.sqrt(size)
        bias = bias.view(heads, size)
        if length <= _FUSED_ATTENTION_LENGTH:
            # One product for each head, or for each sentence where there are fewer of those, reads queries, keys
            # and values in place; a single product for all would copy them first.
            by_head = heads <= count
            order = (2, 0, 1, 3) if by_head else (0, 2, 1, 3)
            outer, inner = (heads, count) if by_head else (count, heads)
            left, middle, right = (tensor.permute(order) for tensor in (query, key, value))
            scores, ones = buffers.scores(inner, length)
            rows = scores.view(-1, length)
            mixed = buffers.inner[: query.numel()].view(outer, inner, length, size)
            sums = torch.empty(outer, inner * length)
            tensors = (left, middle.transpose(2, 3), right, mixed, sums)
            for queries, keys, values, target, total in zip(*(t.unbind(0) for t in tensors), strict=True):
                torch.baddbmm(scores, queries, keys, beta=0.0, alpha=scale, out=scores)
                scores.exp_()
                torch.mv(rows, ones, out=total)
                torch.bmm(scores, values, out=target)
            least, most = torch.aminmax(sums)
            if _SUMS[0] < float(least) and float(most) < _SUMS[1]:
                back = (1, 2, 0, 3) if by_head else (0, 2, 1, 3)
                sums = sums.view(outer, inner, length, 1)
                torch.addcdiv(bias, mixed.permute(back), sums.permute(back), out=query)
                return
        mixed = torch.nn.functional.scaled_dot_product_attention(
            *(tensor.transpose(1, 2) for tensor in (query, key, value)), scale=scale
        )
        torch.add(mixed.transpose(1, 2), bias, out=query)

    def _normalised(self, states: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        import torch

        return torch.nn.functional.layer_norm(states, (self._width,), weight, bias, self._epsilon)

    def _buffers(self, total: int) -> _Buffers:
        """This thread's buffers, made anew when they are too small."""
        buffers: _Buffers | None = getattr(self._local, "buffers", None)
        if buffers is None or len(buffers.query) < total:
            buffers = self._local.buffers = _Buffers(total, self._width, self._inner)
        return buffers


class _Layer:
    """The weights of one layer, transposed views of the model's own, and its biases as they are folded.

    ``shift`` is what the normalisation before the layer has added to its input, ``next_shift`` what its own last
    one is to add.
    """

    def __init__(self, module: Any, shift: Tensor, next_shift: Tensor) -> None:
        attention, mixing = module.attention.self, module.attention.output
        inner, output = module.intermediate.dense, module.output
        self.query, self.key, self.value = (
            linear.weight.t() for linear in (attention.query, attention.key, attention.value)
        )
        self.query_bias = attention.query.bias - attention.query.weight @ shift
        # Attention's weights sum to one: a bias of the values passes through them.
        self.mixed_bias = attention.value.bias - attention.value.weight @ shift
        self.attention_output = mixing.dense.weight.t()
        self.attention_norm = mixing.LayerNorm.weight
        self.attention_norm_bias = mixing.LayerNorm.bias + output.dense.bias
        self.inner, self.inner_bias = inner.weight.t(), inner.bias - inner.weight @ output.dense.bias
        self.output = output.dense.weight.t()
        self.output_norm, self.output_norm_bias = output.LayerNorm.weight, output.LayerNorm.bias + next_shift


class _Buffers:
    """The intermediates of one thread, each as long as the largest batch so far."""

    def __init__(self, total: int, width: int, inner: int) -> None:
        import torch

        self.query, self.key, self.value = (torch.empty(total, width) for _ in range(3))
        self.inner = torch.empty(total * max(inner, width))
        self._scores = torch.empty(0)
        self._ones = torch.ones(_FUSED_ATTENTION_LENGTH)

    def scores(self, count: int, length: int) -> tuple[Tensor, Tensor]:
        """A buffer for attention's scores, ``(count, length, length)``, and as many ones as they have columns."""
        import torch

        size = count * length * length
        if len(self._scores) < size:
            self._scores = torch.empty(size)
        return self._scores[:size].view(count, length, length), self._ones[:length]
