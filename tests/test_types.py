"""What values that cross module borders refuse to be made of."""

from __future__ import annotations

import numpy as np
import pytest

from oncue.types import FrameBatch

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
