"""Runs an encoder up to the layer whose states are wanted, and no further."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any, Protocol

from xner_label.errors import ConfigurationError

Tensor = Any


class LayerRunner(Protocol):
    """Gives one layer's hidden states for a batch."""

    def __call__(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Hidden states of all subtokens of the rows, one row after the other: ``(sum of lengths, width)``."""
        ...


def layer_count(encoder: Any) -> int:
    """The number of layers of an encoder."""
    config = encoder.config
    return int(getattr(config, "encoder_layers", None) or config.num_hidden_layers)


class HookedLayer:
    """Any transformer encoder of transformers, stopped by a hook on the layer that is asked for.

    ``layer`` counts as ``hidden_states`` does: 0 is the embeddings, the number of layers the encoder's final
    output. The model may be shared with other stages and threads; for them nothing changes. Raises
    ConfigurationError for a layer that the encoder doesn't have.
    """

    def __init__(self, encoder: Any, layer: int, pad_id: int) -> None:
        total = layer_count(encoder)
        check_layer(layer, total)
        self._encoder = encoder
        self._layer = layer
        self._pad_id = pad_id
        self._state = threading.local()
        self._stops = False
        if layer < total:
            self._stops = self._install(encoder, layer, total)

    def _install(self, encoder: Any, layer: int, total: int) -> bool:
        """Hook the layer before the first one that isn't needed; False where the layers aren't kept in a list.

        What a layer's input is called, and that there is such a list, is nothing that transformers promises: where
        either is otherwise, the encoder runs to its end and gives all states.
        """
        import torch

        lists = (m for m in encoder.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == total)
        modules = next(lists, None)
        if modules is None:
            return False
        state = self._state

        def stop(_module: Any, inputs: Any, named: Any) -> None:
            if getattr(state, "active", False):
                raise _LayerReached(inputs[0] if inputs else named.get("hidden_states"))

        handle = modules[layer].register_forward_pre_hook(stop, with_kwargs=True)
        weakref.finalize(self, handle.remove)
        return True

    def __call__(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Hidden states of all subtokens of the rows, one row after the other: ``(sum of lengths, width)``."""
        import torch

        longest = max(map(len, rows))
        device = self._encoder.device
        ids = torch.tensor([[*row, *[self._pad_id] * (longest - len(row))] for row in rows], device=device)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        mask = torch.arange(longest, device=device) < lengths[:, None]
        with torch.inference_mode():
            states = self._states(ids, mask.long())
            return states[mask] if min(map(len, rows)) < longest else states.flatten(0, 1)

    def _states(self, ids: Tensor, mask: Tensor) -> Tensor:
        everything = not self._stops and self._layer < layer_count(self._encoder)
        self._state.active = self._stops
        try:
            output = self._encoder(input_ids=ids, attention_mask=mask, output_hidden_states=everything)
        except _LayerReached as reached:
            if reached.states is not None:
                return reached.states
            self._stops = False
            return self._states(ids, mask)
        finally:
            self._state.active = False
        return output.hidden_states[self._layer] if everything else output.last_hidden_state


def check_layer(layer: int, total: int) -> None:
    """Raise ConfigurationError for a layer outside 0..total."""
    if not 0 <= layer <= total:
        raise ConfigurationError(
            f"layer {layer} was asked for, but the encoder has {total}", hint=f"choose a layer from 0 to {total}"
        )


class _LayerReached(Exception):
    """Carries the states out of the model: a signal, not an error."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states
