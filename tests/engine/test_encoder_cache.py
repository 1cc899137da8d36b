"""Laws of preparing frames: once per picture whoever is shown it, in threads, beside the step that
is running."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import oncue.engine.encoder_cache as shown_module
from oncue.engine.encoder_cache import EncoderCache
from oncue.engine.engine import Engine, SamplingParams
from oncue.errors import InputError
from oncue.model.loading import LoadedModel
from oncue.render.base import PatchedFrame
from oncue.render.images import FrameProcessor
from policy_support import hold, say, shown

PATIENCE_S = 20.0


def picture(value: int) -> np.ndarray:
    return np.full((4, 6, 3), value, np.uint8)


def patched(pixels: np.ndarray) -> PatchedFrame:
    return PatchedFrame(pixels.reshape(1, -1).astype(np.float32), (1, 2, 2))


def test_threads_shown_the_same_picture_share_its_preparation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf, made, num_waiting = EncoderCache(), [], threading.Semaphore(0)

    class Watched(Future[Any]):
        def result(self, timeout: float | None = None) -> Any:
            num_waiting.release()
            return super().result(timeout)

    monkeypatch.setattr(shown_module, "Future", Watched)

    def slowly(pixels: np.ndarray) -> PatchedFrame:
        made.append(int(pixels[0, 0, 0]))
        assert all(
            num_waiting.acquire(timeout=PATIENCE_S) for _ in range(3)
        )  # the others wait for this one
        return patched(pixels)

    with ThreadPoolExecutor(4) as threads:
        frames = list(threads.map(lambda _: shelf.frame(picture(1), slowly), range(4)))
    assert made == [1]
    assert all(frame is frames[0] for frame in frames)
    assert shelf.frame(picture(9), patched) is not frames[0]  # control


def test_a_picture_that_fails_is_tried_again_the_next_time() -> None:
    shelf = EncoderCache()

    def fails(_: np.ndarray) -> PatchedFrame:
        raise InputError("too long")

    for _ in range(2):
        with pytest.raises(InputError, match="too long"):
            shelf.frame(picture(1), fails)
    assert shelf.frame(picture(1), patched).grid == (1, 2, 2)


def test_the_oldest_picture_leaves_a_full_shelf() -> None:
    shelf = EncoderCache(capacity=2)
    first, second = (shelf.frame(picture(value), patched) for value in (1, 2))
    assert shelf.frame(picture(1), patched) is first  # shown again, so newer than the second
    shelf.frame(picture(3), patched)
    assert shelf.frame(picture(1), patched) is first
    assert shelf.frame(picture(2), patched) is not second


def test_frames_are_prepared_while_a_step_is_running(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that does not end until another session's frame has been prepared does end."""
    prepare, prepared = FrameProcessor.__call__, threading.Semaphore(0)

    def counted(self: FrameProcessor, frame: np.ndarray) -> PatchedFrame:
        made = prepare(self, frame)
        prepared.release()
        return made

    monkeypatch.setattr(FrameProcessor, "__call__", counted)
    first, second = [next(t for t in shown(9, seed=seed) if len(t.frames) == 1) for seed in (1, 2)]

    async def go() -> list[Any]:
        with (
            Engine(tiny_loaded, SamplingParams(max_new_tokens=5)) as engine,
            engine.open() as one,
            engine.open() as other,
        ):
            forward, met = engine._model.forward, []

            def waits(rows: Any) -> Any:
                if not met:
                    met.append(all(prepared.acquire(timeout=PATIENCE_S) for _ in range(2)))
                return forward(rows)

            engine._model.forward = waits  # type: ignore[method-assign]
            answering = asyncio.ensure_future(one.respond(first))
            while not engine._worker or engine._queue:
                await asyncio.sleep(0)
            answers = [(await hold(other, [second]))[0], await answering]
            assert met == [True]
            return [answer.token_ids for answer in answers]

    alone = [
        say(Engine(tiny_loaded, SamplingParams(max_new_tokens=5)), [turn])[0][0].token_ids
        for turn in (second, first)
    ]
    assert asyncio.run(go()) == alone
