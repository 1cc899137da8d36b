"""Keys and values of sessions: slots that are handed out and reused, and attention over many of
them in one forward.

A forward holds the new tokens of any number of sessions, one row of tokens after the other.
Everything in a decoder layer but attention treats tokens one by one, so the rows need no padding
there; attention goes row by row, each over the keys of its own slot, at its exact length.
transformers' own model code calls both hooks (`StepCache.update`, and the attention function
registered as `ROWS`, which training uses, too: `model.tree_attention`).

Axis letters: T tokens of all rows, L tokens of one row, K tokens in a slot, H attention heads, J
key/value heads, G heads that share a key/value head (H = J * G), D head width.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from oncue.engine.static_shapes import Arena, StaticRows, StaticShapes
from oncue.model.tree_attention import Branch, attend_branches

ROWS = "oncue_rows"  # the attention function below; without rows it is transformers' sdpa

_SMALLEST_CAPACITY = 256  # tokens


@dataclass(slots=True, eq=False)
class KVSlot:
    """The keys and values of one session. `states` (layers, 2, J, capacity, D); the first `length`
    tokens are filled.

    Forgetting the newest tokens is setting `length` back. Slots of the same `history` and length
    hold the same.
    """

    states: torch.Tensor
    length: int = 0
    history: object = None  # of a slot that never held anything: None

    @property
    def capacity(self) -> int:
        return self.states.shape[3]

    def keys(self, layer: int, num_tokens: int) -> torch.Tensor:
        """(J, num_tokens, D), a view."""
        return self.states[layer, 0, :, :num_tokens]

    def values(self, layer: int, num_tokens: int) -> torch.Tensor:
        """(J, num_tokens, D), a view."""
        return self.states[layer, 1, :, :num_tokens]

    def take_over(self, other: KVSlot, first: int = 0) -> None:
        """Hold what `other` holds; the tokens before `first` are the same already. There must be
        room."""
        self.states[:, :, :, first : other.length] = other.states[:, :, :, first : other.length]
        self.length, self.history = other.length, other.history


class KVPool:
    """Hands out slots and takes them back. Capacities are powers of two, so what one session leaves
    fits another.

    Memory given back is kept for the next session: a service with a steady number of sessions
    allocates nothing. Where there is an `arena` (`engine.static_shapes`), its places go first.
    """

    def __init__(
        self,
        num_layers: int,
        num_kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
        shapes: StaticShapes | None = None,
    ) -> None:
        self._shape = (num_layers, 2, num_kv_heads)
        self._head_dim, self._dtype, self._device = head_dim, dtype, device
        self.arena: Arena | None = None
        if shapes is not None:
            places = (shapes.num_slots + 1, *self._shape, shapes.num_slot_tokens, head_dim)
            with torch.inference_mode(False):
                self.arena = Arena(torch.zeros(places, dtype=dtype, device=device))
        self._free: dict[int, list[torch.Tensor]] = {}
        self._lock = threading.Lock()
        self._num_taken = 0

    @property
    def num_taken(self) -> int:
        """How many slots are in use."""
        return self._num_taken

    @property
    def num_free_bytes(self) -> int:
        """Memory kept for the next sessions."""
        with self._lock:
            return sum(states.nbytes for kept in self._free.values() for states in kept)

    def take(self, num_tokens: int = 1) -> KVSlot:
        """An empty slot with room for at least `num_tokens`, and never for less than the smallest
        capacity."""
        with self._lock:
            self._num_taken += 1
        return KVSlot(self._states(num_tokens))

    def reserve(self, slot: KVSlot, num_tokens: int) -> None:
        """Give `slot` room for `num_tokens` in all; what it holds moves into a larger one where
        there is too little."""
        if num_tokens <= slot.capacity:
            return
        old, slot.states = slot.states, self._states(num_tokens)
        slot.states[:, :, :, : slot.length] = old[:, :, :, : slot.length]
        self._keep(old)

    def copy(self, slot: KVSlot) -> KVSlot:
        """Another slot with the same tokens."""
        other = self.take(slot.capacity)
        other.take_over(slot)
        return other

    def give_back(self, slot: KVSlot) -> None:
        """Take a slot back; it must not be used any more."""
        with self._lock:
            self._num_taken -= 1
        self._keep(slot.states)

    def forget(self) -> None:
        """Give back the memory that was kept for the next sessions."""
        with self._lock:
            self._free.clear()

    def _states(self, num_tokens: int) -> torch.Tensor:
        capacity = max(_SMALLEST_CAPACITY, 1 << (num_tokens - 1).bit_length())
        with self._lock:
            if (
                self.arena is not None
                and num_tokens <= self.arena.capacity
                and (place := self.arena.take()) is not None
            ):
                return place
            if self._free.get(capacity):
                return self._free[capacity].pop()
        shape = (*self._shape, capacity, self._head_dim)
        with torch.inference_mode(False):  # whoever made it, anyone may write to it
            return torch.empty(shape, dtype=self._dtype, device=self._device)

    def _keep(self, states: torch.Tensor) -> None:
        with self._lock:
            if self.arena is None or not self.arena.keep(states):
                self._free.setdefault(states.shape[3], []).append(states)


class Rows:
    """Which tokens of a forward belong to which slot, and what each may see. Slots must have room
    already."""

    def __init__(
        self, slots: Sequence[KVSlot], num_new: Sequence[int], num_groups: int, dtype: torch.dtype
    ) -> None:
        self._slots, self._num_new = slots, num_new
        self._masks = [
            self._mask(s, n, num_groups, dtype) for s, n in zip(slots, num_new, strict=True)
        ]

    @staticmethod
    def _mask(
        slot: KVSlot, num_new: int, num_groups: int, dtype: torch.dtype
    ) -> torch.Tensor | None:
        """(G * L, K) to be added to the scores: a token sees what is in the slot, and the new
        tokens up to itself."""
        if num_new == 1:
            return None
        mask = torch.full(
            (num_new, slot.length + num_new), -torch.inf, dtype=dtype, device=slot.states.device
        )
        return mask.triu_(slot.length + 1).repeat(num_groups, 1)

    def __iter__(self) -> Iterator[tuple[KVSlot, int, int, torch.Tensor | None]]:
        """(slot, first and end of its tokens in the forward, mask) per row."""
        first = 0
        for slot, num_new, mask in zip(self._slots, self._num_new, self._masks, strict=True):
            yield slot, first, first + num_new, mask
            first += num_new

    def write(self, layer: int, keys_JTD: torch.Tensor, values_JTD: torch.Tensor) -> None:
        """Put the new keys and values of one layer behind what the slots hold; their lengths
        stay."""
        for slot, first, end, _ in self:
            place = slice(slot.length, slot.length + end - first)
            slot.states[layer, 0, :, place] = keys_JTD[:, first:end]
            slot.states[layer, 1, :, place] = values_JTD[:, first:end]

    def attend(self, layer: int, queries_HTD: torch.Tensor, scaling: float) -> torch.Tensor:
        """(T, H, D): each token's attention over the keys of its own row."""
        num_heads, num_tokens, width = queries_HTD.shape
        attended_THD = queries_HTD.new_empty(num_tokens, num_heads, width)
        for slot, first, end, mask in self:
            num_new, num_seen = end - first, slot.length + end - first
            keys, values = slot.keys(layer, num_seen), slot.values(layer, num_seen)
            groups = num_heads // keys.shape[0]
            # heads that share keys become further queries of one head, so keys are never copied
            queries = queries_HTD[:, first:end].reshape(1, keys.shape[0], groups * num_new, width)
            out = scaled_dot_product_attention(
                queries, keys[None], values[None], attn_mask=mask, scale=scaling
            )
            attended_THD[first:end] = out.view(num_heads, num_new, width).transpose(0, 1)
        return attended_THD


class StepCache:
    """What transformers' decoder layers see as the cache: it stores the keys of a forward, and
    returns them as given.

    The whole past is read by the attention function, from the same `rows`.
    """

    def __init__(self, rows: Rows | StaticRows) -> None:
        self._rows = rows

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: Any,
        **__: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store (1, J, T, D) keys and values of one layer."""
        self._rows.write(layer_idx, key_states[0], value_states[0])
        return key_states, value_states

    def get_seq_length(self, *_: Any) -> int:
        """Asked for only where no positions are given; ours always are."""
        return 0


def _attend_rows(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    rows: Rows | StaticRows | None = None,
    branches: Sequence[Branch] | None = None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it: over the slots of `rows`, or within `branches`
    (training), where one of them is given; else plain sdpa."""
    if rows is not None:
        layer: Any = module.layer_idx
        return rows.attend(
            layer, query[0], query.shape[-1] ** -0.5 if scaling is None else scaling
        )[None], None
    if branches is not None:
        return attend_branches(
            branches, module, query, key, value, scaling=scaling, **options
        ), None
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    return sdpa_attention_forward(
        module, query, key, value, attention_mask, scaling=scaling, **options
    )


def use_rows(decoder: Any) -> None:
    """Make the language model's layers call the attention function of this module; other callers
    see no change."""
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
    from transformers.modeling_utils import AttentionInterface

    AttentionInterface.register(ROWS, _attend_rows)
    AttentionMaskInterface.register(ROWS, sdpa_mask)
    decoder.config._attn_implementation = ROWS
