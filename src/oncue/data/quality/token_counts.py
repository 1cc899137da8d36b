"""Whether the dialogue of a row fits into the longest sequence that is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from oncue.data.proactive_rows import ProactiveRow
from oncue.data.quality.faults import FaultKind, Finding
from oncue.data.quality.row_rules import SILENCE
from oncue.data.quality.turn_grid import TurnGrid
from oncue.dialogue.write import write_dialogue
from oncue.render.base import PatchedFrame
from oncue.render.markup import PROACTIVE_SYSTEM
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.types import Dialogue

_NO_PIXELS = np.empty((0, 0), np.float32)


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts with the tokenizer and image processor of a model."""

    renderer: QwenVLRenderer
    max_tokens: int

    def row_findings(
        self, row: ProactiveRow, grid: TurnGrid, size_px: tuple[int, int]
    ) -> Iterator[Finding]:
        """A finding where the training dialogue of `row` is too long. `size_px`: (height, width) of
        its frames."""
        num_frames = grid.num_frames(row.task)
        dialogue = write_dialogue(
            row.task,
            num_frames,
            grid.clock,
            system=PROACTIVE_SYSTEM,
            silence=SILENCE,
            frames_per_turn=grid.frames_per_turn,
        )
        return self.findings(dialogue, [size_px] * num_frames)

    def findings(
        self, dialogue: Dialogue, sizes_px: Sequence[tuple[int, int]]
    ) -> Iterator[Finding]:
        """As `row_findings`, of a dialogue with a size for each frame."""
        processor = self.renderer.frame_processor
        grids = {size: processor.grid(*size) for size in set(sizes_px)}
        frames = [PatchedFrame(_NO_PIXELS, grids[size]) for size in sizes_px]
        num_tokens = len(self.renderer.dialogue(dialogue, frames).whole)
        if num_tokens > self.max_tokens:
            said = (
                f"its dialogue of {dialogue.num_frames} frames has {num_tokens:,} tokens, more "
                f"than {self.max_tokens:,}, so that its last turns would be cut off"
            )
            remedy = "use a shorter part of the video, smaller frames, or a higher --max-tokens"
            yield Finding(FaultKind.TOKEN_BUDGET, said, remedy)
