"""The one inference engine: sessions submit turns, it answers those that wait.

Turns of one model are answered in a worker thread of its own, so the event loop stays free. `Engine._step` takes all
that wait and is the only place that decides how they share the hardware; today it answers them one after the other.

Positions are ours (M-RoPE, `render.positions`), and the decoder is called directly, so neither `model.rope_deltas` nor
a padding mask exists. One row at a time.

Axis letters: B rows (1), L new tokens, K tokens in the cache after this forward, V vocabulary, P patches, C values of a
patch, N frames, E hidden width.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from oncue.errors import ContextFullError
from oncue.policy.cache import SessionCache
from oncue.policy.model import LoadedModel
from oncue.policy.sampling import Sampling, choose_token, token_logprobs
from oncue.policy.session import EngineSession, SessionState
from oncue.render.base import PatchedFrame
from oncue.render.decision import Lead
from oncue.render.positions import mrope_positions
from oncue.render.qwen_vl import DEFAULT_SYSTEM, PROACTIVE_SYSTEM, QwenVLRenderer
from oncue.types import EnvTurn, PolicyTurn

__all__ = ["Engine", "Sampling", "banned_tokens"]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A turn that a session has submitted, and where its answer goes. `submitted_s` is a `perf_counter` reading."""

    state: SessionState
    observed: EnvTurn
    answered: asyncio.Future[PolicyTurn]
    submitted_s: float


class Engine:
    """Answers the turns of any number of sessions with one model. Use it from one event loop at a time."""

    def __init__(self, loaded: LoadedModel, sampling: Sampling | None = None) -> None:
        self.loaded = loaded
        self.sampling = sampling or Sampling()
        self._model = loaded.model
        self._decoder = loaded.model.model.language_model
        self._embed = loaded.model.get_input_embeddings()
        self._banned_V = banned_tokens(loaded).to(loaded.device)
        self._queue: list[_Waiting] = []
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="oncue-engine")
        self._num_opened = 0
        self._closed = False

    @property
    def renderer(self) -> QwenVLRenderer:
        return self.loaded.renderer

    def open(self, system: str | None = PROACTIVE_SYSTEM, seed: int | None = None) -> EngineSession:
        """A new session. `system` None takes the model's default message, which marks an offline dialogue.

        `seed` starts the session's random numbers; by default they follow from the engine's seed and from how many
        sessions it has opened before, so that sessions differ and a repeated run does not.
        """
        entropy = [self.sampling.seed, self._num_opened] if seed is None else [seed]
        self._num_opened += 1
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))
        state = SessionState(SessionCache(len(self._decoder.layers)), generator)
        part = self.renderer.system_block(DEFAULT_SYSTEM if system is None else system)
        state.append(part.token_ids.tolist())
        return EngineSession(self, state)

    def close(self) -> None:
        """Stop the worker thread once it is idle. Sessions keep their memory until they are closed."""
        self._closed = True
        self._thread.shutdown(wait=True)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def submit(self, state: SessionState, observed: EnvTurn) -> PolicyTurn:
        """Queue a turn and wait for its answer. A cancelled turn that has not been started is dropped."""
        if self._closed:
            raise RuntimeError("this engine is closed; build another one")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(state, observed, loop.create_future(), time.perf_counter())
        self._queue.append(waiting)
        if self._worker is None or self._worker.done() or self._worker.get_loop() is not loop:
            self._queue = [w for w in self._queue if w.answered.get_loop() is loop]  # an earlier loop may have died
            self._worker = loop.create_task(self._serve())
        return await waiting.answered

    async def _serve(self) -> None:
        """Answer what waits until nothing does. Turns submitted in the meantime make up the next step."""
        loop = asyncio.get_running_loop()
        while self._queue:
            taken = [w for w in self._queue if not w.answered.cancelled()]
            self._queue.clear()
            outcomes: Sequence[PolicyTurn | Exception]
            try:
                outcomes = await loop.run_in_executor(self._thread, self._step, taken)
            except RuntimeError as error:  # the engine was closed in the meantime
                outcomes = [error] * len(taken)
            for waiting, outcome in zip(taken, outcomes, strict=True):
                if waiting.answered.cancelled():
                    continue
                if isinstance(outcome, PolicyTurn):
                    waiting.answered.set_result(outcome)
                else:
                    waiting.answered.set_exception(outcome)

    def _step(self, taken: Sequence[_Waiting]) -> list[PolicyTurn | Exception]:
        """The answer to each turn taken, or the error that stopped it; one turn's error is no other's."""
        outcomes: list[PolicyTurn | Exception] = []
        for waiting in taken:
            try:
                outcomes.append(self._answer(waiting))
            except Exception as error:  # carried to the caller of `respond`
                outcomes.append(error)
        return outcomes

    @torch.inference_mode()
    def _answer(self, waiting: _Waiting) -> PolicyTurn:
        """One turn: a forward over what is new, then token by token. On an error the session is as it was before."""
        state = waiting.state
        part = self.renderer.user_turn(waiting.observed, Lead.CLOSED if state.num_turns else Lead.START)
        ids = np.concatenate([np.array(state.pending_ids, np.int64), part.token_ids])
        frames = [*state.pending_frames, *part.frames]
        grids = [frame.grid for frame in frames]
        positions, position = mrope_positions(
            ids, grids, self.renderer.image_pad_id, self.renderer.merge_size, state.next_position
        )
        max_new_tokens = self._room(position, waiting)
        num_cached, random_state = state.cache.num_tokens, state.generator.get_state()
        try:
            logits_V = self._forward(ids, positions, state.cache, frames)
            token_ids, logprobs, forced = self._decode(logits_V, state, position, max_new_tokens)
        except BaseException:
            state.cache.truncate(num_cached)
            state.generator.set_state(random_state)
            raise
        state.context_ids += [*part.token_ids.tolist(), *token_ids]
        num_answer_cached = state.cache.num_tokens - num_cached - len(ids)
        state.pending_ids, state.pending_frames = token_ids[num_answer_cached:], []
        state.next_position = position + num_answer_cached
        state.num_turns += 1
        action = self.renderer.read_action(token_ids, truncated=forced)
        latency_ms = (time.perf_counter() - waiting.submitted_s) * 1000
        return PolicyTurn(action, tuple(token_ids), tuple(logprobs), latency_ms=latency_ms, forced_close=forced)

    def _room(self, position: int, waiting: _Waiting) -> int:
        """How many tokens may be chosen when the answer starts at `position`: a closing token must still fit."""
        room = self.loaded.max_positions - position - 1
        if room < 1:
            raise ContextFullError(
                f"the dialogue is too long for {self.loaded.name}: with the turn at {waiting.observed.clock_s:g} s it "
                f"needs {position + 2} positions, and the model has {self.loaded.max_positions}; "
                "show fewer frames, smaller frames, or a shorter video"
            )
        return min(self.sampling.max_new_tokens, room)

    def _decode(
        self, logits_V: torch.Tensor, state: SessionState, position: int, max_new_tokens: int
    ) -> tuple[list[int], list[float], bool]:
        """The ids of the answer with their log-probabilities, and whether the closing token had to be appended.

        What needs no forward now stays out of the cache and enters with the next turn: the closing token, and before
        it the last token of an answer that was cut.
        """
        token_ids: list[int] = []
        logprobs: list[float] = []
        while True:
            logprobs_V = token_logprobs(logits_V, self.sampling, self._banned_V)
            token_ids.append(choose_token(logprobs_V, self.sampling, state.generator))
            logprobs.append(float(logprobs_V[token_ids[-1]]))
            if token_ids[-1] == self.renderer.im_end_id:
                return token_ids, logprobs, False
            if len(token_ids) == max_new_tokens:
                return [*token_ids, self.renderer.im_end_id], [*logprobs, 0.0], True
            positions_3L = np.full((3, 1), position + len(token_ids) - 1, np.int64)
            logits_V = self._forward(np.array(token_ids[-1:], np.int64), positions_3L, state.cache)

    def _forward(
        self,
        ids_L: np.ndarray,
        positions_3L: np.ndarray,
        cache: SessionCache,
        frames: Sequence[PatchedFrame] = (),
    ) -> torch.Tensor:
        """Append tokens to the cache. Returns the logits (V,) float32 after the last of them."""
        device = self.loaded.device
        ids_BL = torch.from_numpy(ids_L).to(device)[None]
        embedded_BLE = self._embed(ids_BL)
        if frames:
            embedded_BLE[ids_BL == self.renderer.image_pad_id] = self._encode(frames).to(embedded_BLE.dtype)
        hidden_BLE = self._decoder(
            inputs_embeds=embedded_BLE,
            position_ids=torch.from_numpy(positions_3L).to(device)[:, None],
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return self._model.lm_head(hidden_BLE[0, -1]).float()

    def _encode(self, frames: Sequence[PatchedFrame]) -> torch.Tensor:
        """The vision tokens of the frames, in order (their number, E)."""
        patches_PC = torch.from_numpy(np.concatenate([frame.patches for frame in frames])).to(self.loaded.device)
        grids_N3 = torch.tensor([frame.grid for frame in frames], device=self.loaded.device)
        return torch.cat(self._model.model.get_image_features(patches_PC, grids_N3).pooler_output)


def banned_tokens(loaded: LoadedModel) -> torch.Tensor:
    """Which ids (V,) bool a policy may never choose: special tokens but the closing one, and ids without a text."""
    renderer = loaded.renderer
    num_ids = renderer.tokenizer.get_vocab_size(with_added_tokens=True)
    banned_V = torch.arange(loaded.model.lm_head.out_features) >= num_ids
    special = {i for i, token in renderer.tokenizer.get_added_tokens_decoder().items() if token.special}
    banned_V[sorted(special | renderer.structural_ids)] = True
    banned_V[renderer.im_end_id] = False
    return banned_V
