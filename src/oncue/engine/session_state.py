"""What the engine knows of one dialogue, and the only code that writes it.

The prefix only grows (a `Window` cuts it now and then). The newest ids (the closing token of the
last turn, or history that was replayed) are pending: they enter the cache in the same forward as
the next turn.

Axis letters: L tokens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from oncue.engine.encoder_cache import CachedFrame
from oncue.engine.kv_cache import KVSlot
from oncue.engine.lookahead import SpeculatedTurn, UpcomingTurn
from oncue.engine.trace_recorder import TraceRecorder
from oncue.engine.window import PastTurn, Window, kept_turns
from oncue.errors import ContextFullError
from oncue.render.base import ActionFormat, Grid, shape_of
from oncue.render.decision import Lead
from oncue.render.positions import mrope_positions
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.render.trace import TokenTrace
from oncue.types import Action, EnvTurn, PolicyTurn


@dataclass(slots=True, eq=False)
class SessionState:
    """What the engine needs to go on with a session.

    `context_ids` is the whole prefix; its last `len(pending_ids)` tokens are not in the cache yet,
    and `pending_frames` are the frames among them. `next_position` is the M-RoPE position of the
    first token that is not in the cache. `turns` holds what a `window` needs to cut the prefix, and
    is empty without one. `coming` are turns foreseen, `ahead` the first of them that went through
    the model already: beyond `slot.length` lie their keys. `recorder` writes the trace, where one
    is wanted. `format`: the grammar of the answers.
    """

    number: int
    slot: KVSlot
    generator: torch.Generator
    window: Window | None
    system_ids: tuple[int, ...]
    format: ActionFormat
    recorder: TraceRecorder | None = None
    context_ids: list[int] = field(default_factory=list)
    pending_ids: list[int] = field(default_factory=list)
    pending_frames: list[CachedFrame] = field(default_factory=list)
    turns: list[PastTurn] = field(default_factory=list)
    next_position: int = 0
    lead: Lead = Lead.START
    coming: deque[UpcomingTurn] = field(default_factory=deque)
    ahead: list[SpeculatedTurn] = field(default_factory=list)
    num_silent: int = 0  # turns since the last one that was not answered as drafted
    busy: bool = False  # a turn is pending or being answered: the engine has the state
    closed: bool = False

    def __post_init__(self) -> None:
        if not self.context_ids:
            self.context_ids, self.pending_ids = list(self.system_ids), list(self.system_ids)

    @property
    def num_cached(self) -> int:
        """How many tokens of the prefix are in the cache."""
        return self.slot.length

    def twin(self, number: int, slot: KVSlot, generator: torch.Generator) -> SessionState:
        """A session with the same prefix, which goes its own way from here."""
        return replace(
            self,
            number=number,
            slot=slot,
            generator=generator,
            recorder=self.recorder.copy() if self.recorder else None,
            context_ids=list(self.context_ids),
            pending_ids=list(self.pending_ids),
            pending_frames=list(self.pending_frames),
            turns=list(self.turns),
            coming=deque(),
            ahead=[],
            busy=False,
            closed=False,
        )

    def bound_from_now_on(self) -> None:
        """The bounds of a window that waited for the model to be full hold from now on."""
        if self.window is not None:
            self.window = replace(self.window, when_full=False)

    def close(self) -> None:
        """Nobody shows this session anything any more."""
        self.closed = True

    def hand_over(self) -> None:
        """The engine has the state until `hand_back`."""
        self.busy = True

    def hand_back(self) -> None:
        """A turn is over, or nobody waits for it."""
        self.busy = False

    def foresee(self, turns: Iterable[EnvTurn]) -> None:
        """These turns come next, whatever is said."""
        self.coming += map(UpcomingTurn, turns)

    def take_foreseen(self, observed: EnvTurn | None) -> UpcomingTurn | None:
        """What was foreseen of the turn to show. If another one was foreseen, nothing is any
        more."""
        if observed is None or not self.coming:
            return None
        foreseen = self.coming.popleft()
        if foreseen.observed is observed:
            return foreseen
        self.coming.clear()
        return None

    def take_ahead(self) -> list[SpeculatedTurn]:
        """The turns that went ahead, which are forgotten."""
        ahead, self.ahead = self.ahead, []
        return ahead

    def forget(self, num_tokens: int) -> None:
        """Forget what the cache holds beyond its first `num_tokens` tokens."""
        self.slot.length = min(self.slot.length, num_tokens)

    def keep(self, num_tokens: int) -> None:
        """Let the cache hold the first `num_tokens` tokens, all of which have been through the
        model: what was drafted beyond them is forgotten, what went ahead of its turn counts from
        now on."""
        self.slot.length = num_tokens

    def append(
        self,
        ids: Sequence[int],
        num_pending: int,
        positions: Sequence[np.ndarray],
        next_position: int,
    ) -> None:
        """`ids` are in the prefix from now on, and all of it but the last `num_pending` tokens in
        the cache.

        `positions`: of the tokens that entered the cache, in stretches (3, n), those that were
        pending first.
        """
        self.context_ids += ids
        self.pending_ids, self.pending_frames = list(ids[len(ids) - num_pending :]), []
        self.next_position = next_position
        if self.recorder is not None:
            self.recorder.positions += positions

    def end_turn(
        self,
        turn: PastTurn,
        renderer: QwenVLRenderer,
        *,
        silent: bool,
        logprobs: Sequence[float] = (),
        ahead: Sequence[SpeculatedTurn] = (),
    ) -> None:
        """The turn was answered, and its tokens are in the prefix. `logprobs`: of those that were
        drawn. `ahead`: the turns that went through the model behind it, which count if it was
        silent."""
        decision = renderer.decision
        self.lead = decision.lead_after(turn.chosen)
        self.num_silent = self.num_silent + 1 if silent else 0
        self.ahead = list(ahead) if silent else []
        if self.window is not None:
            self.turns.append(turn)
        if self.recorder is not None:
            place = len(self.context_ids) - len(decision.kept(turn.chosen))
            self.recorder.end_turn(place, turn.frames, turn.chosen, logprobs, decision)

    def replay(self, observed: EnvTurn, action: Action, renderer: QwenVLRenderer) -> PolicyTurn:
        """Append a turn and a given answer as history; all of it is pending."""
        chosen = renderer.policy_turn_ids(action, self.format)
        part = renderer.user_turn(observed, self.lead)
        keeps_patches = self.recorder is not None
        frames = tuple(CachedFrame.of(frame, keeps_patches=keeps_patches) for frame in part.frames)
        ids = [*part.token_ids.tolist(), *renderer.decision.kept(chosen)]
        self.context_ids += ids
        self.pending_ids += ids
        self.pending_frames += frames
        turn = PastTurn.of(observed, frames, chosen, action)
        self.end_turn(turn, renderer, silent=chosen == renderer.silence_ids)
        return PolicyTurn(action, token_ids=tuple(chosen), sampled=False)

    def trace(self, renderer: QwenVLRenderer) -> TokenTrace:
        """Everything seen and chosen so far. Raises RuntimeError where nothing was recorded."""
        if self.recorder is None:
            raise RuntimeError(
                "this session records no trace; open it on an engine with record=True"
            )
        return self.recorder.trace(self.context_ids, self._pending_positions(renderer))

    def cut(self, coming: EnvTurn, grids: Sequence[Grid], renderer: QwenVLRenderer) -> None:
        """Drop old turns if the prefix and the turn `coming`, with frames of `grids`, exceed the
        window.

        Raises ContextFullError, and drops nothing, where they still would.
        """
        window = self.window
        if window is None:
            return

        def num_with(num_tokens: int, lead: Lead) -> int:
            return num_tokens + len(renderer.user_turn_ids(shape_of(coming), grids, lead))

        first = window.num_outdated(len(self.turns))
        kept = list(range(first, len(self.turns)))
        ids, lead = list(self.context_ids), self.lead
        if first:
            ids, lead, _ = self._prefix_of(kept, renderer)
        if window.is_exceeded_by(num_with(len(ids), lead)):
            # nothing is longer than a turn behind a closed one
            most = min(window.target_tokens, window.max_tokens - num_with(0, Lead.CLOSED))
            room = most - len(self.system_ids)
            newest = kept_turns(self.turns[first:], window, renderer, room)
            kept = [first + i for i in newest]
        elif not first:
            return
        ids, lead, ends = self._prefix_of(kept, renderer)
        num_needed = num_with(len(ids), lead)
        if window.is_exceeded_by(num_needed):
            raise ContextFullError(
                f"the turn at {coming.clock_s:g} s needs {num_needed} tokens with what must be "
                "kept (the system "
                f"message and the newest question), and the window allows {window.max_tokens}; "
                "allow more tokens "
                "(--context-tokens of watch and eval, or a larger Window), or show fewer or "
                "smaller frames"
            )
        self._restart(kept, ids, lead, ends, renderer)

    def _prefix_of(
        self, kept: Sequence[int], renderer: QwenVLRenderer
    ) -> tuple[list[int], Lead, list[int]]:
        """The prefix with these turns alone, how it ends, and where in it each turn ends."""
        ids, lead, ends = list(self.system_ids), Lead.START, []
        for i in kept:
            ids += self.turns[i].ids(renderer, lead)
            lead = renderer.decision.lead_after(self.turns[i].chosen)
            ends.append(len(ids))
        return ids, lead, ends

    def _restart(
        self,
        kept: Sequence[int],
        ids: list[int],
        lead: Lead,
        ends: Sequence[int],
        renderer: QwenVLRenderer,
    ) -> None:
        """The prefix is `ids` from now on, with the turns `kept`, which end at `ends`. The leading
        ones that stay where they are stay in the cache; the rest is pending."""
        turns = [self.turns[i] for i in kept]
        num_same, num_cached = 0, min(len(self.system_ids), self.num_cached)
        for place, end in enumerate(ends):
            if kept[place] != place or end > self.num_cached:
                break
            num_same, num_cached = place + 1, end
        if self.recorder is not None:
            frames = [frame for turn in turns for frame in turn.frames]
            pending_positions = self._pending_positions(renderer)
            self.recorder.break_off(self.context_ids, pending_positions, num_cached, frames)
        self.turns, self.lead, self.context_ids = turns, lead, ids
        grids = [frame.grid for turn in turns[:num_same] for frame in turn.frames]
        pad_id, merge_size = renderer.image_pad_id, renderer.merge_size
        _, self.next_position = mrope_positions(ids[:num_cached], grids, pad_id, merge_size, 0)
        self.forget(num_cached)
        self.pending_ids = ids[num_cached:]
        self.pending_frames = [frame for turn in turns[num_same:] for frame in turn.frames]

    def _pending_positions(self, renderer: QwenVLRenderer) -> np.ndarray:
        """(3, n) of the tokens that are not in the cache yet, as they will enter it."""
        grids = [frame.grid for frame in self.pending_frames]
        pad_id, merge_size = renderer.image_pad_id, renderer.merge_size
        positions, _ = mrope_positions(
            self.pending_ids, grids, pad_id, merge_size, self.next_position
        )
        return positions
