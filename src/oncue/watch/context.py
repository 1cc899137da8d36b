"""How much context a session is given that watches a video."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oncue.types import Question

if TYPE_CHECKING:
    from oncue.model.loading import LoadedModel
    from oncue.video.probe import VideoInfo

ENDLESS_CONTEXT_TOKENS = 16384  # about two minutes of the 3B model at one frame per second


@dataclass(frozen=True, slots=True)
class PlannedVideo:
    """What will be shown of a video, if all of it is. `frame_px`: (height, width)."""

    num_turns: int
    frames_per_turn: int
    frame_px: tuple[int, int]


def planned_video(
    video_s: float | None, info: VideoInfo | None, frame_interval_s: float, frames_per_turn: int
) -> PlannedVideo | None:
    """What will be shown of a video of that length; None where that is not known."""
    if video_s is None or info is None:
        return None
    num_turns = math.ceil(math.ceil(video_s / frame_interval_s) / frames_per_turn)
    return PlannedVideo(num_turns, frames_per_turn, (info.height_px, info.width_px))


def is_too_long(
    loaded: LoadedModel,
    system: str | None,
    questions: Sequence[Question],
    planned: PlannedVideo,
    bound_tokens: int,
    noted: Callable[[str], None],
) -> bool:
    """Whether the video has more turns than the model has room for; says so, and that
    `bound_tokens` bounds its context then."""
    from oncue.engine.context_fit import positions_if_silent

    num_needed = positions_if_silent(
        loaded.renderer,
        loaded.renderer.proactive_system if system is None else system,
        [question.text for question in questions],
        planned.num_turns,
        planned.frames_per_turn,
        planned.frame_px,
    )
    if num_needed <= loaded.max_prefix_tokens:
        return False
    noted(
        f"{planned.num_turns} turns need about {num_needed} positions, and the model has "
        f"{loaded.max_positions}: the context is bounded at {bound_tokens} tokens, and old turns "
        "are dropped (--context-tokens sets another bound)"
    )
    return True
