"""Turns asked about ahead of time: where it is known what will be shown, a stretch of silence costs
one forward.

The draft of a silent answer (`engine.request`) goes on with the turn that comes next, as it will
stand if this one is answered by silence, and so with the turns after it. While the policy is
silent, the logits for the next turn are already there when it is shown; once it speaks, those that
are left are dropped, and the next forward starts from there. A token never sees what comes after
it, so the answers are those of one turn at a time.

Axis letters: L tokens, R logits read, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch

from oncue.engine.encoder_cache import CachedFrame
from oncue.engine.window import Window
from oncue.render.base import shape_of
from oncue.render.decision import DecisionFormat
from oncue.render.positions import mrope_positions
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.types import EnvTurn

_MOST_NEW_TOKENS = 1024  # of all turns that go ahead in one row


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What goes into the cache before the first choice of an answer: `ids` (L) with their
    `positions_3L`, and the `frames` among them. `answer_position` is the M-RoPE position of what
    comes next."""

    ids: list[int]
    frames: tuple[CachedFrame, ...]
    positions_3L: np.ndarray
    answer_position: int

    @classmethod
    def of(
        cls, renderer: QwenVLRenderer, ids: list[int], frames: Sequence[CachedFrame], start: int
    ) -> Prompt:
        """The prompt whose first token has position `start`."""
        grids = [frame.grid for frame in frames]
        positions_3L, end = mrope_positions(
            ids, grids, renderer.image_pad_id, renderer.merge_size, start
        )
        return cls(ids, tuple(frames), positions_3L, end)

    def drafted(
        self, decision: DecisionFormat, draft: Sequence[int]
    ) -> tuple[list[int], np.ndarray, list[int]]:
        """Its ids and positions with those of a drafted answer, and after which of them a choice is
        made."""
        inputs = [decision.next_input(draft[: i + 1]) or () for i in range(len(draft))]
        added = [token for ids in inputs for token in ids]
        at_3L = text_positions(self.answer_position, len(added))
        read = np.cumsum([len(self.ids) - 1, *map(len, inputs)]).tolist()
        return [*self.ids, *added], np.concatenate([self.positions_3L, at_3L], axis=1), read


@dataclass(slots=True, eq=False)
class UpcomingTurn:
    """A turn that will be shown, and its frames, which another thread prepares (None: not yet asked
    to)."""

    observed: EnvTurn
    frames: Future[tuple[CachedFrame, ...]] | None = None


@dataclass(slots=True, eq=False)
class SpeculatedTurn:
    """A turn that went into a forward before it was shown, behind `num_context` tokens that end
    with silence.

    `share_s` is its share of the time which that forward took.
    """

    observed: EnvTurn
    frames: tuple[CachedFrame, ...]
    turn_ids: list[int]
    prompt: Prompt
    num_context: int
    logits_RV: torch.Tensor | None = None
    share_s: float = 0.0


class Lookahead:
    """Which turns may go ahead of an answer: at most `most`, and no more than were silent since the
    last reply, while window and model have room for each. Who talks a lot would drop most of them,
    and large ones are no quicker together. Where only the last turns stay in view, none does.

    With `patient`, the preparation of their frames is waited for, so that who goes ahead does not
    depend on time.
    """

    def __init__(
        self,
        renderer: QwenVLRenderer,
        most: int,
        max_prefix_tokens: int,
        max_new_tokens: int,
        *,
        patient: bool,
    ) -> None:
        silence, decision = renderer.silence_ids, renderer.decision
        self.most = most if max_new_tokens >= len(silence) else 0
        self._patient = patient
        self._renderer = renderer
        self._last_answer_position = max_prefix_tokens + 1 - max_new_tokens
        self._kept, self._lead = decision.kept(silence), decision.lead_after(silence)
        draft = decision.silence_draft
        self._num_fed = sum(
            len(decision.next_input(draft[: i + 1]) or ()) for i in range(len(draft))
        )

    def reach(self, num_silent: int) -> int:
        """How many turns may go ahead where the last `num_silent` were silent."""
        return min(self.most, num_silent)

    def after(
        self,
        prompt: Prompt,
        num_context: int,
        coming: Iterable[UpcomingTurn],
        window: Window | None,
    ) -> list[SpeculatedTurn]:
        """Those of `coming` that can follow `prompt`, with which the prefix holds `num_context`
        tokens."""
        turns: list[SpeculatedTurn] = []
        num_new = 0
        for turn in coming:
            if turn.frames is None or not (self._patient or turn.frames.done()):
                break
            if turn.frames.exception() is not None:  # raised when the turn is shown
                break
            frames = turn.frames.result()
            grids = [frame.grid for frame in frames]
            ids = self._renderer.user_turn_ids(shape_of(turn.observed), grids, self._lead).tolist()
            num_context += len(self._kept)
            start = prompt.answer_position + self._num_fed
            prompt = Prompt.of(self._renderer, [*self._kept[self._num_fed :], *ids], frames, start)
            if prompt.answer_position > self._last_answer_position:
                break
            if window is not None and (
                window.last_turns is not None or window.is_exceeded_by(num_context + len(ids))
            ):
                break
            num_new += len(prompt.ids)
            if num_new > _MOST_NEW_TOKENS:
                break
            turns.append(SpeculatedTurn(turn.observed, frames, ids, prompt, num_context))
            num_context += len(ids)
        return turns


def text_positions(first: int, num_tokens: int) -> np.ndarray:
    """(3, num_tokens) M-RoPE positions of text from `first` on."""
    return np.broadcast_to(np.arange(first, first + num_tokens), (3, num_tokens))
