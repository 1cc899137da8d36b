"""One turn being answered: what it puts into the next forward, and what the logits that come back
decide.

The first forward of a turn holds the turn and, as a draft, the choices of a silent answer. Each
choice is made as if there were no draft, with the same random number; while it equals the drafted
one, the logits for the next are already there. So a silent turn costs one forward, and the answer
is the one plain decoding gives. Turns that are known to come next may follow in the same forward
(`engine.lookahead`).

Axis letters: L tokens, R logits read, V vocabulary.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import torch

from oncue.engine.encoder_cache import CachedFrame
from oncue.engine.lookahead import Prompt, SpeculatedTurn, UpcomingTurn, text_positions
from oncue.engine.model_runner import RowInput
from oncue.engine.session_state import SessionState
from oncue.engine.window import PastTurn
from oncue.errors import ModelError
from oncue.render.decision import DecisionFormat
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.thoughts import thought_in
from oncue.types import EnvTurn, PolicyTurn

_NOT_A_NUMBER = (
    "the model's output is not a number (NaN); load it in another number format, such as --dtype "
    "float32, and look "
    "whether its weights are whole"
)


@dataclass(frozen=True, slots=True, eq=False)
class PendingRequest:
    """A turn that a session has submitted, and where its answer goes. `submitted_s` is a
    `perf_counter` reading.

    `observed` None: nothing is asked; what is pending enters the cache. `frames` are being prepared
    by another thread. `coming`: what will be shown next, as far as the engine looks ahead.
    """

    state: SessionState
    observed: EnvTurn | None
    frames: Future[tuple[CachedFrame, ...]]
    answered: asyncio.Future[PolicyTurn | None]
    submitted_s: float
    coming: Sequence[UpcomingTurn] = ()

    @property
    def abandoned(self) -> bool:
        """Nobody waits for the answer any more."""
        return self.state.closed or self.answered.cancelled()


@dataclass(slots=True, eq=False)
class Request:
    """The state of one turn between forwards. `turn_ids` are its tokens; those pending from before
    come first.

    `ahead`: this turn as it went into an earlier forward. `following` are the turns that went, or
    go, ahead with it; `logits_RV` what was read for this one, until it is chosen from.
    `elsewhere_s` is to be added to the time since the turn was submitted, so that a forward counts
    in equal parts for all turns that were in it.
    """

    pending: PendingRequest
    renderer: QwenVLRenderer
    turn_ids: list[int]
    frames: tuple[CachedFrame, ...]
    draft: tuple[int, ...] = ()
    max_new_tokens: int = 1
    ahead: SpeculatedTurn | None = None
    following: list[SpeculatedTurn] = field(default_factory=list)
    logits_RV: torch.Tensor | None = None
    elsewhere_s: float = 0.0
    chosen: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    num_fed: int = 0  # tokens of the answer in the cache
    forced: bool = False
    error: Exception | None = None  # what makes the turn fail
    done: bool = False
    prompt: Prompt = field(init=False)
    _base_length: int = field(init=False)
    _random_state: torch.Tensor = field(init=False)
    _num_drawn: int = 0  # random numbers spent since

    def __post_init__(self) -> None:
        state = self.state
        self._base_length = state.num_cached
        self._random_state = state.generator.get_state()
        if self.ahead is not None:
            self.prompt, self.logits_RV = self.ahead.prompt, self.ahead.logits_RV
            self.elsewhere_s = self.ahead.share_s
            return
        ids = [*state.pending_ids, *self.turn_ids]
        self.prompt = Prompt.of(
            self.renderer, ids, (*state.pending_frames, *self.frames), state.next_position
        )

    @property
    def state(self) -> SessionState:
        return self.pending.state

    @property
    def decision(self) -> DecisionFormat:
        return self.renderer.decision

    @property
    def num_asked(self) -> int:
        """How many logits the next forward reads for this answer."""
        if self.pending.observed is None:
            return 0
        return 1 if self.chosen else 1 + len(self.draft)

    def limit(self, max_new_tokens: int) -> None:
        """Allow at most that many choices (at least 1); a draft that reaches beyond is cut."""
        self.max_new_tokens = max_new_tokens
        self.draft = self.draft[: max_new_tokens - 1]

    def row(self) -> RowInput:
        """What goes into the next forward."""
        state = self.state
        if self.chosen:
            ids = self.decision.next_input(self.chosen)
            assert ids is not None
            return RowInput(
                state.slot,
                np.array(ids, np.int64),
                self._text_positions(len(ids)),
                (),
                (len(ids) - 1,),
            )
        if not self.num_asked:
            return RowInput(
                state.slot,
                np.array(self.prompt.ids, np.int64),
                self.prompt.positions_3L,
                self.prompt.frames,
            )
        prompts = [self.prompt, *(turn.prompt for turn in self.following)]
        fed: list[int] = []
        read: list[int] = []
        positions: list[np.ndarray] = []
        for prompt in prompts:
            new_ids, positions_3L, new_read = prompt.drafted(self.decision, self.draft)
            read += [len(fed) + i for i in new_read]
            fed += new_ids
            positions.append(positions_3L)
        frames = [frame for prompt in prompts for frame in prompt.frames]
        return RowInput(
            state.slot, np.array(fed, np.int64), np.concatenate(positions, axis=1), frames, read
        )

    def take(self, logits_RV: torch.Tensor, forward_s: float) -> None:
        """Keep what the forward of `row` read, for this turn and for those that went ahead with
        it."""
        asked = self.num_asked
        self.logits_RV = logits_RV[:asked]
        if self.chosen or not self.following:
            return
        share_s = forward_s / (1 + len(self.following))
        self.elsewhere_s = share_s - forward_s
        for i, turn in enumerate(self.following, 1):
            turn.logits_RV, turn.share_s = logits_RV[i * asked : (i + 1) * asked].clone(), share_s

    def give(self) -> torch.Tensor:
        """The logits (R, V) for the next choices of this turn, which are then made once."""
        assert self.logits_RV is not None
        logits_RV, self.logits_RV = self.logits_RV, None
        return logits_RV

    def uniforms(self, num: int) -> list[float]:
        """The session's random numbers in [0, 1) for the next `num` choices. Those of choices that
        are not made after all go back: one is spent per token chosen, drafted or not."""
        drawn: list[float] = torch.rand(
            num, dtype=torch.float64, generator=self.state.generator
        ).tolist()
        self._num_drawn += num
        return drawn

    def advance(self, tokens: Sequence[int], logprobs: Sequence[float]) -> None:
        """Take over what was chosen after each of the logits read, as far as it follows from what
        was drafted."""
        if self.pending.observed is None:
            self.done = True
            return
        draft = () if self.chosen else self.draft
        if self.chosen:
            self.num_fed += len(self.decision.next_input(self.chosen) or ())
        for i, (token, logprob) in enumerate(zip(tokens, logprobs, strict=True)):
            if math.isnan(logprob):
                self.error, self.done = ModelError(_NOT_A_NUMBER), True
                break
            self.chosen.append(token)
            self.logprobs.append(logprob)
            following = self.decision.next_input(self.chosen)
            if following is None or len(self.chosen) == self.max_new_tokens:
                self._finish(following is not None)
                break
            if i == len(draft) or token != draft[i]:
                break
            self.num_fed += len(following)
        self._give_back_numbers(len(tokens) - 1 - i)
        # No more than what was said
        self.state.keep(self._base_length + len(self.prompt.ids) + self.num_fed)

    def settle(self) -> PolicyTurn | None:
        """Write the finished answer into the session's prefix; on an error nothing is written."""
        state, observed, prompt = self.state, self.pending.observed, self.prompt
        kept = self.decision.kept(self.chosen) if observed else ()
        action = (
            self.renderer.read_action(self.chosen, self.forced, state.format) if observed else None
        )
        fed_3L = text_positions(prompt.answer_position, self.num_fed)
        num_pending = len(kept) - self.num_fed
        state.append(
            [*self.turn_ids, *kept],
            num_pending,
            (prompt.positions_3L, fed_3L),
            prompt.answer_position + self.num_fed,
        )
        if observed is None or action is None:
            return None
        silent = tuple(self.chosen) == self.renderer.silence_ids and not self.forced
        turn = PastTurn.of(observed, self.frames, self.chosen, action)
        drawn = self.logprobs[: len(self.logprobs) - self.forced]
        state.end_turn(turn, self.renderer, silent=silent, logprobs=drawn, ahead=self.following)
        latency_ms = (time.perf_counter() - self.pending.submitted_s + self.elsewhere_s) * 1000
        return PolicyTurn(
            action,
            tuple(self.chosen),
            tuple(self.logprobs),
            latency_ms=latency_ms,
            forced_close=self.forced,
            thought="" if silent else thought_in(self.renderer.text_of(self.chosen)),
        )

    def undo(self) -> None:
        """Put the session back to where it was before this turn; a cut of its prefix (`Window`)
        stays."""
        self.state.forget(self._base_length)
        self.state.generator.set_state(self._random_state)

    def _give_back_numbers(self, num: int) -> None:
        if num and self._num_drawn:
            self._num_drawn -= num
            self.state.generator.set_state(self._random_state)
            torch.rand(self._num_drawn, dtype=torch.float64, generator=self.state.generator)

    def _finish(self, forced: bool) -> None:
        self.done, self.forced = True, forced
        if forced:
            self.chosen.append(self.renderer.im_end_id)
            self.logprobs.append(0.0)

    def _text_positions(self, num_tokens: int) -> np.ndarray:
        return text_positions(self.prompt.answer_position + self.num_fed, num_tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of a turn: its answer, or the error that stopped it."""

    pending: PendingRequest
    result: PolicyTurn | Exception | None


def settled(answer: Request) -> Outcome:
    """The finished answer, written into its session's prefix."""
    if answer.error is not None:
        return failed(answer, answer.error)
    try:
        return Outcome(answer.pending, answer.settle())
    except Exception as error:  # carried to the caller of `respond`
        return failed(answer, error)


def failed(answer: Request, error: Exception) -> Outcome:
    """The error; the session is put back, see `Request.undo`."""
    answer.undo()
    answer.done = True
    return Outcome(answer.pending, error)
