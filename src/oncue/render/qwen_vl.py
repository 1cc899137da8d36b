"""Dialogues as Qwen2.5-VL tokens, exactly as MMDuet2 was trained: one image per frame, silence as a text turn.

A turn is rendered once and appended; the concatenation of `system_block`, `user_turn`, `policy_turn_ids`, ... equals
`dialogue` of the same turns, token for token. Text of users, subtitles and replies is ordinary text whatever it holds.
Departs from the stock template in one case: a reply that begins with a line break is encoded by itself, as it would be
sampled, where the stock template would fuse the break with that of the header.

Axis letters: L tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from oncue.errors import DialogueError, ModelError
from oncue.render import folder as model_folder
from oncue.render.actions import TextFormat
from oncue.render.base import ActionFormat, PatchedFrame, RenderedPart
from oncue.render.decision import DecisionFormat, Lead, TextDecision
from oncue.render.images import FrameProcessor
from oncue.render.markup import (
    ASSISTANT_HEADER,
    DEFAULT_SYSTEM,
    END_OF_TEXT,
    IM_END,
    IM_START,
    IMAGE_PAD,
    NEWLINE,
    PROACTIVE_SYSTEM,
    VIDEO_PAD,
    VISION_END,
    VISION_START,
    Segment,
    SegmentKind,
    dialogue_segments,
    observed_message,
    policy_message,
)
from oncue.types import Action, Dialogue, EnvTurn, Malformed, Silence

__all__ = ["DEFAULT_SYSTEM", "MMDUET2_MAX_PIXELS", "PROACTIVE_SYSTEM", "QwenVLRenderer"]

MMDUET2_MAX_PIXELS = 128 * 28 * 28  # at most 128 vision tokens per frame (paper section 4.2)

FrameInput = np.ndarray | PatchedFrame


class QwenVLRenderer:
    """Renders turns for one model: its tokenizer, its frame processor, and the grammar of actions.

    `tokenizer` is a `tokenizers.Tokenizer` that treats every text as ordinary text. `structural_ids` are the ids that
    only this class may place into a dialogue: a sampler must not draw them, apart from `closing_ids`, which end a turn.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        mark_ids: dict[str, int],
        frames: FrameProcessor,
        action_format: ActionFormat | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.frame_processor = frames
        self.format: ActionFormat = action_format or TextFormat()
        self.im_start_id = mark_ids[IM_START]
        self.im_end_id = mark_ids[IM_END]
        self.vision_start_id = mark_ids[VISION_START]
        self.vision_end_id = mark_ids[VISION_END]
        self.image_pad_id = mark_ids[IMAGE_PAD]
        self.video_pad_id = mark_ids[VIDEO_PAD]
        self.endoftext_id = mark_ids[END_OF_TEXT]
        self.structural_ids = frozenset(mark_ids.values())
        self.closing_ids = frozenset((self.im_end_id, self.endoftext_id))
        self.silence_ids = self.policy_turn_ids(Silence())
        self.decision: DecisionFormat = TextDecision(self.silence_ids, self.im_end_id)

    @classmethod
    def from_pretrained(cls, folder_or_hub_id: Path | str, max_pixels: int | None = None) -> QwenVLRenderer:
        """The renderer of a model. `max_pixels` caps the area of a frame after resizing. By default that is
        what the folder says, but no more than MMDuet2 was trained with (128*28*28, 128 vision tokens).

        Raises ModelError where the folder is missing or incomplete, or its tokenizer, config and image processor
        contradict each other.
        """
        folder = model_folder.find_folder(folder_or_hub_id)
        config = model_folder.read_config(folder)
        tokenizer = model_folder.read_tokenizer(folder)
        frames = FrameProcessor.from_pretrained(folder, max_pixels)
        if max_pixels is None and frames.max_pixels > MMDUET2_MAX_PIXELS:  # Qwen's own folders allow 16384 tokens
            frames = replace(frames, max_pixels=max(MMDUET2_MAX_PIXELS, frames.min_pixels))
        vision = config.get("vision_config") or {}
        for key, ours in (
            ("patch_size", frames.patch_size),
            ("spatial_merge_size", frames.merge_size),
            ("temporal_patch_size", frames.temporal_patch_size),
        ):
            if vision.get(key) not in (None, ours):
                raise ModelError(f"{folder}: config.json has {key} {vision[key]}, the image processor has {ours}")
        return cls(tokenizer, model_folder.mark_ids(folder, tokenizer, config), frames)

    @property
    def merge_size(self) -> int:
        """Patches per side of the square that becomes one vision token."""
        return self.frame_processor.merge_size

    def encode(self, text: str) -> list[int]:
        """The ids of ordinary text; never a structural id."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def system_block(self, text: str) -> RenderedPart:
        """The system message with the newline that follows it: how every dialogue begins."""
        return self._render((*observed_message("system", text), NEWLINE), ())

    def user_turn(self, turn: EnvTurn, lead: Lead) -> RenderedPart:
        """What is shown, up to and including the header of the answer. `lead`: how the prefix ends.

        After a policy turn it starts with the newline that belongs after the closing token.
        """
        frames = tuple(self.frame_processor(frame) for frame in turn.frames.pixels)
        ids = self.user_turn_ids(turn.text, [frame.grid for frame in frames], lead)
        return RenderedPart(ids, np.zeros(len(ids), bool), frames)

    def user_turn_ids(self, text: str, grids: Sequence[tuple[int, int, int]], lead: Lead) -> np.ndarray:
        """The ids (L,) int64 of a turn that shows frames of these grids, then `text`."""
        newline = () if lead is Lead.START else (NEWLINE,)
        message = observed_message("user", text, len(grids))
        return np.array(self._ids((*newline, *message, NEWLINE, *ASSISTANT_HEADER), grids), np.int64)

    def policy_turn_ids(self, action: Action) -> tuple[int, ...]:
        """The ids of a policy turn that was written rather than sampled, closing token included."""
        part = self._render(policy_message(self.format.write(action), trained=False), ())
        return tuple(part.token_ids.tolist())

    def read_action(self, token_ids: Iterable[int], truncated: bool) -> Action:
        """The action that sampled ids state; a closing token at their end is dropped.

        Ids that are no text (another structural token, or a row of the model's vocabulary that the tokenizer does not
        use) make the turn `Malformed`.
        """
        ids = list(token_ids)
        if ids and ids[-1] in self.closing_ids:
            ids.pop()
        text = self.tokenizer.decode(ids, skip_special_tokens=False)
        if not self.structural_ids.isdisjoint(ids):
            return Malformed(text, "a structural token was sampled inside the turn")
        if any(self.tokenizer.id_to_token(i) is None for i in ids):
            return Malformed(text, "an id without a token was sampled")
        return self.format.read(text, truncated)

    def dialogue(self, dialogue: Dialogue, frames: Sequence[FrameInput] | None = None) -> RenderedPart:
        """A written dialogue with its loss mask: the text of trained turns and their closing token, nothing else.

        `frames`: one per frame of the dialogue, in order, (H, W, 3) uint8 or already patched by `frame_processor`.
        Raises DialogueError where their number is wrong.
        """
        given = 0 if frames is None else len(frames)
        if given != dialogue.num_frames:
            raise DialogueError(
                f"dialogue {dialogue.dialogue_id!r} shows {dialogue.num_frames} frames, but {given} were given"
            )
        return self._render(dialogue_segments(dialogue), () if frames is None else frames)

    def _render(self, segments: Iterable[Segment], frames: Sequence[FrameInput] | np.ndarray) -> RenderedPart:
        patched = tuple(f if isinstance(f, PatchedFrame) else self.frame_processor(f) for f in frames)
        ids: list[int] = []
        mask: list[bool] = []
        grids = iter([frame.grid for frame in patched])
        for segment in segments:
            new = self._ids((segment,), [next(grids)] if segment.kind is SegmentKind.FRAME else ())
            ids += new
            mask += [segment.trained] * len(new)
        return RenderedPart(np.array(ids, np.int64), np.array(mask, bool), patched)

    def _ids(self, segments: Iterable[Segment], grids: Sequence[tuple[int, int, int]]) -> list[int]:
        ids: list[int] = []
        waiting = iter(grids)
        for segment in segments:
            if segment.kind is SegmentKind.MARK:
                ids.append(self._mark_id(segment.text))
            elif segment.kind is SegmentKind.TEXT:
                ids += self.encode(segment.text)
            else:
                _, rows, columns = next(waiting)
                num_tokens = rows * columns // self.merge_size**2
                ids += [self.vision_start_id, *([self.image_pad_id] * num_tokens), self.vision_end_id]
        return ids

    def _mark_id(self, mark: str) -> int:
        return self.im_start_id if mark == IM_START else self.im_end_id
