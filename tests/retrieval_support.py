"""A task with another grammar than that of streams: the policy asks for frames of a pool, then
answers a question."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from oncue.types import Action, Answer, EnvTurn, FrameBatch, Malformed, Retrieve, StopReason, Task
from tiny_model import random_turn

RETRIEVAL_TASK = Task("box", options=("A. red", "B. blue"), answer="B")
_RANGE = re.compile(r"<retrieve>(\d+),(\d+)</retrieve>")
_ANSWER = re.compile(r"<answer>([^<>]+)</answer>")


class TagFormat:
    """Frame numbers or an answer, in tags. There is no silence."""

    silence_text = None
    instruction = "Write one line:\n<retrieve>2,5</retrieve>\n<answer>A</answer>"

    def write(self, action: Action) -> str:
        if isinstance(action, Retrieve):
            return f"<retrieve>{action.start:g},{action.end:g}</retrieve>"
        if isinstance(action, Answer):
            return f"<answer>{action.text}</answer>"
        if isinstance(action, Malformed):
            return action.text
        raise ValueError(f"this grammar has no {action}")

    def read(self, text: str, truncated: bool = False) -> Action:  # noqa: ARG002 - what is cut off has no closing tag
        if (found := _RANGE.fullmatch(text)) and int(found[1]) <= int(found[2]):
            return Retrieve(int(found[1]), int(found[2]))
        if found := _ANSWER.fullmatch(text):
            return Answer(found[1])
        return Malformed(text, "neither a range nor an answer")


class RetrievalEnv:
    """A VideoEnv over a pool of `num_frames` frames: an overview, then in each turn what was asked
    for, larger."""

    def __init__(self, num_frames: int = 8, max_turns: int = 4) -> None:
        self._pool = random_turn(np.random.default_rng(0), 8.0, num_frames).frames
        self._left = max_turns

    async def open(self) -> EnvTurn | StopReason:
        return self._show("The whole video:\n", range(0, len(self._pool), 3), 1)

    async def step(self, action: Action) -> EnvTurn | StopReason:
        if isinstance(action, Answer):
            return StopReason.ANSWERED
        if self._left == 0:
            return StopReason.OUT_OF_BUDGET
        if isinstance(action, Retrieve):
            return self._show(
                "What you asked for:\n", range(int(action.start), int(action.end) + 1), 2
            )
        self._left -= 1
        return EnvTurn(f"That is no action. {TagFormat.instruction}", 8.0)

    def _show(self, before: str, indices: Sequence[int], scale: int) -> EnvTurn:
        self._left -= 1
        chosen = list(indices)
        pixels = self._pool.pixels[chosen].repeat(scale, axis=2)
        frames = FrameBatch(pixels, self._pool.pts_s[chosen], tuple(f"frame {i}" for i in chosen))
        question = (
            f"What colour is the box? {' '.join(RETRIEVAL_TASK.options)} {TagFormat.instruction}"
        )
        return EnvTurn([before, frames, question], 8.0)
