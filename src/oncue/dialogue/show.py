"""Shows a written dialogue as the model sees it: its exact chat text, or its token ids, and what of
it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from oncue.dialogue.frames import load_frames
from oncue.dialogue.rows import read_row
from oncue.errors import DataError, DialogueError, VideoError
from oncue.render.decision import DecisionName
from oncue.render.layout import chat_text
from oncue.types import Dialogue

TRAINED_OPENS, TRAINED_CLOSES = "⟦", "⟧"


def show_dialogue(
    path: Path | str,
    *,
    model: Path | str | None,
    mask: bool,
    ids: bool,
    out: TextIO,
    row: int | None = None,
    frame_size: tuple[int, int] | None = None,
    max_pixels: int | None = None,
    decision_name: DecisionName | None = None,
) -> None:
    """Writes the dialogue of a row to `out`, in the decision format `decision_name` (by default
    that of the model).

    The chat text as it is, each frame as `<image>`; with `mask`, trained stretches are in ⟦ ⟧.
    With `ids`, one token id per line; with `mask` too, a tab and 1 (trained) or 0 follow, and after
    another tab the id that is trained where it is not the one in that place. Only `ids` needs a
    `model` (see `oncue.hub`), and the size of the frames: `frame_size` (width, height) in pixels,
    or else the images of the row. Raises DialogueError for a row that breaks the format or images
    that are missing, ModelError for the model.
    """
    dialogue, images = read_row(path, row)
    if not ids:
        marks = (TRAINED_OPENS, TRAINED_CLOSES) if mask else None
        out.write(chat_text(dialogue, marks, decision_name or "text"))
        return
    if model is None:
        raise DialogueError("token ids depend on the tokenizer of a model; name one with --model")
    from oncue.render.base import PatchedFrame
    from oncue.render.qwen_vl import QwenVLRenderer

    renderer = QwenVLRenderer.from_pretrained(model, max_pixels, decision_name)
    if frame_size is not None:
        width_px, height_px = frame_size
        if min(width_px, height_px) < 1:
            raise DialogueError(f"a frame size must be positive, got {width_px}x{height_px}")
        unseen = PatchedFrame(
            np.empty((0, 0), np.float32), renderer.frame_processor.grid(height_px, width_px)
        )
        frames = [unseen] * dialogue.num_frames  # ids need no pixels
    else:
        frames = [renderer.frame_processor(frame) for frame in _load(dialogue, images)]
    part = renderer.dialogue(dialogue, frames).whole
    for token_id, trained, target_id in zip(
        part.token_ids, part.loss_mask, part.target_ids, strict=True
    ):
        shown = (
            f"\t{int(trained)}" + (f"\t{target_id}" if target_id != token_id else "")
            if mask
            else ""
        )
        out.write(f"{token_id}{shown}\n")


def _load(dialogue: Dialogue, images: Sequence[Path]) -> list[np.ndarray]:
    """The frames of the row as (H, W, 3) uint8 RGB: image files, or moments of videos."""
    remedy = (
        "the number of tokens depends on the size of the frames, which "
        "--frame-size WIDTH HEIGHT gives, too"
    )
    if len(images) != dialogue.num_frames:
        raise DialogueError(
            f"the row shows {dialogue.num_frames} frames but lists no images; {remedy}"
        )
    try:
        return load_frames(images)
    except (DataError, VideoError) as error:
        raise DialogueError(f"{error}; {remedy}") from error
