"""One step of the engine: a forward for every turn that is being answered.

All of this runs in the engine's worker thread (`engine.core`). A step begins the turns it is given
(rendered, and with room made in their windows), runs one forward over all of them, and chooses the
next token of each.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

import torch

from oncue.engine.lookahead import Lookahead
from oncue.engine.model_runner import ModelRunner
from oncue.engine.request import Outcome, PendingRequest, Request, failed, settled
from oncue.engine.sampler import Sampler
from oncue.engine.sampling import SamplingParams
from oncue.errors import ContextFullError
from oncue.model.loading import LoadedModel
from oncue.render.base import shape_of

_log = logging.getLogger(__name__)
CLOSED = "the session was closed while it was answering a turn"


class StepRunner:
    """Runs the steps of an engine, one at a time. `requests` are the turns being answered.

    `draft`: the choices of a silent answer that go with the first forward of a turn; empty for
    none.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        model: ModelRunner,
        sampling: SamplingParams,
        lookahead: Lookahead,
        draft: tuple[int, ...],
    ) -> None:
        self.requests: list[Request] = []
        self._loaded, self._renderer, self._sampling = loaded, loaded.renderer, sampling
        self._model, self._lookahead, self._draft = model, lookahead, draft
        self._max_prefix_tokens = loaded.max_prefix_tokens
        self._sampler = Sampler(loaded, sampling)

    def run(
        self, taken: Sequence[PendingRequest], loop: asyncio.AbstractEventLoop
    ) -> list[Outcome]:
        """One forward for all; the turns that are over with it. One turn's error is no other's."""
        outcomes: list[Outcome] = []
        for answer in self.requests:
            if answer.pending.abandoned or answer.pending.answered.get_loop() is not loop:
                answer.undo()
                outcomes.append(Outcome(answer.pending, RuntimeError(CLOSED)))
        dropped = {id(outcome.pending) for outcome in outcomes}
        self.requests = [answer for answer in self.requests if id(answer.pending) not in dropped]
        for pending in sorted(taken, key=lambda w: w.state.number):
            if pending.abandoned:
                outcomes.append(Outcome(pending, RuntimeError(CLOSED)))
                continue
            try:
                self.requests.append(self._begin(pending))
            except Exception as error:  # carried to the caller of `respond`
                outcomes.append(Outcome(pending, error))
        outcomes += self._advance(self.requests)
        self.requests = [answer for answer in self.requests if not answer.done]
        return outcomes

    def _begin(self, pending: PendingRequest) -> Request:
        """Render a turn, and make room for it in the window. On an error the session is as it was
        before."""
        state, observed = pending.state, pending.observed
        ahead = state.take_ahead()
        if observed is None:
            return Request(pending, self._renderer, [], ())
        if (
            ahead
            and ahead[0].observed is observed
            and ahead[0].num_context == len(state.context_ids)
        ):
            turn, *following = ahead
            answer = Request(
                pending,
                self._renderer,
                turn.turn_ids,
                turn.frames,
                self._draft,
                ahead=turn,
                following=following,
            )
            answer.limit(self._sampling.max_new_tokens)
            return answer
        frames = pending.frames.result()
        grids = [frame.grid for frame in frames]
        state.cut(observed, grids, self._renderer)
        ids = self._renderer.user_turn_ids(shape_of(observed), grids, state.lead)
        answer = Request(pending, self._renderer, ids.tolist(), frames, self._draft)
        room = self._max_prefix_tokens - answer.prompt.answer_position + 1
        if room < 1 and state.window is not None and state.window.when_full:
            state.bound_from_now_on()
            _log.warning(
                "the context of %s is full at %g s; from now on it is bounded at %d tokens, and "
                "old turns are dropped",
                self._loaded.name,
                observed.clock_s,
                state.window.max_tokens,
            )
            return self._begin(pending)
        if room < 1:
            raise ContextFullError(
                f"the dialogue is too long for {self._loaded.name}: with the turn at "
                f"{observed.clock_s:g} s it needs "
                f"{answer.prompt.answer_position + 2} positions, and the model has "
                f"{self._loaded.max_positions}; "
                "bound the context (--context-tokens of watch and eval, or a Window), or show "
                "fewer or smaller frames"
            )
        answer.limit(min(self._sampling.max_new_tokens, room))
        num_context = len(state.context_ids) + len(ids)
        answer.following = self._lookahead.after(
            answer.prompt, num_context, pending.coming, state.window
        )
        return answer

    def _advance(self, answers: Sequence[Request]) -> list[Outcome]:
        """Choose for those whose turn went ahead; where there are none, one forward over all of
        these turns."""
        ready = [answer for answer in answers if answer.logits_RV is not None]
        if ready:
            return self._chosen(ready)
        if not answers:
            return []
        rows = [answer.row() for answer in answers]
        started_s, logits_RV, failure = time.perf_counter(), None, None
        try:
            logits_RV = self._model.forward(rows)
        except Exception as error:
            # Kept no longer than it is needed: it holds what the forward has made
            failure = None if any(answer.following for answer in answers) else error
        if logits_RV is None:
            return self._recovered(answers, failure)
        forward_s = time.perf_counter() - started_s
        for answer, read_RV in zip(
            answers, logits_RV.split([len(row.read) for row in rows]), strict=True
        ):
            answer.take(read_RV, forward_s)
        return self._chosen(answers)

    def _recovered(self, answers: Sequence[Request], failure: Exception | None) -> list[Outcome]:
        """After a forward that failed. With turns ahead (`failure` None) it may be the size: none
        goes ahead from now on. Else each half by itself, down to the turn at fault, whose caller
        gets the error."""
        if failure is None:
            self._lookahead.most = 0
            for answer in answers:
                answer.following = []
            return self._advance(answers)
        if len(answers) > 1:
            half = len(answers) // 2
            return self._advance(answers[:half]) + self._advance(answers[half:])
        return [failed(answers[0], failure)]

    def _chosen(self, answers: Sequence[Request]) -> list[Outcome]:
        """What came of the turns that are over once each has chosen from its logits."""
        logits_RV = torch.cat([answer.give() for answer in answers])
        try:
            self._sampler.choose(answers, logits_RV)
        except Exception as error:
            return [failed(answer, error) for answer in answers]
        return [settled(answer) for answer in answers if answer.done]
