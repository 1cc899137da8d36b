"""Frames of turns made ready for the vision encoder, in threads beside the step that is running.

What two sessions are shown is prepared, and later encoded, once (`engine.encoder_cache`).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from oncue.engine.encoder_cache import CachedFrame, EncoderCache
from oncue.engine.lookahead import Lookahead, UpcomingTurn
from oncue.engine.session_state import SessionState
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.types import EnvTurn

_MOST_THREADS = 16  # that prepare frames; one prepares some hundred per second


class FramePreparer:
    """Prepares the frames of turns from the moment they are submitted or, with a lookahead, come
    near. `keeps_patches`: frames can be patched again for training."""

    def __init__(
        self, renderer: QwenVLRenderer, lookahead: Lookahead, *, keeps_patches: bool
    ) -> None:
        self._renderer, self._lookahead = renderer, lookahead
        self._keeps_patches = keeps_patches
        self._encoder_cache = EncoderCache(keeps_patches=keeps_patches)
        self._threads = ThreadPoolExecutor(
            min(os.cpu_count() or 1, _MOST_THREADS), thread_name_prefix="oncue-frames"
        )

    def forget(self) -> None:
        """Drop the frames that were shown, and their vision tokens."""
        self._encoder_cache = EncoderCache(keeps_patches=self._keeps_patches)

    def close(self) -> None:
        """Stop the threads. What is still to be prepared is dropped: nobody takes it."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def of_turn(
        self, observed: EnvTurn | None, state: SessionState, *, shared: bool
    ) -> Future[tuple[CachedFrame, ...]]:
        """The frames of the turn to show, being prepared. `shared`: other sessions may be shown
        the same ones."""
        foreseen = state.take_foreseen(observed)
        return (foreseen.frames if foreseen else None) or self._start(observed, shared=shared)

    def coming(
        self, observed: EnvTurn | None, state: SessionState, *, shared: bool
    ) -> list[UpcomingTurn]:
        """The turns that may go ahead with the one to show. Frames are prepared up to the end of
        the forward after it, and no further: others wait for theirs."""
        if observed is None:
            return []
        now = self._lookahead.reach(state.num_silent)
        then = self._lookahead.reach(state.num_silent + 1 + now)
        for turn in itertools.islice(state.coming, now + 1 + then if self._lookahead.most else 0):
            turn.frames = turn.frames or self._start(turn.observed, shared=shared)
        return list(itertools.islice(state.coming, now))

    def _start(self, observed: EnvTurn | None, *, shared: bool) -> Future[tuple[CachedFrame, ...]]:
        pixels = observed.pictures if observed else ()
        return self._threads.submit(self._prepared, pixels, shared=shared)

    def _prepared(self, pixels: Sequence[np.ndarray], *, shared: bool) -> tuple[CachedFrame, ...]:
        """In a thread: the frames of a turn, ready for the vision encoder."""
        processor = self._renderer.frame_processor
        if not shared:
            return tuple(
                CachedFrame.of(processor(frame), keeps_patches=self._keeps_patches)
                for frame in pixels
            )
        return tuple(self._encoder_cache.frame(frame, processor) for frame in pixels)
