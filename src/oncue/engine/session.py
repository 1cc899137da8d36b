"""One dialogue of a local model: what it has seen and said, in tokens, and the KV cache of that.

The prefix only grows (a `Window` cuts it now and then). A turn is rendered once; sampled ids are kept as they were
sampled, never decoded and encoded again. The newest ids (the closing token of the last turn, or history that was
replayed) wait in `pending` and enter the cache in the same forward as the next turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from oncue.engine.encoder_cache import ShownFrame
from oncue.engine.kv_cache import KVSlot
from oncue.engine.lookahead import AheadTurn, Coming
from oncue.engine.window import PastTurn, Window
from oncue.render.decision import Lead
from oncue.types import Action, EnvTurn, PolicyTurn, Reply, Silence

if TYPE_CHECKING:
    from oncue.engine.engine import Engine


@dataclass(slots=True, eq=False)
class SessionState:
    """What the engine needs to go on with a session. Only the engine, and `replay`, change it.

    `context_ids` is the whole prefix; its last `len(pending_ids)` tokens are not in the cache yet, and
    `pending_frames` are the frames among them. `next_position` is the M-RoPE position of the first token that is not
    in the cache. `turns` holds what a `window` needs to cut the prefix, and is empty without one. `coming` are turns
    foreseen, `ahead` the first of them that went through the model already: beyond `slot.length` lie their keys.
    """

    number: int
    slot: KVSlot
    generator: torch.Generator
    window: Window | None
    system_ids: tuple[int, ...]
    context_ids: list[int] = field(default_factory=list)
    pending_ids: list[int] = field(default_factory=list)
    pending_frames: list[ShownFrame] = field(default_factory=list)
    turns: list[PastTurn] = field(default_factory=list)
    next_position: int = 0
    lead: Lead = Lead.START
    coming: deque[Coming] = field(default_factory=deque)
    ahead: list[AheadTurn] = field(default_factory=list)
    num_silent: int = 0  # turns since the last one that was not
    busy: bool = False  # a turn is waiting or being answered: the engine has the state
    closed: bool = False

    def __post_init__(self) -> None:
        if not self.context_ids:
            self.context_ids, self.pending_ids = list(self.system_ids), list(self.system_ids)

    @property
    def num_cached(self) -> int:
        """How many tokens of the prefix are in the cache."""
        return self.slot.length

    def forget(self, num_tokens: int) -> None:
        """Forget what the cache holds beyond its first `num_tokens` tokens."""
        self.slot.length = min(self.slot.length, num_tokens)

    def keep(self, num_tokens: int) -> None:
        """Let the cache hold the first `num_tokens` tokens, all of which have been through the model: what was drafted
        beyond them is forgotten, what went ahead of its turn counts from now on."""
        self.slot.length = num_tokens

    def end_turn(self, turn: PastTurn, lead: Lead) -> None:
        """A turn was answered and its tokens are in the prefix, which now ends with `lead`."""
        self.lead = lead
        if self.window is not None:
            self.turns.append(turn)


class EngineSession:
    """A `PolicySession` on an `Engine`. Get one from `Engine.open`; close it, or use it in a `with` statement."""

    def __init__(self, engine: Engine, state: SessionState) -> None:
        self._engine = engine
        self._state: SessionState | None = state

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        """Show a turn and get the policy's answer. Turns of one session go one after the other.

        Raises ContextFullError when the model, or the session's window, has no room for the turn; the session is then
        as it was before. After any other error it is, too, apart from a cut of its prefix by the window.
        Cancelling it closes the session: the engine may be writing an answer that nobody will see into its prefix.
        """
        answer = await self._submit(observed)
        assert answer is not None
        return answer

    def foresee(self, turns: Iterable[EnvTurn]) -> None:
        """Say which turns will be shown next, whatever is said; more may follow later.

        An engine with a `lookahead` then asks about several of them in one forward. The turns shown are to be these
        very objects; when another one is, all that was foreseen is forgotten.
        """
        if self._state is not None and self._engine.lookahead:
            self._state.coming += map(Coming, turns)

    async def fill(self) -> None:
        """Put everything that is pending (system message, replayed history) through the model, ahead of time."""
        if self._open_state().pending_ids:
            await self._submit(None)

    def fork(self, seed: int | None = None) -> EngineSession:
        """Another session with the same prefix, its cache copied and its frames shared; it goes its own way from here.

        `seed` as in `Engine.open`. `fill` first, so that a replayed prefix is computed once and not by every fork.
        """
        return self._engine.fork(self._open_state(), seed)

    def replay(self, observed: EnvTurn, action: Action) -> PolicyTurn:
        """Append a turn and a given answer as history. Nothing is computed before the next `respond`.

        Returns the history turn: not sampled, without log-probabilities, its ids those of the written action.
        """
        state, renderer = self._open_state(), self._engine.renderer
        chosen = renderer.policy_turn_ids(action)
        part = renderer.user_turn(observed, state.lead)
        frames = tuple(ShownFrame.of(frame) for frame in part.frames)
        ids = [*part.token_ids.tolist(), *renderer.decision.kept(chosen)]
        state.ahead = []
        state.context_ids += ids
        state.pending_ids += ids
        state.pending_frames += frames
        state.num_silent = state.num_silent + 1 if isinstance(action, Silence) else 0
        turn = PastTurn(observed.text, frames, chosen, isinstance(action, Reply))
        state.end_turn(turn, renderer.decision.lead_after(chosen))
        return PolicyTurn(action, token_ids=tuple(chosen), sampled=False)

    @property
    def num_context_tokens(self) -> int:
        """How many tokens the prefix holds, those included that wait for the next turn. 0 once closed."""
        return len(self._state.context_ids) if self._state else 0

    @property
    def num_context_bytes(self) -> int:
        """Memory held by the KV cache. 0 once closed."""
        return self._state.slot.states.nbytes if self._state else 0

    @property
    def context_ids(self) -> tuple[int, ...]:
        """The token ids of the whole prefix: system message, every turn shown, every turn answered."""
        return tuple(self._open_state().context_ids)

    def close(self) -> None:
        """Give the cache back. A closed session answers nothing; closing twice is fine."""
        if self._state is not None:
            state, self._state = self._state, None
            self._engine.release(state)

    def __enter__(self) -> EngineSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _submit(self, observed: EnvTurn | None) -> PolicyTurn | None:
        try:
            return await self._engine.submit(self._open_state(), observed)
        except asyncio.CancelledError:
            self.close()
            raise

    def _open_state(self) -> SessionState:
        if self._state is None:
            raise RuntimeError("this session is closed; open another one with Engine.open")
        if self._state.busy:
            raise RuntimeError("this session is answering a turn; await it before the next call")
        return self._state
