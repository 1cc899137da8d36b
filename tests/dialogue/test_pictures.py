"""Picture files as frames: upright, on white, with their shades."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from oncue.dialogue.pictures import load_picture, picture_size_px
from oncue.errors import DataError


def png(path: Path, values: np.ndarray, color_type: int) -> Path:
    """A PNG of 16 bits per channel, which Pillow cannot write in colour. `values`: (H, W,
    channels)."""
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    return png_of(path, values.shape[1], values.shape[0], 16, color_type, lines)


def png_of(
    path: Path, width_px: int, height_px: int, bits: int, color_type: int, lines: bytes
) -> Path:
    header = struct.pack(">IIBBBBB", width_px, height_px, bits, color_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    written = (
        struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(written))
    return path


def drawn(mode: str, ground: Any, ink: Any) -> Image.Image:
    """A picture of 8 x 4 pixels with ink in the left half."""
    image = Image.new(mode, (8, 4), ground)
    image.paste(ink, (0, 0, 4, 4))
    return image


def palette() -> Image.Image:
    image = drawn("P", 0, 1)
    image.putpalette([0] * 768)
    return image


TRANSPARENT = {
    "rgba.png": (drawn("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)), {}),
    "rgba.webp": (drawn("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)), {"lossless": True}),
    "la.png": (drawn("LA", (0, 0), (0, 255)), {}),
    "palette.png": (palette(), {"transparency": 0}),
    "alphas.png": (palette(), {"transparency": bytes([0, 255])}),
    "palette.gif": (palette(), {"transparency": 0}),
    "key.png": (drawn("RGB", (9, 0, 0), (0, 0, 0)), {"transparency": (9, 0, 0)}),
    "grey_key.png": (drawn("L", 9, 0), {"transparency": 9}),
    "deep_key.png": (drawn("I;16", 9, 0), {"transparency": 9}),
    "bit_key.png": (drawn("1", 1, 0), {"transparency": 1}),
}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_transparent_ground_is_white(tmp_path: Path, name: str) -> None:
    image, options = TRANSPARENT[name]
    image.save(tmp_path / name, **options)
    frame = load_picture(tmp_path / name)
    assert frame[0, 7].tolist() == [255, 255, 255]
    assert frame[0, 0].tolist() == [0, 0, 0]


def test_what_is_half_transparent_is_half_white(tmp_path: Path) -> None:
    drawn("RGBA", (200, 0, 0, 128), (0, 0, 0, 255)).save(tmp_path / "half.png")
    assert (
        np.abs(load_picture(tmp_path / "half.png")[0, 7].astype(int) - (227, 127, 127)).max() <= 1
    )


TURNS: dict[
    int, Callable[[np.ndarray], np.ndarray]
] = {  # EXIF orientation: from the stored picture to the upright one
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize(("orientation", "turned"), TURNS.items())
def test_a_picture_is_upright(tmp_path: Path, ending: str, orientation: int, turned: Any) -> None:
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :8] = 255
    stored[:8, 24:] = 128
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / f"a.{ending}", exif=exif, quality=95)
    frame = load_picture(tmp_path / f"a.{ending}").astype(int)
    expected = turned(stored).astype(int)
    assert frame.shape == expected.shape
    assert np.abs(frame - expected).max() < 40  # what compression leaves


def test_an_orientation_that_is_none_leaves_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    drawn("RGB", (9, 9, 9), (200, 0, 0)).save(tmp_path / "a.png", exif=exif)
    assert load_picture(tmp_path / "a.png")[0, 0].tolist() == [200, 0, 0]


def test_sixteen_bits_of_colour_keep_their_higher_eight(tmp_path: Path) -> None:
    shades = np.array([[[0, 256, 65535], [300, 32768, 1000]]])
    frame = load_picture(png(tmp_path / "rgb.png", shades, 2))
    assert frame.tolist() == (shades // 256).tolist()
    opaque = np.concatenate([shades, [[[65535], [0]]]], axis=-1)
    assert load_picture(png(tmp_path / "rgba.png", opaque, 6)).tolist() == [
        [[0, 1, 255], [255, 255, 255]]
    ]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.array([[0, 30, 255]], np.int32), [0, 30, 255]),
        (np.array([[0, 32768, 65535]], np.int32), [0, 128, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 0.4, 254.6]], np.float32), [0, 0, 255]),
    ],
)
def test_32_bits_of_grey_keep_their_shades(
    tmp_path: Path, values: np.ndarray, shown: list[int]
) -> None:
    Image.fromarray(values).save(tmp_path / "deep.tif")
    assert load_picture(tmp_path / "deep.tif").tolist() == [[[level] * 3 for level in shown]]


@pytest.mark.parametrize("odd", [-1.0, 70_000.0, float("nan"), float("inf")])
def test_32_bits_beyond_every_range_are_refused(tmp_path: Path, odd: float) -> None:
    Image.fromarray(np.array([[0, odd]], np.float32)).save(tmp_path / "deep.tif")
    with pytest.raises(
        DataError, match=r"deep\.tif has grey values from .*expected 0 to 1, to 255 or to 65535"
    ):
        load_picture(tmp_path / "deep.tif")


def test_ordinary_modes_are_as_they_look(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg")
    Image.new("1", (8, 8), 1).save(tmp_path / "bit.png")
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    shown = {path.name: load_picture(path)[0, 0].tolist() for path in sorted(tmp_path.iterdir())}
    assert shown == {"bit.png": [255] * 3, "cmyk.jpg": [255, 0, 0], "two.gif": [255, 0, 0]}


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "tif", "webp", "bmp"])
def test_half_a_file_is_named(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"half.{ending}"
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"half\.{ending} is not an image that can be read"):
        load_picture(path)


def test_too_many_pixels_are_named_before_they_are_read(tmp_path: Path) -> None:
    path = png_of(tmp_path / "huge.png", 20_000, 20_000, 8, 2, b"")
    for read in (load_picture, picture_size_px):
        with pytest.raises(DataError, match=r"huge\.png is too large to be opened .*scale it down"):
            read(path)


def test_the_sides_are_those_in_the_head(tmp_path: Path) -> None:
    assert picture_size_px(png_of(tmp_path / "head.png", 30, 20, 8, 2, b"")) == (30, 20)
    for name in ("gone.png", "x" * 3000):
        with pytest.raises(DataError, match="there is no image"):
            picture_size_px(tmp_path / name)
