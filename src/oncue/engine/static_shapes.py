"""Forwards of fixed shape: on a GPU each shape is captured once as a CUDA graph and replayed from
then on.

A forward of a few rows is bound by the launches of its many small kernels, not by their work; a
replayed graph is one launch. It needs every address and every shape to stay: so sessions live in
one block of memory (`Arena`), what goes in and out has buffers of its own, and numbers of rows, of
new tokens and of tokens seen are rounded up. What is rounded up is computed and never seen: a mask
hides it, and the next turn writes over it.

On other devices the same forwards run without a graph, which is how tests hold them to the plain
ones.

Axis letters: S slots, C capacity, B rows, L new tokens of a row (rounded up), T = B * L, K tokens
seen (rounded up), H attention heads, J key/value heads, G heads that share one (H = J * G), D head
width, E width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from oncue.errors import ConfigError
from oncue.model.cuda_graphs import Graphs
from oncue.model.upload import upload


@dataclass(frozen=True, slots=True)
class StaticShapes:
    """How much memory is set aside, and which forwards take the static path.

    `num_slots` sessions of up to `num_slot_tokens` each; others, and longer ones, go the plain way.
    So do forwards of more than `max_rows` rows or `max_new_tokens` tokens in one row, in which
    there is work enough. Shapes are rounded up: rows to a power of two, new tokens to 8 or to a
    multiple of `new_step`, tokens seen to one of `seen_step`.
    """

    num_slots: int = 8
    num_slot_tokens: int = 12_288
    max_rows: int = 8
    max_new_tokens: int = 512
    new_step: int = 32
    seen_step: int = 1024

    def __post_init__(self) -> None:
        wrong = [name for name in self.__slots__ if getattr(self, name) < 1]
        if wrong:
            raise ConfigError(
                "static shapes need numbers of at least 1, got "
                f"{wrong[0]}={getattr(self, wrong[0])}"
            )

    @classmethod
    def for_one(cls, max_tokens: int) -> StaticShapes:
        """Room for one session of up to `max_tokens`, and for what is rounded up behind it."""
        return cls(num_slots=1, num_slot_tokens=max_tokens + 1024, max_rows=1)


@dataclass(frozen=True, slots=True)
class Shape:
    """Of one forward: rows B, new tokens per row L, tokens seen K."""

    num_rows: int
    num_new: int
    num_seen: int


class Arena:
    """One block of memory (S + 1, layers, 2, J, C, D); a place in it is the `states` of a `KVSlot`.

    The last place belongs to nobody: rows that are only there to fill up a shape write into it. It
    begins as zeros, since a mask does not hide what is not a number.
    """

    def __init__(self, states: torch.Tensor) -> None:
        self.states = states
        self._free = list(range(len(states) - 2, -1, -1))

    @property
    def capacity(self) -> int:
        return self.states.shape[4]

    @property
    def nobody(self) -> int:
        return len(self.states) - 1

    def take(self) -> torch.Tensor | None:
        """A free place, or None."""
        return self.states[self._free.pop()] if self._free else None

    def keep(self, states: torch.Tensor) -> bool:
        """Take a place back; False for memory from elsewhere."""
        place = self.place(states)
        if place is not None:
            self._free.append(place)
        return place is not None

    def place(self, states: torch.Tensor) -> int | None:
        """Which place this is; None for memory from elsewhere."""
        if states.untyped_storage().data_ptr() != self.states.untyped_storage().data_ptr():
            return None
        return states.storage_offset() // self.states.stride(0)


class StaticRows:
    """The rows of a forward of fixed shape, as the hooks of the decoder see them (`cache.Rows` is
    the plain one).

    `places_B` and `lengths_B` are read when the forward runs, so the same recorded forward serves
    any sessions.
    """

    def __init__(
        self,
        arena: Arena,
        shape: Shape,
        places_B: torch.Tensor,
        lengths_B: torch.Tensor,
        dtype: torch.dtype,
    ) -> None:
        self._states, self._shape, self._places_B = arena.states, shape, places_B
        num_kv_heads, device = arena.states.shape[3], places_B.device
        at_BL = lengths_B[:, None] + torch.arange(shape.num_new, device=device)
        self._at_T = at_BL.flatten()
        self._places_T = places_B.repeat_interleave(
            shape.num_new, output_size=shape.num_rows * shape.num_new
        )
        seen_BLK = torch.arange(shape.num_seen, device=device) <= at_BL[:, :, None]
        hidden_BLK = torch.zeros_like(seen_BLK, dtype=dtype).masked_fill_(~seen_BLK, -torch.inf)
        self._mask_N1LK = (
            hidden_BLK[:, None].expand(-1, num_kv_heads, -1, -1).flatten(0, 1)[:, None]
        )

    def write(self, layer: int, keys_JTD: torch.Tensor, values_JTD: torch.Tensor) -> None:
        """Put the new keys and values of one layer behind what the places hold."""
        for kind, new_JTD in enumerate((keys_JTD, values_JTD)):
            self._states[:, layer, kind].transpose(1, 2)[self._places_T, self._at_T] = (
                new_JTD.transpose(0, 1)
            )

    def attend(self, layer: int, queries_HTD: torch.Tensor, scaling: float) -> torch.Tensor:
        """(T, H, D): each token's attention over the tokens of its own place."""
        num_rows, num_new = self._shape.num_rows, self._shape.num_new
        keys, values = (self._of(layer, kind) for kind in (0, 1))
        num_heads, _, width = queries_HTD.shape
        groups = num_rows * num_heads // len(keys)
        queries_BHLD = queries_HTD.unflatten(1, (num_rows, num_new)).transpose(0, 1)
        queries = queries_BHLD.reshape(len(keys), groups, num_new, width)
        keys, values = (states[:, None].expand(-1, groups, -1, -1) for states in (keys, values))
        out = scaled_dot_product_attention(
            queries, keys, values, attn_mask=self._mask_N1LK, scale=scaling
        )
        return out.view(num_rows, num_heads, num_new, width).transpose(1, 2).flatten(0, 1)

    def _of(self, layer: int, kind: int) -> torch.Tensor:
        """(B * J, K, D): keys or values of one layer."""
        seen = self._states[:, layer, kind, :, : self._shape.num_seen]
        return seen.index_select(0, self._places_B).flatten(0, 1)


# What runs the decoder: embedded tokens (1, T, E), positions (3, 1, T) and rows to hidden states
# (1, T, E).
Decode = Callable[[torch.Tensor, torch.Tensor, StaticRows], torch.Tensor]


class StaticForward:
    """Runs forwards of fixed shape, a graph for each."""

    def __init__(
        self,
        shapes: StaticShapes,
        arena: Arena,
        width: int,
        dtype: torch.dtype,
        decode: Decode,
        graphs: Graphs,
    ) -> None:
        self.arena = arena
        self._shapes, self._dtype, self._decode, self._graphs = shapes, dtype, decode, graphs
        self._device = arena.states.device
        max_rows = 1 << (shapes.max_rows - 1).bit_length()
        num_tokens = max_rows * _up(shapes.max_new_tokens, shapes.new_step)
        with torch.inference_mode(False):
            self._embedded_TE = torch.zeros(num_tokens, width, dtype=dtype, device=self._device)
            self._positions_3T = torch.zeros(3, num_tokens, dtype=torch.long, device=self._device)
            self._places_B = torch.zeros(max_rows, dtype=torch.long, device=self._device)
            self._lengths_B = torch.zeros(max_rows, dtype=torch.long, device=self._device)

    def shape(
        self, states: Sequence[torch.Tensor], lengths: Sequence[int], num_new: Sequence[int]
    ) -> Shape | None:
        """The shape that fits rows with these slots, filled so far and to be added; None: they go
        the plain way."""
        longest = max(num_new)
        if len(states) > self._shapes.max_rows or longest > self._shapes.max_new_tokens:
            return None
        new = 8 if longest <= 8 else _up(longest, self._shapes.new_step)
        seen = max(lengths) + new
        if seen > self.arena.capacity or any(self.arena.place(each) is None for each in states):
            return None
        up = min(_up(seen, self._shapes.seen_step), self.arena.capacity)
        return Shape(1 << (len(states) - 1).bit_length(), new, up)

    def run(
        self,
        shape: Shape,
        states: Sequence[torch.Tensor],
        lengths: Sequence[int],
        embedded_TE: torch.Tensor,
        positions_3T: torch.Tensor,
    ) -> torch.Tensor:
        """Hidden states (T, E), valid until the next call. Row i has the tokens i * L and
        following."""
        spare = shape.num_rows - len(states)
        places = [self.arena.place(each) for each in states] + [self.arena.nobody] * spare
        self._places_B[: shape.num_rows] = upload(np.array(places, np.int64), self._device)
        self._lengths_B[: shape.num_rows] = upload(
            np.array([*lengths, *[0] * spare], np.int64), self._device
        )
        self._embedded_TE[: len(embedded_TE)] = embedded_TE
        self._positions_3T[:, : len(embedded_TE)] = positions_3T
        return self._graphs.run(shape, lambda: self._forward(shape))[0]

    def _forward(self, shape: Shape) -> torch.Tensor:
        """Everything between the buffers: what a graph holds."""
        num_rows, num_tokens = shape.num_rows, shape.num_rows * shape.num_new
        rows = StaticRows(
            self.arena, shape, self._places_B[:num_rows], self._lengths_B[:num_rows], self._dtype
        )
        return self._decode(
            self._embedded_TE[None, :num_tokens], self._positions_3T[:, None, :num_tokens], rows
        )


def pad_rows(rows: Sequence[np.ndarray], shape: Shape) -> np.ndarray:
    """(..., T): the rows (..., tokens) one behind the other, each filled up with zeros to the
    length of the shape."""
    padded = np.zeros((*rows[0].shape[:-1], shape.num_rows, shape.num_new), rows[0].dtype)
    for i, row in enumerate(rows):
        padded[..., i, : row.shape[-1]] = row
    return padded.reshape(*rows[0].shape[:-1], -1)


def _up(number: int, step: int) -> int:
    return -(-number // step) * step
