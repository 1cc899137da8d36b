"""Picture files as the frames a model sees: upright, on white, 8 bits per channel.

Transparent ground becomes white, as in `qwen_vl_utils` and vLLM (transformers' own processor drops
the alpha channel, which shows whatever colour lies under it, mostly black). The EXIF orientation is
applied. Of several pictures in a file (GIF, WebP, TIFF) the first is taken.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oncue.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_ORIENTATION = 0x0112  # EXIF tag: how the stored picture must be turned to be upright
_WHITES = (1, 255, 65_535)  # what may be white in a picture of 32 bits per channel


def load_picture(path: Path) -> np.ndarray:
    """The picture of a file, (H, W, 3) uint8 RGB.

    16 bits per channel become the higher 8. In grey of 32 bits (whole numbers or floats) white is
    the smallest of 1, 255 and 65,535 that no value exceeds. Raises DataError for a file that is
    missing, is no picture, is cut off, has more pixels than Pillow opens (178,956,970), or has
    values of 32 bits beyond these ranges.
    """
    with _opened(path) as image:
        image.load()  # for TIFF, Pillow turns the picture here
        upright = _upright(image)
        if upright.mode.startswith(("I", "F")):
            return np.repeat(_grey(upright, path)[..., None], 3, axis=-1)
        return np.asarray(_on_white(upright))


def picture_size_px(path: Path) -> tuple[int, int]:
    """The two sides of a picture as stored, from the head of its file. Raises DataError as
    `load_picture`, apart from what only reading all of it can show."""
    with _opened(path) as image:
        return image.size


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    from PIL import Image

    if not os.path.isfile(path):  # False for a name that is too long, too
        raise DataError(
            f"there is no image {path!s:.200}; check the paths of the row, they are relative to "
            "its file"
        )
    try:
        with Image.open(path) as image:
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{path} is too large to be opened ({error}); scale it down") from error
    except Exception as error:  # Pillow's many readers raise whatever they come upon
        raise DataError(f"{path} is not an image that can be read ({error})") from error


def _upright(image: Image.Image) -> Image.Image:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(image.getexif().get(_ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def _on_white(image: Image.Image) -> Image.Image:
    from PIL import Image

    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    ground = Image.new("RGB", image.size, "white")
    ground.paste(rgba, mask=rgba)
    return ground


def _grey(image: Image.Image, path: Path) -> np.ndarray:
    """Grey of 16 or 32 bits as (H, W) uint8. Pillow would cut it off at 255."""
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        levels = (values >> 8).astype(np.uint8)
    else:
        least, most = float(values.min()), float(values.max())
        white = next((white for white in _WHITES if most <= white), None)
        if white is None or not least >= 0:  # not a number, either
            raise DataError(
                f"{path} has grey values from {least:g} to {most:g}; expected 0 to 1, to 255 or to "
                "65535; save it with "
                "8 bits"
            )
        levels = np.rint(values * (255 / white)).astype(np.uint8)
    levels[values == image.info.get("transparency")] = 255
    return levels
