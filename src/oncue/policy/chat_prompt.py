"""What a chat server is sent: system message, turns and answers as messages of its API."""

from __future__ import annotations

import base64
import io

import numpy as np

from oncue.chat_client import Message
from oncue.errors import InputError
from oncue.render.base import shape_of
from oncue.render.images import FrameProcessor
from oncue.render.markup import STRUCTURAL_MARKS, marked
from oncue.types import EnvTurn


def system_message(text: str) -> Message:
    """The message that comes first. Raises InputError for text with a chat mark in it."""
    check_text(text)
    return {"role": "system", "content": text}


def policy_message(text: str) -> Message:
    """What the policy said, or the beginning of it. A chat mark in it (it may have read one in a
    picture) is broken up with a blank: a server would take it for the end of the message."""
    for mark in STRUCTURAL_MARKS:
        text = text.replace(mark, mark.replace("<|", "< |"))
    return {"role": "assistant", "content": text}


def user_message(shown: EnvTurn, frames: FrameProcessor, jpeg_quality: int) -> Message:
    """A turn: its text, and its frames as JPEG, scaled down as `frames` does for a local model, in
    order.

    Raises InputError for text with a chat mark in it, which a server may take for the end of the
    message.
    """
    pictures = iter(shown.pictures)
    parts: list[Message] = []
    for text in marked(shape_of(shown)):
        if text is not None:
            check_text(text)
            parts.append({"type": "text", "text": text})
            continue
        parts.append(_image(next(pictures), frames, jpeg_quality))
    return {
        "role": "user",
        "content": parts if shown.batches else "".join(part["text"] for part in parts),
    }


def _image(pixels: np.ndarray, frames: FrameProcessor, jpeg_quality: int) -> Message:
    held = io.BytesIO()
    frames.resized(pixels).save(held, "JPEG", quality=jpeg_quality)
    data = base64.b64encode(held.getvalue()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}


def check_text(text: str) -> None:
    """Raise InputError for text with a chat mark in it."""
    for mark in STRUCTURAL_MARKS:
        if mark in text:
            raise InputError(
                f"the text {text!r:.120} holds {mark}, which steers a chat server; leave that out"
            )
