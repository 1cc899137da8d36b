"""Patches equal those of transformers' own image processor, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from PIL import Image

from oncue.errors import ConfigError, InputError, ModelError, ModelWarning
from oncue.render.images import FrameProcessor
from oncue.render.qwen_vl import MMDUET2_MAX_PIXELS, MMDUET2_MAX_TOKENS

CAPPED = FrameProcessor(max_pixels=MMDUET2_MAX_PIXELS)
# preprocessor_config.json of Qwen3-VL
QWEN3: dict[str, Any] = {
    "size": {"shortest_edge": 65536, "longest_edge": 16777216}, "patch_size": 16, "temporal_patch_size": 2,
    "merge_size": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
}  # fmt: skip
SIZES_WH = [
    (1280, 720),
    (720, 1280),
    (640, 480),
    (384, 384),
    (448, 224),
    (112, 112),
    (113, 57),
    (1, 1),
    (29, 3),
    (28, 28),
]
SIZES_WH += [(37, 1999), (1921, 1079), (5000, 26), (321, 241), (14, 14), (42, 42), (70, 98)]


def stock(size: dict[str, int], **more: Any) -> Any:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(size=size, **more)


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("width", "height"), SIZES_WH)
def test_patches_equal_the_stock_processor_bit_for_bit(width: int, height: int) -> None:
    frame = noise(width, height)
    expected = stock({"shortest_edge": 3136, "longest_edge": MMDUET2_MAX_PIXELS})(
        [Image.fromarray(frame)], return_tensors="np"
    )
    got = CAPPED(frame)
    assert got.patches.dtype == np.float32
    assert np.array_equal(got.patches.view(np.uint32), expected["pixel_values"].view(np.uint32))
    assert [list(got.grid)] == expected["image_grid_thw"].tolist()
    assert len(got.patches) // 4 == CAPPED.token_count(height, width)


def test_other_settings_equal_the_stock_processor() -> None:
    size, mean, std = (
        {"shortest_edge": 16 * 1024, "longest_edge": 64 * 1024},
        [0.5, 0.4, 0.3],
        [0.5, 0.25, 0.2],
    )
    more: dict[str, Any] = {
        "patch_size": 16,
        "temporal_patch_size": 1,
        "image_mean": mean,
        "image_std": std,
    }
    frame = noise(333, 222)
    expected = stock(size, resample=2, **more)([Image.fromarray(frame)], return_tensors="np")
    ours = FrameProcessor(16, 2, 1, 16 * 1024, 64 * 1024, tuple(mean), tuple(std), resample=2)
    assert np.array_equal(ours(frame).patches, expected["pixel_values"])


@pytest.mark.parametrize(("width", "height"), [*SIZES_WH[:6], (64, 96), (37, 1999), (5000, 26)])
@pytest.mark.parametrize("cap", [MMDUET2_MAX_TOKENS * 32 * 32, 16777216])
def test_the_settings_of_qwen3_vl_equal_the_stock_processor(
    tmp_path: Path, width: int, height: int, cap: int
) -> None:
    frame = noise(width, height)
    expected = stock(**QWEN3 | {"size": {"shortest_edge": 65536, "longest_edge": cap}})(
        [Image.fromarray(frame)], return_tensors="np"
    )
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(QWEN3))
    got = FrameProcessor.from_pretrained(tmp_path, cap)(frame)
    assert np.array_equal(got.patches.view(np.uint32), expected["pixel_values"].view(np.uint32))
    assert [list(got.grid)] == expected["image_grid_thw"].tolist()


def test_a_changed_pixel_changes_the_patches() -> None:
    frame = noise(112, 112)
    changed = frame.copy()
    changed[50, 60, 1] ^= 1
    assert not np.array_equal(CAPPED(frame).patches, CAPPED(changed).patches)


def test_all_byte_values_are_normalised_like_the_stock_processor() -> None:
    frame = np.repeat(np.arange(256, dtype=np.uint8), 3 * 49)[: 112 * 112 * 3].reshape(112, 112, 3)
    expected = stock({"shortest_edge": 3136, "longest_edge": 12544})(
        [Image.fromarray(frame)], return_tensors="np"
    )
    assert np.array_equal(CAPPED(frame).patches, expected["pixel_values"])


@pytest.mark.parametrize(
    ("width", "height", "resized_wh", "num_tokens"),
    [
        (1920, 1080, (420, 224), 120),
        (1280, 720, (420, 224), 120),
        (640, 360, (420, 224), 120),
        (720, 1280, (224, 420), 120),
        (640, 480, (364, 252), 117),
        (384, 384, (308, 308), 121),
        (320, 240, (308, 252), 99),
        (448, 224, (448, 224), 128),
    ],
)
def test_published_token_counts(
    width: int, height: int, resized_wh: tuple[int, int], num_tokens: int
) -> None:
    assert CAPPED.resized_px(height, width) == resized_wh[::-1]
    assert CAPPED.token_count(height, width) == num_tokens


def test_without_the_cap_frames_cost_more() -> None:
    uncapped = FrameProcessor(max_pixels=16384 * 28 * 28)
    assert [uncapped.token_count(h, w) for w, h in ((640, 360), (640, 480), (1280, 720))] == [
        299,
        391,
        1196,
    ]


@given(width=st.integers(1, 4000), height=st.integers(1, 4000))
def test_the_cap_holds_unless_a_frame_is_a_thin_strip(width: int, height: int) -> None:
    """The reference rule keeps one row of cells however long it gets, so strips beyond 128:1 exceed
    the cap."""
    assume(max(width, height) <= 100 * min(width, height))
    assert 4 <= CAPPED.token_count(height, width) <= 128


@given(
    width=st.integers(1, 2000),
    height=st.integers(1, 2000),
    most=st.integers(16, 128),
    least_frac=st.floats(0.01, 1),
)
@example(
    width=100, height=100, most=128, least_frac=1.0
)  # 12x12 tokens, as the reference scales it up
@example(width=300, height=100, most=128, least_frac=120 / 128)
def test_a_frame_that_is_scaled_up_stays_within_the_cap(
    width: int, height: int, most: int, least_frac: float
) -> None:
    assume(max(width, height) <= most / 2 * min(width, height))
    frames = FrameProcessor(
        min_pixels=max(1, int(most * least_frac)) * 28 * 28, max_pixels=most * 28 * 28
    )
    assert frames.token_count(height, width) <= most


@pytest.mark.parametrize(("width", "height"), [(2010, 10), (10, 2010)])
def test_extreme_aspect_is_refused_with_its_size(width: int, height: int) -> None:
    with pytest.raises(InputError, match=f"{width}x{height} pixels cannot be shown"):
        CAPPED(noise(width, height))


@pytest.mark.parametrize(
    "frame", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))]
)
def test_what_is_no_frame_is_refused(frame: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"\(H, W, 3\) uint8"):
        CAPPED(frame)


def test_a_frame_without_pixels_is_refused() -> None:
    with pytest.raises(InputError, match="0x4 pixels cannot be shown"):
        CAPPED(np.zeros((4, 0, 3), np.uint8))


def test_a_cap_below_the_minimum_is_refused() -> None:
    with pytest.raises(ConfigError, match="min_pixels <= max_pixels"):
        FrameProcessor(max_pixels=100)


RELEASED = {
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
}
LIMITS = [
    ("preprocessor_config.json", RELEASED),
    ("preprocessor_config.json", {"size": {"shortest_edge": 3136, "longest_edge": 12845056}}),
    ("preprocessor_config.json", {"size": {"min_pixels": 3136, "max_pixels": 12845056}}),
    (
        "processor_config.json",
        {"image_processor": {"size": {"shortest_edge": 3136, "longest_edge": 12845056}}},
    ),
]


@pytest.mark.parametrize(("name", "settings"), LIMITS)
def test_limits_are_read_from_every_known_form(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    (tmp_path / name).write_text(json.dumps(settings))
    assert FrameProcessor.from_pretrained(tmp_path) == FrameProcessor(
        min_pixels=3136, max_pixels=12845056
    )
    assert FrameProcessor.from_pretrained(tmp_path, MMDUET2_MAX_PIXELS) == CAPPED


def test_the_stock_processor_reads_what_we_write(tmp_path: Path) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    CAPPED.save_pretrained(tmp_path)
    frame = noise(500, 300)
    expected = Qwen2VLImageProcessorPil.from_pretrained(str(tmp_path))(
        [Image.fromarray(frame)], return_tensors="np"
    )
    assert np.array_equal(CAPPED(frame).patches, expected["pixel_values"])
    assert FrameProcessor.from_pretrained(tmp_path) == CAPPED


def test_a_folder_that_says_nothing_about_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not say how images are prepared"):
        FrameProcessor.from_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read as JSON"):
        FrameProcessor.from_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": false}')
    with pytest.raises(ModelError, match="do_normalize = False"):
        FrameProcessor.from_pretrained(tmp_path)
    for broken in ('{"image_mean": 3}', '{"max_pixels": "many"}', '{"patch_size": []}'):
        (tmp_path / "preprocessor_config.json").write_text(broken)
        with pytest.raises(ModelError, match="cannot be used"):
            FrameProcessor.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "least", [{"min_pixels": 256 * 28 * 28}, {"size": {"shortest_edge": 256 * 28 * 28}}]
)
def test_a_cap_wins_over_a_larger_least_size(tmp_path: Path, least: dict[str, Any]) -> None:
    """Otherwise a folder that asks for 256 vision tokens would get them, whatever the limit
    says."""
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(least))
    with pytest.warns(
        ModelWarning,
        match=r"at least 200704 pixels per frame, above the limit of 100352 \(128 vision",
    ):
        frames = FrameProcessor.from_pretrained(tmp_path, default_max_tokens=128)
    assert (frames.min_pixels, frames.max_pixels) == (MMDUET2_MAX_PIXELS, MMDUET2_MAX_PIXELS)
    assert [frames.token_count(h, w) for h, w in ((100, 100), (360, 640), (2000, 2000))] == [
        121,
        120,
        121,
    ]
    with pytest.warns(ModelWarning, match="above the limit of 9408"):
        assert (
            FrameProcessor.from_pretrained(tmp_path, 12 * 28 * 28, 128).max_pixels == 12 * 28 * 28
        )
    with pytest.raises(ConfigError, match="max 783"):  # not even one vision token
        FrameProcessor.from_pretrained(tmp_path, 28 * 28 - 1)


def test_a_least_size_within_the_cap_stays(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"min_pixels": 100 * 28 * 28}))
    frames = FrameProcessor.from_pretrained(tmp_path, default_max_tokens=128)
    assert (frames.min_pixels, frames.max_pixels) == (100 * 28 * 28, MMDUET2_MAX_PIXELS)
    assert not recwarn.list


@pytest.mark.parametrize(
    "size", [{"height": 448, "width": 448}, {"longest_edge": 3136, "max_height": 10}]
)
def test_a_processor_that_resizes_to_an_exact_size_is_refused(
    tmp_path: Path, size: dict[str, int]
) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({"size": size}))
    with pytest.raises(
        ModelError,
        match=f"resizes by {', '.join(sorted(size.keys() - {'longest_edge'}))}, got size",
    ):
        FrameProcessor.from_pretrained(tmp_path)
    path.write_text(
        json.dumps({"size": {"longest_edge": 3136, "height": None}})
    )  # as transformers may write it
    assert FrameProcessor.from_pretrained(tmp_path).max_pixels == 3136
