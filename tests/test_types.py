"""What values that cross module borders refuse to be made of."""

from __future__ import annotations

import numpy as np
import pytest

from oncue.types import (
    Answer,
    EnvTurn,
    FrameBatch,
    Malformed,
    Reply,
    Retrieve,
    Silence,
    Task,
    reply_text,
)

PIXELS = np.zeros((2, 4, 6, 3), np.uint8)


@pytest.mark.parametrize("times_s", [[], [0.5], [0.5, 1.0, 1.5], [[0.5, 1.0]]])
def test_frames_and_their_times_must_be_equally_many(times_s: list) -> None:
    with pytest.raises(ValueError, match=r"pts_s must be \(2,\)"):
        FrameBatch(PIXELS, np.array(times_s))
    assert len(FrameBatch(PIXELS, np.array([0.5, 1.0]))) == 2


@pytest.mark.parametrize(
    "pixels", [PIXELS[0], PIXELS[..., :1], PIXELS.astype(np.float32), PIXELS.transpose(0, 3, 1, 2)]
)
def test_what_is_no_batch_of_pictures_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(F, H, W, 3\) uint8"):
        FrameBatch(pixels, np.zeros(len(pixels)))


@pytest.mark.parametrize("marks", [("a",), ("a", "b", "c")])
def test_frames_have_as_many_marks_or_none(marks: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="2 frames need as many marks"):
        FrameBatch(PIXELS, np.zeros(2), marks)
    assert FrameBatch(PIXELS, np.zeros(2), ("a", "")).marks == ("a", "")


@pytest.mark.parametrize(("start", "end"), [(2, 1), (0.0, float("inf")), (float("nan"), 1.0)])
def test_a_retrieved_range_is_finite_and_in_order(start: float, end: float) -> None:
    with pytest.raises(ValueError, match="a retrieved range must"):
        Retrieve(start, end)
    assert Retrieve(1, 1) == Retrieve(1.0, 1.0)


def test_a_turn_is_frames_then_text_or_any_order() -> None:
    frames, wide = (
        FrameBatch(PIXELS, np.zeros(2)),
        FrameBatch(np.zeros((1, 4, 9, 3), np.uint8), np.zeros(1)),
    )
    assert EnvTurn(frames, 1.0, "Now?").content == (frames, "Now?")
    assert EnvTurn(frames, 1.0).frames is frames
    assert EnvTurn(FrameBatch.empty(), 1.0).content == EnvTurn("", 1.0).content == ()
    assert len(EnvTurn("Now?", 1.0).frames) == 0
    mixed = EnvTurn(["See", frames, "", "and", wide], 1.0, "Now?")
    assert mixed.content == ("See", frames, "and", wide, "Now?")
    assert mixed.text == "See\nand\nNow?"
    assert [p.shape for p in mixed.pictures] == [(4, 6, 3), (4, 6, 3), (4, 9, 3)]
    with pytest.raises(ValueError, match="shows 2 batches"):
        _ = mixed.frames


def test_only_what_a_stream_has_is_read_as_a_reply_or_silence() -> None:
    assert [reply_text(a) for a in (Reply("Yes."), Silence(), Malformed("", "empty"))] == [
        "Yes.",
        None,
        None,
    ]
    for action in (Retrieve(1, 2), Answer("B")):
        with pytest.raises(ValueError, match="as in a stream, got"):
            reply_text(action)


def test_a_task_without_options_is_one_of_a_stream() -> None:
    assert (Task("t").options, Task("t").answer) == ((), None)
