"""One dialogue of a local model, for its caller. Sampled ids stay as they were, never decoded and
encoded again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from oncue.engine.core import EngineCore
from oncue.engine.session_state import SessionState
from oncue.render.trace import TokenTrace
from oncue.types import Action, EnvTurn, PolicyTurn


class EngineSession:
    """A `PolicySession` on an `Engine`. Get one from `Engine.open`; close it, or use it in a `with`
    statement."""

    def __init__(self, engine: EngineCore, state: SessionState) -> None:
        self._engine = engine
        self._state: SessionState | None = state

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        """Show a turn and get the policy's answer. Turns of one session go one after the other.

        Raises ContextFullError when the model, or the session's window, has no room for the turn;
        the session is then as it was before. After any other error it is, too, apart from a cut of
        its prefix by the window. Cancelling it closes the session: the engine may be writing an
        answer that nobody will see into its prefix.
        """
        answer = await self._submit(observed)
        assert answer is not None
        return answer

    def foresee(self, turns: Iterable[EnvTurn]) -> None:
        """Say which turns will be shown next, whatever is said; more may follow later.

        An engine with a `lookahead` then asks about several of them in one forward. The turns shown
        are to be these very objects; when another one is, all that was foreseen is forgotten.
        """
        if self._state is not None and self._engine.lookahead:
            self._state.foresee(turns)

    async def fill(self) -> None:
        """Put everything that is pending (system message, replayed history) through the model,
        ahead of time."""
        if self._open_state().pending_ids:
            await self._submit(None)

    def fork(self, seed: int | None = None) -> EngineSession:
        """Another session with the same prefix, its cache copied and its frames shared; it goes its
        own way from here.

        `seed` as in `Engine.open`. `fill` first, so that a replayed prefix is computed once and not
        by every fork.
        """
        return EngineSession(self._engine, self._engine.twin_of(self._open_state(), seed))

    def replay(self, observed: EnvTurn, action: Action) -> PolicyTurn:
        """Append a turn and a given answer as history. Nothing is computed before the next
        `respond`.

        Returns the history turn: not sampled, without log-probabilities, its ids those of the
        written action.
        """
        return self._open_state().replay(observed, action, self._engine.renderer)

    def trace(self) -> TokenTrace:
        """All that was shown and answered so far, as tokens. Raises RuntimeError where the engine
        does not record."""
        return self._open_state().trace(self._engine.renderer)

    @property
    def num_context_tokens(self) -> int:
        """How many tokens the prefix holds, those included that wait for the next turn. 0 once
        closed."""
        return len(self._state.context_ids) if self._state else 0

    @property
    def num_context_bytes(self) -> int:
        """Memory held by the KV cache. 0 once closed."""
        return self._state.slot.states.nbytes if self._state else 0

    @property
    def context_ids(self) -> tuple[int, ...]:
        """The token ids of the whole prefix: system message, every turn shown, every turn
        answered."""
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
