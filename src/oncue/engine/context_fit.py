"""Whether a dialogue fits into a model, before it begins: how many positions it takes if nothing is
said."""

from __future__ import annotations

from collections.abc import Iterable

from oncue.render.base import frames_then_text
from oncue.render.positions import mrope_positions
from oncue.render.qwen_vl import QwenVLRenderer


def positions_if_silent(
    renderer: QwenVLRenderer,
    system: str,
    questions: Iterable[str],
    num_turns: int,
    frames_per_turn: int,
    frame_px: tuple[int, int],
) -> int:
    """The positions of `num_turns` turns that are answered by silence, each with frames of
    `frame_px` (height, width).

    Replies take more. What leads the first turn is counted as that of the others, which differs by
    a few tokens.
    """
    grids = [renderer.frame_processor.grid(*frame_px)] * frames_per_turn
    lead = renderer.decision.lead_after(renderer.silence_ids)
    shown = renderer.user_turn_ids(frames_then_text(frames_per_turn, ""), grids, lead)
    ids = [*shown.tolist(), *renderer.decision.kept(renderer.silence_ids)]
    _, per_turn = mrope_positions(ids, grids, renderer.image_pad_id, renderer.merge_size, 0)
    asked = sum(
        len(renderer.user_turn_ids(frames_then_text(frames_per_turn, text), grids, lead))
        - len(shown)
        for text in questions
    )
    return len(renderer.system_block(system)) + num_turns * per_turn + asked
