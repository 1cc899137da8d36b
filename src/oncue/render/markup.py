"""The chat markup of Qwen2.5 in segments: the one place that knows where each mark stands (spec: paper Fig. 2).

The printed text and the token ids of a dialogue are both read from these segments, so they cannot drift apart.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from oncue.types import Dialogue

IM_START, IM_END, END_OF_TEXT = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"
STRUCTURAL_MARKS = (IM_START, IM_END, VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD, END_OF_TEXT)

DEFAULT_SYSTEM = "You are a helpful assistant."
PROACTIVE_SYSTEM = (
    "You are a helpful assistant. Your task is to answer questions based on continuously incoming video frames. "
    "Your responses should include information from the video since your last reply (if any). "
    'If the information in this segment of the video cannot answer the question, output "NO REPLY".'
)
FRAME_TEXT = "<image>"  # how one frame is printed, and how it is written in training rows


class SegmentKind(enum.Enum):
    MARK = "mark"  # one special token
    TEXT = "text"  # ordinary text, whatever it contains; encoded as a whole
    FRAME = "frame"  # one frame


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the chat text that becomes tokens by itself. `trained`: the loss covers it."""

    kind: SegmentKind
    text: str
    trained: bool = False


NEWLINE = Segment(SegmentKind.TEXT, "\n")
ASSISTANT_HEADER = (Segment(SegmentKind.MARK, IM_START), Segment(SegmentKind.TEXT, "assistant\n"))


def observed_message(role: str, text: str, num_frames: int = 0) -> Iterator[Segment]:
    """A system or user message up to its closing mark. Header and text are one segment unless frames part them."""
    yield Segment(SegmentKind.MARK, IM_START)
    if num_frames:
        yield Segment(SegmentKind.TEXT, f"{role}\n")
        yield from (Segment(SegmentKind.FRAME, FRAME_TEXT) for _ in range(num_frames))
        if text:
            yield Segment(SegmentKind.TEXT, text)
    else:
        yield Segment(SegmentKind.TEXT, f"{role}\n{text}")
    yield Segment(SegmentKind.MARK, IM_END)


def policy_message(text: str, trained: bool) -> Iterator[Segment]:
    """What the policy writes after its header: the text, and the closing mark, which is part of what it must say."""
    if text:
        yield Segment(SegmentKind.TEXT, text, trained)
    yield Segment(SegmentKind.MARK, IM_END, trained)


def dialogue_segments(dialogue: Dialogue) -> Iterator[Segment]:
    """The whole dialogue, each message closed by a newline; `DEFAULT_SYSTEM` first where it has no system message.

    The policy's text is its own segment: it was, or will be, sampled after the header, never encoded with it.
    """
    if not dialogue.turns or dialogue.turns[0].role != "system":
        yield from observed_message("system", DEFAULT_SYSTEM)
        yield NEWLINE
    for turn, trained in zip(dialogue.turns, dialogue.trained, strict=True):
        if turn.role == "assistant":
            yield from ASSISTANT_HEADER
            yield from policy_message(turn.text, trained)
        else:
            yield from observed_message(turn.role, turn.text, turn.num_frames)
        yield NEWLINE


def chat_text(dialogue: Dialogue, marks: tuple[str, str] | None = None) -> str:
    """The dialogue as text, each frame shown as `<image>`; `marks` = what opens and closes each trained stretch."""
    pieces: list[str] = []
    inside = False
    for segment in dialogue_segments(dialogue):
        if marks and segment.trained != inside:
            pieces.append(marks[0] if segment.trained else marks[1])
            inside = segment.trained
        pieces.append(segment.text)
    return "".join(pieces)
