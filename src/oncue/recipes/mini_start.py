"""The start of a new mini model: a rough circuit, written by hand into its decoder, that compares
frames.

    layer 1 attention   each place of the newest frame looks at the same place of the frame before,
    at the distances at
                        which that frame lies after a silent turn and after short replies, and
                        writes "now minus before" into scratch channels, one set per distance
    layer 1 MLP         the energy of each set of scratch channels becomes one "changed" channel
    layer 2 attention   the place of the decision reads what changed most left and right in the
    newest frame layer 3 attention   the place of the decision reads what changed most anywhere in
    the newest frame

The distances are those of the decision format, measured on rendered turns (`Distances`). In the
token format the words of a reply begin further on, where layer 3 lands on the place of the
decision: it reads there what layer 2 wrote.

Channels of the residual stream: features [0, 76), changed 76..78, spare 79, scratch [80, 128) in
three sets of 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oncue.render.base import frames_then_text
from oncue.render.decision import Lead
from oncue.render.positions import mrope_positions
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.types import Reply, Silence

HIDDEN_SIZE, HEAD_DIM = 128, 32
ROPE_THETA = 300.0
# The width axis comes last and has the lowest frequencies: it needs many to tell columns
MROPE_SECTION = (2, 2, 12)

NUM_FEATURES, SCRATCH_SIZE = 76, 16
CHANGED_CHANNELS = (76, 77, 78)
SCRATCH_SETS = tuple(slice(80 + 16 * i, 96 + 16 * i) for i in range(3))
BEFORE_A_FRAME = (Silence(), Reply("Left: something appears."), Reply("Left: red square appears."))
STRIDE_GAIN = 300.0
# From the columns of a frame (its first has the frame's own position) to where a head looks for
# left, right and middle.
LEFT_COLUMN, RIGHT_COLUMN, MIDDLE_COLUMN = -0.5, 4.5, 2.0
SIDE_GAIN, SIDE_CHANGED_GAIN, NEWEST_GAIN, CHANGED_GAIN = 60.0, 2.0, 40.0, 4.0
EMBEDDING_STD, WRITE_SCALE, FINAL_NORM = 0.4, 0.4, 0.12


@dataclass(frozen=True, slots=True)
class Distances:
    """How far apart things are, in M-RoPE positions.

    `strides`: from a place to the same place of the frame before, after each of `BEFORE_A_FRAME`.
    `to_frame`: from where the policy decides to the first column of the newest frame.
    """

    strides: tuple[int, ...]
    to_frame: int

    @classmethod
    def of(cls, renderer: QwenVLRenderer) -> Distances:
        grid = renderer.frame_processor(np.zeros((126, 224, 3), np.uint8)).grid

        def turn(lead: Lead) -> list[int]:
            return renderer.user_turn_ids(frames_then_text(1, ""), [grid], lead).tolist()

        def frame_positions(ids: list[int], num_frames: int) -> tuple[np.ndarray, int]:
            """The position of each frame, and that of the last token."""
            merge, pad = renderer.merge_size, renderer.image_pad_id
            positions_3L, end = mrope_positions(ids, [grid] * num_frames, pad, merge, 0)
            return positions_3L[0, np.array(ids) == pad].reshape(num_frames, -1)[:, 0], end - 1

        strides = []
        for action in BEFORE_A_FRAME:
            chosen = renderer.policy_turn_ids(action)
            answered = [*turn(Lead.START), *renderer.decision.kept(chosen)]
            (before, newest), _ = frame_positions(
                [*answered, *turn(renderer.decision.lead_after(chosen))], 2
            )
            strides.append(int(newest - before))
        (frame,), last = frame_positions(turn(Lead.START), 1)
        return cls(tuple(strides), int(last - frame))


class Start:
    """Writes the rough circuit into a decoder. See the module's first lines for what it does."""

    def __init__(self, decoder: Any, distances: Distances) -> None:
        import torch

        self.torch, self.decoder, self.distances = torch, decoder, distances
        num_frequencies = HEAD_DIM // 2
        self.frequencies = ROPE_THETA ** (-torch.arange(num_frequencies) / num_frequencies)
        self.axis = torch.repeat_interleave(torch.arange(3), torch.tensor(MROPE_SECTION))

    def apply(self) -> None:
        self.decoder.norm.weight.fill_(FINAL_NORM)
        self._compare()
        self._sum_up_change()
        self._read_sides()
        self._read_changed()

    def _aim(self, layer: int, head: int, distances: Any, used: Any, gain: float) -> None:
        """Makes a head look `distances` positions back on the rotary frequencies `used`, whatever
        is there.

        A query bias turned by -distance * frequency against a key bias: their product peaks at that
        distance.
        """
        attention = self.decoder.layers[layer].self_attn
        rows = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
        angles, none = distances * self.frequencies, self.torch.zeros(HEAD_DIM // 2)
        attention.k_proj.bias[rows] = gain**0.5 * self.torch.cat([used, none])
        attention.q_proj.bias[rows] = gain**0.5 * self.torch.cat(
            [used * self.torch.cos(angles), -used * self.torch.sin(angles)]
        )

    def _to_column(self, column: float) -> Any:
        """Distances from where the policy decides to a column of the newest frame, per rotary
        frequency."""
        to_frame = float(self.distances.to_frame)
        return self.torch.where(self.axis == 0, to_frame, to_frame - column)

    def _directions(self, count: int, size: int = HIDDEN_SIZE) -> Any:
        """(count, size): random directions at right angles."""
        return self.torch.linalg.qr(self.torch.randn(size, size))[0][:count]

    def _compare(self) -> None:
        """Layer 1: three heads take away what was there before, the fourth, which sees itself, adds
        what is there."""
        attention = self.decoder.layers[0].self_attn
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj):
            projection.weight.zero_()
        read = self._directions(SCRATCH_SIZE, NUM_FEATURES)
        write = WRITE_SCALE * self.torch.eye(SCRATCH_SIZE)
        everywhere = self.torch.ones(HEAD_DIM // 2)
        for head, stride in enumerate((*self.distances.strides, 0)):
            self._aim(0, head, stride * everywhere, everywhere, STRIDE_GAIN)
            columns = slice(head * HEAD_DIM, head * HEAD_DIM + SCRATCH_SIZE)
            attention.v_proj.weight[columns, :NUM_FEATURES] = read
            for index, scratch in enumerate(SCRATCH_SETS):
                if head == len(self.distances.strides):
                    attention.o_proj.weight[scratch, columns] = write
                elif head == index:
                    attention.o_proj.weight[scratch, columns] = -write

    def _sum_up_change(self) -> None:
        """Layer 1, MLP: gate and input read the same direction, so that a unit gives about its
        square."""
        mlp = self.decoder.layers[0].mlp
        for index, (scratch, channel) in enumerate(
            zip(SCRATCH_SETS, CHANGED_CHANNELS, strict=True)
        ):
            units = slice(32 * index, 32 * (index + 1))
            directions = self.torch.randn(32, SCRATCH_SIZE)
            read = self.torch.zeros(32, HIDDEN_SIZE)
            read[:, scratch] = 1.5 * directions / directions.norm(dim=1, keepdim=True)
            mlp.gate_proj.weight[units] = read
            mlp.up_proj.weight[units] = read
            mlp.down_proj.weight[:, units] = 0
            mlp.down_proj.weight[channel, units] = 0.05

    def _read_sides(self) -> None:
        """Layer 2: per side of the newest frame, what changed since silence, and what changed since
        a reply."""
        left, right = (self._to_column(column) for column in (LEFT_COLUMN, RIGHT_COLUMN))
        used = (self.axis != 1).float()
        used[-1] = 0
        for head, (distances, channels) in enumerate(
            [(d, c) for c in (CHANGED_CHANNELS[:1], CHANGED_CHANNELS[1:]) for d in (left, right)]
        ):
            self._aim(1, head, distances, used, SIDE_GAIN)
            self._prefer_changed(1, head, channels, SIDE_CHANGED_GAIN)

    def _read_changed(self) -> None:
        """Layer 3: what changed most in the newest frame; one head per channel."""
        used = self.torch.zeros(HEAD_DIM // 2)
        used[[0, 1, 4, 5, 6]] = 1
        distances = self._to_column(MIDDLE_COLUMN)
        for head, channel in enumerate(CHANGED_CHANNELS):
            self._aim(2, head, distances, used, NEWEST_GAIN)
            self._prefer_changed(2, head, (channel,), CHANGED_GAIN)

    def _prefer_changed(
        self, layer: int, head: int, channels: tuple[int, ...], gain: float
    ) -> None:
        """Adds content to a head's aim: places with much of `channels` draw it, and it passes on
        what it finds."""
        attention = self.decoder.layers[layer].self_attn
        rows = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
        # Turns so slowly with distance that only the content counts on it
        slowest = rows.start + HEAD_DIM // 2 - 1
        attention.q_proj.weight[rows] = 0
        attention.k_proj.weight[rows] = 0
        attention.q_proj.bias[slowest] = gain
        attention.k_proj.weight[slowest, list(channels)] = gain
        read = self._directions(HEAD_DIM)
        for index, channel in enumerate(CHANGED_CHANNELS):
            read[index] = 0
            read[index, channel] = 1
        attention.v_proj.weight[rows] = read
        attention.o_proj.weight[:, rows] = WRITE_SCALE * self._directions(HEAD_DIM).T
