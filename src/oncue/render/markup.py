"""The chat markup of Qwen-VL, and the segments that the text and the token ids of a dialogue are
both read from."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from oncue.render.actions import TextFormat
from oncue.render.base import Shape

IM_START, IM_END, END_OF_TEXT = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"
STRUCTURAL_MARKS = (IM_START, IM_END, VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD, END_OF_TEXT)
CONFIG_MARKS = {  # keys of config.json that repeat the id of a mark
    "image_token_id": IMAGE_PAD,
    "video_token_id": VIDEO_PAD,
    "vision_start_token_id": VISION_START,
    "vision_end_token_id": VISION_END,
}

DEFAULT_SYSTEM = "You are a helpful assistant."
PROACTIVE_SYSTEM = (
    "You are a helpful assistant. Your task is to answer questions based on continuously incoming "
    "video frames. "
    "Your responses should include information from the video since your last reply (if any). "
    + TextFormat().instruction
)
TOKEN_SYSTEM = (
    "You are a helpful assistant. You watch a video while it happens, and people tell you what "
    "they want to know. "
    "As long as the newest frames show nothing new about that, go on watching. When they do, say "
    "what you see."
)
FRAME_TEXT = "<image>"  # how one frame is printed, and how it is written in training rows


class SegmentKind(enum.Enum):
    MARK = "mark"  # one special token
    TEXT = "text"  # ordinary text, whatever it contains; encoded as a whole
    FRAME = "frame"  # one frame
    DECISION = (
        "decision"  # no token: a mark that the policy chose where another token, or none, follows
    )


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the chat text that becomes tokens by itself. `turn`: the turn of the dialogue
    whose trained choice it is; None for what the loss leaves out."""

    kind: SegmentKind
    text: str
    turn: int | None = None


NEWLINE = Segment(SegmentKind.TEXT, "\n")
ASSISTANT_HEADER = (Segment(SegmentKind.MARK, IM_START), Segment(SegmentKind.TEXT, "assistant\n"))


def observed_message(role: str, shape: Shape) -> Iterator[Segment]:
    """A system or user message up to its closing mark. Header and text are one segment unless
    frames part them."""
    yield Segment(SegmentKind.MARK, IM_START)
    for text in marked((f"{role}\n", *shape)):
        yield (
            Segment(SegmentKind.FRAME, FRAME_TEXT)
            if text is None
            else Segment(SegmentKind.TEXT, text)
        )
    yield Segment(SegmentKind.MARK, IM_END)


def marked(shape: Shape) -> Iterator[str | None]:
    """What a turn shows, with the marks written out: text, never twice in a row, and None for each
    frame.

    A frame with a mark has a line of its own: the mark, a colon and a blank, the frame.
    """
    text, begun = "", False
    for part in shape:
        if isinstance(part, str):
            text, begun = text + part, True
            continue
        if part.mark:
            text += ("\n" if begun and not text.endswith("\n") else "") + f"{part.mark}: "
        if text:
            yield text
        yield None
        text, begun = "\n" if part.mark else "", True
    if text:
        yield text


def policy_message(text: str, turn: int | None) -> Iterator[Segment]:
    """What the policy writes after its header: the text, and the closing mark, which is part of
    what it must say."""
    if text:
        yield Segment(SegmentKind.TEXT, text, turn)
    yield Segment(SegmentKind.MARK, IM_END, turn)
