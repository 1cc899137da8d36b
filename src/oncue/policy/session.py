"""One dialogue of a local model: what it has seen and said, in tokens, and the KV cache of that.

The prefix only grows. A turn is rendered once; sampled ids are kept as they were sampled, never decoded and encoded
again. The newest ids (the closing token of the last turn, or history that was replayed) wait in `pending` and enter the
cache in the same forward as the next turn.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from oncue.policy.cache import SessionCache
from oncue.render.base import PatchedFrame
from oncue.render.decision import Lead
from oncue.types import Action, EnvTurn, PolicyTurn

if TYPE_CHECKING:
    from oncue.policy.engine import Engine


@dataclass(slots=True, eq=False)
class SessionState:
    """What the engine needs to go on with a session. Only the engine, and `replay`, change it.

    `context_ids` is the whole prefix; its last `len(pending_ids)` tokens are not in the cache yet, and
    `pending_frames` are the frames among them. `next_position` is the M-RoPE position of the first token that is not
    in the cache.
    """

    cache: SessionCache
    generator: torch.Generator
    context_ids: list[int] = field(default_factory=list)
    pending_ids: list[int] = field(default_factory=list)
    pending_frames: list[PatchedFrame] = field(default_factory=list)
    next_position: int = 0
    num_turns: int = 0

    def append(self, token_ids: list[int], frames: tuple[PatchedFrame, ...] = ()) -> None:
        """Grow the prefix by tokens that the model has not seen yet."""
        self.context_ids += token_ids
        self.pending_ids += token_ids
        self.pending_frames += frames


class EngineSession:
    """A `PolicySession` on an `Engine`. Get one from `Engine.open`; close it, or use it in a `with` statement."""

    def __init__(self, engine: Engine, state: SessionState) -> None:
        self._engine = engine
        self._state: SessionState | None = state
        self._busy = False

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        """Show a turn and get the policy's answer. Turns of one session go one after the other.

        Raises ContextFullError when the model has no positions left for the turn; the session is then as it was before.
        Cancelling it closes the session: the engine may be writing an answer that nobody will see into its prefix.
        """
        state = self._open_state()
        self._busy = True
        try:
            return await self._engine.submit(state, observed)
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._busy = False

    def replay(self, observed: EnvTurn, action: Action) -> PolicyTurn:
        """Append a turn and a given answer as history. Nothing is computed before the next `respond`.

        Returns the history turn: not sampled, without log-probabilities, its ids those of the written action.
        """
        state = self._open_state()
        renderer = self._engine.renderer
        answer_ids = renderer.policy_turn_ids(action)
        part = renderer.user_turn(observed, Lead.CLOSED if state.num_turns else Lead.START)
        state.append([*part.token_ids.tolist(), *answer_ids], part.frames)
        state.num_turns += 1
        return PolicyTurn(action, token_ids=tuple(answer_ids), sampled=False)

    @property
    def num_context_tokens(self) -> int:
        """How many tokens the prefix holds, those included that wait for the next turn. 0 once closed."""
        return len(self._state.context_ids) if self._state else 0

    @property
    def num_context_bytes(self) -> int:
        """Memory held by the KV cache. 0 once closed."""
        return self._state.cache.num_bytes if self._state else 0

    @property
    def context_ids(self) -> tuple[int, ...]:
        """The token ids of the whole prefix: system message, every turn shown, every turn answered."""
        return tuple(self._open_state().context_ids)

    def close(self) -> None:
        """Free the cache. A closed session answers nothing; closing twice is fine."""
        self._state = None

    def __enter__(self) -> EngineSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_state(self) -> SessionState:
        if self._state is None:
            raise RuntimeError("this session is closed; open another one with Engine.open")
        if self._busy:
            raise RuntimeError("this session is answering a turn; await it before the next call")
        return self._state
