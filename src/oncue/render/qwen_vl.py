"""Dialogues as Qwen-VL tokens: one image per frame, laid out in one of two decision formats
(`render.layout`).

`text` is exactly what MMDuet2 was trained with: silence is a text turn. In `token` silence costs no
token. A model's folder says which it speaks: `oncue.json` with {"decision_format": "token"}, text
where there is no such file.

A turn is rendered once and appended; the concatenation of `system_block`, `user_turn`, what
`decision` keeps of an answer, ... equals `dialogue` of the same turns, token for token (which ends
with one more token: the line break after a message, or the last trained choice of silence by
token). Text of users, subtitles and replies is ordinary text whatever it holds. `text` gives the
tokens of the chat templates of Qwen2-VL, Qwen2.5-VL and Qwen3-VL Instruct, save in two cases: a
reply that begins with a line break is encoded by itself, as it would be sampled, where a template
would fuse the break with that of the header; and a dialogue without a system message gets
`DEFAULT_SYSTEM`, which Qwen3-VL's template leaves out, so that a dialogue is the same for every
family. The Thinking models of Qwen3-VL get no `<think>` either.

Axis letters: L tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from oncue.errors import DialogueError, ModelError
from oncue.hub import resolve_model
from oncue.render import folder as model_folder
from oncue.render.actions import TextFormat
from oncue.render.base import (
    ActionFormat,
    Grid,
    PatchedFrame,
    RenderedPart,
    Shape,
    grids_of,
    shape_of,
)
from oncue.render.decision import DecisionFormat, DecisionName, Lead, TextDecision, TokenDecision
from oncue.render.images import FrameProcessor
from oncue.render.layout import layout_of
from oncue.render.markup import (
    ASSISTANT_HEADER,
    CONFIG_MARKS,
    DEFAULT_SYSTEM,
    END_OF_TEXT,
    IM_END,
    IM_START,
    IMAGE_PAD,
    NEWLINE,
    PROACTIVE_SYSTEM,
    STRUCTURAL_MARKS,
    VIDEO_PAD,
    VISION_END,
    VISION_START,
    Segment,
    SegmentKind,
    observed_message,
)
from oncue.render.positions import mrope_positions
from oncue.render.trace import TokenTrace, TraceSegment
from oncue.types import Action, Dialogue, EnvTurn, Malformed, Silence

__all__ = [
    "DEFAULT_SYSTEM",
    "MMDUET2_MAX_PIXELS",
    "MMDUET2_MAX_TOKENS",
    "PROACTIVE_SYSTEM",
    "QwenVLRenderer",
]

MMDUET2_MAX_TOKENS = 128  # vision tokens per frame (paper section 4.2)
MMDUET2_MAX_PIXELS = MMDUET2_MAX_TOKENS * 28 * 28  # the same in pixels of Qwen2.5-VL
_MOST_KNOWN = 1024  # texts whose ids are kept

FrameInput = np.ndarray | PatchedFrame


class QwenVLRenderer:
    """Renders turns for one model, with its tokenizer and its frame processor.

    `tokenizer` is a `tokenizers.Tokenizer` that treats every text as ordinary text.
    `structural_ids` are the ids that only this class may place into a dialogue: a sampler must not
    draw them, apart from `im_end_id`, which ends a turn. It alone does: engines that go by a
    checkpoint's own settings stop at `<|endoftext|>` too: their settings must say so.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        mark_ids: dict[str, int],
        frames: FrameProcessor,
        decision_name: DecisionName = "text",
    ) -> None:
        self.tokenizer = tokenizer
        self.frame_processor = frames
        self.format = TextFormat()  # of sessions that are opened with no other one
        self.decision_name = decision_name
        self._layout = layout_of(decision_name, self.format)
        self._mark_ids = mark_ids
        self.im_start_id = mark_ids[IM_START]
        self.im_end_id = mark_ids[IM_END]
        self.vision_start_id = mark_ids[VISION_START]
        self.vision_end_id = mark_ids[VISION_END]
        self.image_pad_id = mark_ids[IMAGE_PAD]
        self.video_pad_id = mark_ids[VIDEO_PAD]
        self.endoftext_id = mark_ids[END_OF_TEXT]
        self.structural_ids = frozenset(mark_ids.values())
        # Ids of texts that came before: the same few are around every frame.
        self._known: dict[str, list[int]] = {}
        self.decision: DecisionFormat = TextDecision(
            self.encode(self.format.silence_text), self.im_end_id
        )
        if decision_name == "token":
            header_ids = self._ids((NEWLINE, *ASSISTANT_HEADER), ())
            self.decision = TokenDecision(self.vision_start_id, self.im_end_id, header_ids)
        self.silence_ids = self.policy_turn_ids(Silence())

    @classmethod
    def from_pretrained(
        cls,
        name: Path | str,
        max_pixels: int | None = None,
        decision_name: DecisionName | None = None,
    ) -> QwenVLRenderer:
        """The renderer of a model by name (see `oncue.hub`); its weights are not fetched.

        `max_pixels` caps the area of a frame after resizing. By default that is what the folder
        says, but no more than the 128 vision tokens MMDuet2 was trained with. `decision_name`: by
        default the decision format that the folder says. Raises ModelError where the folder is
        missing or incomplete, or its tokenizer, config and image processor contradict each other.
        """
        folder = resolve_model(name, weights=False)
        config = model_folder.read_config(folder)
        tokenizer = model_folder.read_tokenizer(folder)
        # Qwen's own allow 16384 vision tokens.
        frames = FrameProcessor.from_pretrained(folder, max_pixels, MMDUET2_MAX_TOKENS)
        vision = config.get("vision_config") or {}
        for key, ours in (
            ("patch_size", frames.patch_size),
            ("spatial_merge_size", frames.merge_size),
            ("temporal_patch_size", frames.temporal_patch_size),
        ):
            if vision.get(key) not in (None, ours):
                raise ModelError(
                    f"{folder}: config.json has {key} {vision[key]}, the image processor has {ours}"
                )
        marks = model_folder.mark_ids(
            folder, tokenizer, config, STRUCTURAL_MARKS, CONFIG_MARKS, "Qwen-VL"
        )
        return cls(
            tokenizer,
            marks,
            frames,
            decision_name=decision_name or model_folder.read_decision_name(folder),
        )

    @property
    def proactive_system(self) -> str:
        """The system message of a stream, in this decision format."""
        return self._layout.proactive_system

    @property
    def merge_size(self) -> int:
        """Patches per side of the square that becomes one vision token."""
        return self.frame_processor.merge_size

    def encode(self, text: str) -> list[int]:
        """The ids of ordinary text; never a structural id."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def system_block(self, text: str) -> RenderedPart:
        """The system message with the newline that follows it: how every dialogue begins."""
        ids = self._ids((*observed_message("system", (text,)), NEWLINE), ())
        return RenderedPart(np.array(ids, np.int64), np.zeros(len(ids), bool))

    def user_turn(self, turn: EnvTurn, lead: Lead) -> RenderedPart:
        """What is shown, up to where the policy chooses. `lead`: how the prefix ends.

        After a policy turn it starts with the newline that belongs after the closing token.
        """
        frames = tuple(self.frame_processor(pixels) for pixels in turn.pictures)
        ids = self.user_turn_ids(shape_of(turn), [frame.grid for frame in frames], lead)
        return RenderedPart(ids, np.zeros(len(ids), bool), frames)

    def user_turn_ids(self, shape: Shape, grids: Sequence[Grid], lead: Lead) -> np.ndarray:
        """The ids (L,) int64 of a turn of that shape, its frames of these grids."""
        return np.array(self._ids(self._layout.user_turn(shape, lead), grids), np.int64)

    def policy_turn_ids(
        self, action: Action, action_format: ActionFormat | None = None
    ) -> tuple[int, ...]:
        """The choices of an answer that was written rather than sampled; what they leave is
        `decision.kept`."""
        text_ids = self.encode((action_format or self.format).write(action))
        return self.decision.choices(text_ids, silent=isinstance(action, Silence))

    def read_action(
        self, token_ids: Iterable[int], truncated: bool, action_format: ActionFormat | None = None
    ) -> Action:
        """The action that chosen ids state in a grammar, by default `format`; an `<|im_end|>` at
        their end is dropped.

        Ids that are no text (another structural token, or a row of the model's vocabulary that the
        tokenizer does not use) make the turn `Malformed`, and so does a first choice that is none
        of the format's. Our engine draws none of them. Of another one's samples, a turn that ended
        with `<|endoftext|>` is malformed as well: no dialogue goes on after that mark, so it must
        neither stay in a prefix nor be trained as the end of a turn.
        """
        chosen = tuple(token_ids)
        first = self.decision.allowed(0)
        if first is not None and first.isdisjoint(chosen[:1]):
            return Malformed(
                self.tokenizer.decode(chosen, skip_special_tokens=False),
                "the turn begins undecided",
            )
        ids = self._said(chosen)
        if ids is None:
            return Silence()
        text = self.tokenizer.decode(ids, skip_special_tokens=False)
        if ids and ids[-1] == self.endoftext_id:
            return Malformed(text, f"the turn ended with {END_OF_TEXT}, and only {IM_END} ends one")
        if not self.structural_ids.isdisjoint(ids):
            return Malformed(text, "a structural token was sampled inside the turn")
        if any(self.tokenizer.id_to_token(i) is None for i in ids):
            return Malformed(text, "an id without a token was sampled")
        return (action_format or self.format).read(text, truncated)

    def text_of(self, token_ids: Iterable[int]) -> str:
        """What chosen ids say, thoughts included; "" for silence by token."""
        ids = self._said(tuple(token_ids))
        return self.tokenizer.decode(ids or [], skip_special_tokens=False)

    def _said(self, chosen: tuple[int, ...]) -> list[int] | None:
        """The ids of the text, without the mark that ends it; None for silence by token."""
        said = self.decision.said(chosen)
        if said is None:
            return None
        return list(said[:-1] if said[-1:] == (self.im_end_id,) else said)

    def dialogue(
        self, dialogue: Dialogue, frames: Sequence[FrameInput] | None = None
    ) -> TokenTrace:
        """A written dialogue, one segment; its choices are those of its trained turns, nothing
        else.

        `frames`: one per frame of the dialogue, in order, (H, W, 3) uint8 or already patched by
        `frame_processor`. Raises DialogueError where their number is wrong.
        """
        given = () if frames is None else frames
        if len(given) != dialogue.num_frames:
            raise DialogueError(
                f"dialogue {dialogue.dialogue_id!r} shows {dialogue.num_frames} frames, but "
                f"{len(given)} were given"
            )
        patched = tuple(
            f if isinstance(f, PatchedFrame) else self.frame_processor(f) for f in given
        )
        grids = iter([frame.grid for frame in patched])
        ids: list[int] = []
        targets: list[int] = []
        turn_of: list[int] = []
        decided: Segment | None = None
        for segment in self._layout.dialogue(dialogue):
            if segment.kind is SegmentKind.DECISION:
                decided = segment
                continue
            place = len(ids)
            ids += self._ids((segment,), [next(grids)] if segment.kind is SegmentKind.FRAME else ())
            targets += ids[place:]
            turn_of += [_index(segment)] * (len(ids) - place)
            if decided is not None:
                targets[place], turn_of[place], decided = (
                    self._mark_ids[decided.text],
                    _index(decided),
                    None,
                )
        if decided is not None and decided.turn is not None:
            ids.append(self._mark_ids[decided.text])
            targets.append(ids[-1])
            turn_of.append(decided.turn)
        token_ids = np.array(ids, np.int64)
        positions, _ = mrope_positions(
            token_ids, grids_of(patched), self.image_pad_id, self.merge_size, 0
        )
        unsampled = np.zeros(len(ids), np.float32)
        targets_L, turn_of_L = np.array(targets, np.int64), np.array(turn_of, np.int64)
        return TokenTrace(
            (TraceSegment(token_ids, positions, targets_L, turn_of_L, unsampled, patched),)
        )

    def _ids(self, segments: Iterable[Segment], grids: Sequence[tuple[int, int, int]]) -> list[int]:
        ids: list[int] = []
        waiting = iter(grids)
        for segment in segments:
            if segment.kind is SegmentKind.MARK:
                ids.append(self._mark_ids[segment.text])
            elif segment.kind is SegmentKind.TEXT:
                ids += self._encoded(segment.text)
            else:
                _, rows, columns = next(waiting)
                num_tokens = rows * columns // self.merge_size**2
                ids += [
                    self.vision_start_id,
                    *([self.image_pad_id] * num_tokens),
                    self.vision_end_id,
                ]
        return ids

    def _encoded(self, text: str) -> list[int]:
        ids = self._known.get(text)
        if ids is None:
            ids = self.encode(text)
            if len(self._known) < _MOST_KNOWN:
                self._known[text] = ids
        return ids


def _index(segment: Segment) -> int:
    return -1 if segment.turn is None else segment.turn
