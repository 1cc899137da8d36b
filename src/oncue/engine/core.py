"""The core of the engine: sessions submit turns, it answers those that wait, together.

Each step is one forward for everybody (`engine.step_runner`): turns that wait are shown, with a
draft of the silent answer (`engine.request`), and whoever is speaking gets the next token. Turns
join and leave between steps. Steps run in a worker thread of the engine's own, so the event loop
stays free; frames are prepared in further threads from the moment a turn is submitted
(`engine.frame_preparer`), beside the step that is running.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np
import torch

from oncue.engine.frame_preparer import FramePreparer
from oncue.engine.lookahead import Lookahead
from oncue.engine.model_runner import ModelRunner
from oncue.engine.request import Outcome, PendingRequest, failed
from oncue.engine.sampling import SamplingParams
from oncue.engine.session_state import SessionState
from oncue.engine.static_shapes import StaticShapes
from oncue.engine.step_runner import CLOSED, StepRunner
from oncue.engine.trace_recorder import TraceRecorder
from oncue.engine.window import Window
from oncue.errors import ConfigError
from oncue.model.loading import LoadedModel
from oncue.render.base import ActionFormat
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.types import EnvTurn, PolicyTurn


class EngineCore:
    """Answers the turns of any number of sessions with one model. Use it from one event loop at a
    time.

    It knows sessions by their state; `Engine` hands them out.

    `draft=False` decodes a silent answer token by token like any other: the same answers, for
    comparison. `window` bounds the prefix of every session that is not opened with another one.
    Raises ConfigError where it allows more tokens than the model has positions for, and for a
    `lookahead` below 0. `lockstep` makes a step wait until every open session has a turn pending or
    being answered, so that who shares a forward, and with it the last bits of every result, follows
    from the sessions alone; for reproducible rollouts. An open session that is shown nothing then
    stops all others: close it. `lookahead`: how many of the turns that a session foresees may share
    the forward of the one before them (`engine.lookahead`); the answers are the same. `shapes` runs
    forwards of few rows at fixed shapes, on a GPU as CUDA graphs. `autocast_dtype`: the type
    products are computed in, by default that of the weights. `record`: sessions keep a trace
    (`EngineSession.trace`), which grows with the dialogue; for training.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        sampling: SamplingParams | None = None,
        *,
        draft: bool = True,
        window: Window | None = None,
        lockstep: bool = False,
        lookahead: int = 0,
        shapes: StaticShapes | None = None,
        autocast_dtype: torch.dtype | None = None,
        record: bool = False,
    ) -> None:
        self.loaded, self.record = loaded, record
        self.sampling = sampling or SamplingParams()
        self.lockstep = lockstep
        self._max_prefix_tokens = loaded.max_prefix_tokens
        self._window = self._checked(window)
        if lookahead < 0:
            raise ConfigError(f"lookahead must be at least 0, got {lookahead}")
        self._lookahead = Lookahead(
            self.renderer,
            lookahead if draft else 0,
            self._max_prefix_tokens,
            self.sampling.max_new_tokens,
            patient=lockstep,
        )
        self._model = ModelRunner(loaded, shapes, autocast_dtype)
        self._pool = self._model.pool
        silence = self.renderer.decision.silence_draft if draft else ()
        self._steps = StepRunner(loaded, self._model, self.sampling, self._lookahead, silence)
        self._frames = FramePreparer(self.renderer, self._lookahead, keeps_patches=record)
        self._queue: list[PendingRequest] = []
        self._worker: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="oncue-engine")
        self._num_opened = 0
        self._num_open = 0
        self._closed = False

    @property
    def renderer(self) -> QwenVLRenderer:
        return self.loaded.renderer

    @property
    def lookahead(self) -> int:
        """How many foreseen turns may share a forward with the one before them."""
        return self._lookahead.most

    @property
    def num_open(self) -> int:
        """How many sessions are open."""
        return self._num_open

    @property
    def num_slots_taken(self) -> int:
        """How many sessions hold a place in the cache: those open, and for a moment those just
        cancelled."""
        return self._pool.num_taken

    def new_state(
        self,
        system: str | None,
        seed: int | None,
        window: Window | None,
        action_format: ActionFormat | None,
    ) -> SessionState:
        """The state of a new session, see `Engine.open`."""
        bounds, grammar = self._checked(window) or self._window, self._spoken(action_format)
        part = self.renderer.system_block(
            self.renderer.proactive_system if system is None else system
        )
        number, generator = self._admit(seed)
        system_ids = tuple(part.token_ids.tolist())
        recorder = TraceRecorder() if self.record else None
        return SessionState(
            number, self._pool.take(), generator, bounds, system_ids, grammar, recorder
        )

    def twin_of(self, state: SessionState, seed: int | None) -> SessionState:
        """The state of a new session with the prefix of `state`, see `EngineSession.fork`."""
        number, generator = self._admit(seed)
        return state.twin(number, self._pool.copy(state.slot), generator)

    def forget(self) -> None:
        """Drop the vision tokens of frames shown before, and give back the memory that closed
        sessions have left for the next ones. Call it before every change of the model's weights,
        which needs the memory.

        Sessions that are still open hold keys of the old weights: close them first.
        """
        self._frames.forget()
        self._pool.forget()

    def release(self, state: SessionState) -> None:
        """Take back what a session holds: at once, or after the step that is using it."""
        if state.closed:
            return
        state.close()
        self._num_open -= 1
        self._changed.set()
        if not state.busy:
            self._pool.give_back(state.slot)

    def close(self) -> None:
        """Stop the worker thread once it is idle. Sessions keep their memory until they are
        closed."""
        self._closed = True
        self._thread.shutdown(wait=True)
        self._frames.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def submit(self, state: SessionState, observed: EnvTurn | None) -> PolicyTurn | None:
        """Queue a turn and wait for its answer (None: nothing asked, see `PendingRequest`)."""
        if self._closed:
            raise RuntimeError("this engine is closed; build another one")
        loop = asyncio.get_running_loop()
        shared = self._num_open > 1
        frames = self._frames.of_turn(observed, state, shared=shared)
        coming = self._frames.coming(observed, state, shared=shared)
        pending = PendingRequest(
            state, observed, frames, loop.create_future(), time.perf_counter(), coming
        )
        state.hand_over()
        self._queue.append(pending)
        self._changed.set()
        if self._worker is None or self._worker.done() or self._worker.get_loop() is not loop:
            self._changed = asyncio.Event()
            self._worker = loop.create_task(self._serve())
        return await pending.answered

    async def _serve(self) -> None:
        """Step until nobody waits and nobody speaks."""
        try:
            while self._queue or self._steps.requests:
                await self._others_arrive()
                taken, self._queue = self._queue, []
                await self._stepped(taken, asyncio.get_running_loop())
        except asyncio.CancelledError:  # the event loop ends, and with it everybody who waits
            left, self._queue = self._queue, []
            self._give_up(left, RuntimeError(CLOSED))
            raise

    async def _stepped(
        self, taken: Sequence[PendingRequest], loop: asyncio.AbstractEventLoop
    ) -> None:
        """One step in the worker thread, and its outcomes delivered, though the event loop may be
        ending."""
        loop_ends: asyncio.CancelledError | None = None
        try:
            step = self._thread.submit(self._steps.run, taken, loop)
            try:
                await asyncio.shield(asyncio.wrap_future(step))
            except asyncio.CancelledError as ends:
                loop_ends = ends
            outcomes = step.result()  # a step is not stopped half-way
        except Exception as error:
            # Closed in the meantime, or a defect of ours: nobody may wait for ever
            self._give_up(taken, error)
            return
        for outcome in outcomes:
            self._deliver(outcome)
        if loop_ends is not None:
            raise loop_ends

    def _give_up(self, taken: Sequence[PendingRequest], error: Exception) -> None:
        """Tell `taken`, and whoever is being answered, of `error`, each once."""
        answers, self._steps.requests = self._steps.requests, []
        begun = {id(answer.pending) for answer in answers}
        for outcome in [failed(answer, error) for answer in answers]:
            self._deliver(outcome)
        for pending in taken:
            if id(pending) not in begun:
                self._deliver(Outcome(pending, error))

    def _deliver(self, outcome: Outcome) -> None:
        """Hand a turn's outcome to whoever waits; its session may be used, or let go, from here
        on."""
        state, answered = outcome.pending.state, outcome.pending.answered
        state.hand_back()
        if state.closed:
            self._pool.give_back(state.slot)
        if answered.done() or answered.get_loop().is_closed():
            return
        if isinstance(outcome.result, Exception):
            answered.set_exception(outcome.result)
        else:
            answered.set_result(outcome.result)

    async def _others_arrive(self) -> None:
        """Let the sessions that were just answered submit their next turn, so that they share the
        next forward."""
        while self.lockstep and len(self._queue) + len(self._steps.requests) < self._num_open:
            self._changed.clear()
            await self._changed.wait()
        num_seen = -1
        while len(self._queue) != num_seen:
            num_seen = len(self._queue)
            await asyncio.sleep(0)

    def _checked(self, window: Window | None) -> Window | None:
        """`window`, if the model can be shown as much as it allows."""
        if window is not None and window.max_tokens > self._max_prefix_tokens:
            raise ConfigError(
                f"a context of {window.max_tokens} tokens is too long for {self.loaded.name}, "
                "which has "
                f"{self.loaded.max_positions} positions; allow at most {self._max_prefix_tokens} "
                "(--context-tokens, or "
                "max_tokens of a Window)"
            )
        return window

    def _spoken(self, action_format: ActionFormat | None) -> ActionFormat:
        """The grammar of a new session, if this model and these sampling settings can be used with
        it."""
        grammar, usual = action_format or self.renderer.format, self.renderer.format
        if grammar.silence_text is None and self.renderer.decision.allowed(0) is not None:
            raise ConfigError(
                f"{self.loaded.name} decides by a token whether it is silent, and {grammar} has no "
                "silence; use a "
                "model with the text format"
            )
        if grammar.silence_text != usual.silence_text and self.sampling.reply_bias:
            raise ConfigError(
                f"a reply bias weighs {usual.silence_text!r}, which is not the silence of "
                f"{grammar}; leave it at 0, "
                f"got {self.sampling.reply_bias:g}"
            )
        return grammar

    def _admit(self, seed: int | None) -> tuple[int, torch.Generator]:
        """The number of a new session, and its random numbers."""
        number = self._num_opened
        entropy = [self.sampling.seed, number] if seed is None else [seed]
        self._num_opened += 1
        self._num_open += 1
        state = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
        return number, torch.Generator().manual_seed(state)
