"""The append-only KV store of one session.

transformers' `DynamicCache` concatenates keys and values at every forward, which copies the whole past for every
token. Here each layer owns buffers that double when full, so appending costs what is appended; the interface the
model sees is unchanged.

Axis letters: B rows (1), H key/value heads, L tokens, D head width.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

_FIRST_CAPACITY = 256  # tokens


class _GrowingLayer(DynamicLayer):
    """One layer: `keys` and `values` (B, H, L, D) are views of the filled part of larger buffers."""

    def __init__(self) -> None:
        super().__init__()
        self._buffers: tuple[torch.Tensor, torch.Tensor] | None = None
        self._length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self._reserve(key_states, value_states, key_states.shape[-2])

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self._length + key_states.shape[-2]
        buffers = self._reserve(key_states, value_states, end)
        for buffer, states in zip(buffers, (key_states, value_states), strict=True):
            buffer[:, :, self._length : end] = states
        self._show(end)
        return self.keys, self.values

    def get_seq_length(self, *_: Any) -> int:
        return self._length

    def truncate(self, length: int) -> None:
        """Forget what lies beyond the first `length` tokens; nothing is copied."""
        if length < self._length:
            self._show(length)

    def _show(self, length: int) -> None:
        assert self._buffers is not None
        self._length = length
        self.keys, self.values = (buffer[:, :, :length] for buffer in self._buffers)

    def _reserve(self, keys: torch.Tensor, values: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The two buffers, grown (at least doubled) when they hold fewer than `length` tokens."""
        old = self._buffers
        if old is not None and length <= old[0].shape[-2]:
            return old
        capacity = max(_FIRST_CAPACITY, length, 2 * self._length)
        grown = tuple(states.new_empty((*states.shape[:-2], capacity, states.shape[-1])) for states in (keys, values))
        if old is not None:
            for new_buffer, old_buffer in zip(grown, old, strict=True):
                new_buffer[:, :, : self._length] = old_buffer[:, :, : self._length]
        self._buffers = (grown[0], grown[1])
        return self._buffers


class SessionCache(DynamicCache):
    """Keys and values of every token of one session that has gone through the model, in order."""

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.layers = [_GrowingLayer() for _ in range(num_layers)]
        self.layer_class_to_replicate = None

    @property
    def num_tokens(self) -> int:
        """How many tokens are held. After a failed forward the first layer may be ahead of the last."""
        return self.layers[0].get_seq_length()

    @property
    def num_bytes(self) -> int:
        """Memory held by the buffers, filled or not."""
        return sum(b.nbytes for layer in self.layers for b in (layer._buffers or ()))

    def truncate(self, num_tokens: int) -> None:
        """Forget everything after the first `num_tokens` tokens. (`crop` means different things across versions.)"""
        for layer in self.layers:
            layer.truncate(num_tokens)

    def free(self) -> None:
        """Give the memory back. The cache is empty afterwards."""
        self.layers = [_GrowingLayer() for _ in self.layers]
