"""Frames as patches for the vision encoders of Qwen-VL, equal bit for bit to transformers' own
image processor.

Written in numpy and PIL, because importing transformers' processor takes seconds and walks each
image several times in float64; a byte has only 256 values, so rescaling and normalising are one
table look-up here, computed with the same operations in the same precision.
"""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oncue.errors import ConfigError, InputError, ModelError, ModelWarning
from oncue.hub import read_object
from oncue.render.base import PatchedFrame

if TYPE_CHECKING:
    from PIL import Image

MAX_ASPECT_RATIO = 200  # beyond it the reference processor refuses too
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_SIZE_KEYS = frozenset(("shortest_edge", "longest_edge", "min_pixels", "max_pixels"))


@dataclass(frozen=True, slots=True)
class FrameProcessor:
    """Resizes a frame to whole merge cells within [min_pixels, max_pixels], normalises it and cuts
    it into patches."""

    patch_size: int = 14
    merge_size: int = 2
    temporal_patch_size: int = 2
    min_pixels: int = 4 * 28 * 28
    max_pixels: int = 1280 * 28 * 28
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    rescale_factor: float = 1 / 255
    resample: int = 3  # PIL's bicubic
    # (3, 256) float32: channel, byte -> value
    table: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.min_pixels <= self.max_pixels:
            raise ConfigError(
                "pixels per frame must satisfy 0 < min_pixels <= max_pixels, got min "
                f"{self.min_pixels}, "
                f"max {self.max_pixels}; one vision token covers {self.cell_px * self.cell_px} "
                "pixels"
            )
        scaled = (np.arange(256, dtype=np.float64) * self.rescale_factor).astype(np.float32)
        mean, std = (
            np.array(self.mean, np.float32)[:, None],
            np.array(self.std, np.float32)[:, None],
        )
        object.__setattr__(self, "table", (scaled[None, :] - mean) / std)

    @property
    def cell_px(self) -> int:
        """The side of the square of pixels that becomes one vision token."""
        return self.patch_size * self.merge_size

    def resized_px(self, height_px: int, width_px: int) -> tuple[int, int]:
        """Height and width after resizing: multiples of `cell_px`, area within the limits.

        Only a strip longer than `max_pixels` allows in one row of cells exceeds them, as in the
        reference processor. Departs from it where a small frame, scaled up, would exceed
        `max_pixels`: it gets the largest size within.
        """
        short, long = sorted((height_px, width_px))
        if short < 1 or long > MAX_ASPECT_RATIO * short:
            raise InputError(
                f"a frame of {width_px}x{height_px} pixels cannot be shown: the longer side may be "
                "at most "
                f"{MAX_ASPECT_RATIO} times the shorter one; crop the video"
            )
        cell = self.cell_px
        height, width = round(height_px / cell) * cell, round(width_px / cell) * cell
        if height * width < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height_px * width_px))
            height = math.ceil(height_px * grow / cell) * cell
            width = math.ceil(width_px * grow / cell) * cell
        if height * width > self.max_pixels:
            shrink = math.sqrt(height_px * width_px / self.max_pixels)
            height = max(cell, math.floor(height_px / shrink / cell) * cell)
            width = max(cell, math.floor(width_px / shrink / cell) * cell)
        return height, width

    def token_count(self, height_px: int, width_px: int) -> int:
        """How many vision tokens a frame of this size becomes."""
        height, width = self.resized_px(height_px, width_px)
        return (height // self.cell_px) * (width // self.cell_px)

    def grid(self, height_px: int, width_px: int) -> tuple[int, int, int]:
        """The grid of patches that a frame of this size becomes."""
        height, width = self.resized_px(height_px, width_px)
        return 1, height // self.patch_size, width // self.patch_size

    def resized(self, frame: np.ndarray) -> Image.Image:
        """`frame` (H, W, 3) uint8 RGB as an image of the size that `resized_px` gives."""
        if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8:
            raise InputError(
                f"a frame must be (H, W, 3) uint8 RGB, got {frame.shape} {frame.dtype}"
            )
        from PIL import Image

        height, width = self.resized_px(frame.shape[0], frame.shape[1])
        # resized even where the size stays, as the reference does
        return Image.fromarray(frame).resize(
            (width, height), resample=Image.Resampling(self.resample)
        )

    def __call__(self, frame: np.ndarray) -> PatchedFrame:
        """`frame` (H, W, 3) uint8 RGB as patches in the order of the vision encoder (merge cell by
        merge cell)."""
        image = self.resized(frame)
        patch, merge = self.patch_size, self.merge_size
        rows, columns = image.height // patch, image.width // patch
        cells = np.asarray(image).reshape(
            rows // merge, merge, patch, columns // merge, merge, patch, 3
        )
        # Cell row and column, row and column in the cell, channel, y, x
        ordered = cells.transpose(0, 3, 1, 4, 6, 2, 5)
        values = np.empty((*ordered.shape[:5], self.temporal_patch_size, patch, patch), np.float32)
        for channel in range(3):
            values[:, :, :, :, channel] = self.table[channel][ordered[:, :, :, :, channel]][
                :, :, :, :, None
            ]
        return PatchedFrame(values.reshape(rows * columns, -1), (1, rows, columns))

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        max_pixels: int | None = None,
        default_max_tokens: int | None = None,
    ) -> FrameProcessor:
        """The processor that a model folder describes. `max_pixels` overrides its cap; without it,
        the cap is at most `default_max_tokens` vision tokens.

        Reads `processor_config.json` or `preprocessor_config.json`, with limits written as `size`
        or as `min_pixels`/`max_pixels`. The cap wins over a larger least size, with a ModelWarning.
        Raises ModelError where neither file describes a processor this class can stand for,
        ConfigError for a `max_pixels` that cannot be.
        """
        settings = _read_settings(Path(folder))
        size = _size(settings, folder)
        least = settings.get("min_pixels") or size.get("shortest_edge") or size.get("min_pixels")
        most = settings.get("max_pixels") or size.get("longest_edge") or size.get("max_pixels")
        for switch in ("do_resize", "do_rescale", "do_normalize"):
            if settings.get(switch, True) is not True:
                raise ModelError(
                    f"{folder}: image processors with {switch} = {settings[switch]} are not "
                    "supported"
                )
        try:
            patch_size, merge_size = (
                int(settings.get("patch_size", 14)),
                int(settings.get("merge_size", 2)),
            )
            cell_area = (patch_size * merge_size) ** 2
            cap = int(most or 1280 * 28 * 28) if max_pixels is None else max_pixels
            if max_pixels is None and default_max_tokens is not None:
                cap = min(cap, default_max_tokens * cell_area)
            return cls(
                patch_size=patch_size,
                merge_size=merge_size,
                temporal_patch_size=int(settings.get("temporal_patch_size", 2)),
                min_pixels=_least_pixels(int(least or 4 * 28 * 28), cap, cell_area, folder),
                max_pixels=cap,
                mean=tuple(settings.get("image_mean") or CLIP_MEAN),
                std=tuple(settings.get("image_std") or CLIP_STD),
                rescale_factor=float(settings.get("rescale_factor") or 1 / 255),
                resample=int(settings.get("resample") or 3),
            )
        except (TypeError, ValueError) as error:
            if isinstance(error, ConfigError):  # a cap that cannot be
                raise
            raise ModelError(
                f"{folder}: its image processor cannot be used ({error}); download it again"
            ) from error

    def save_pretrained(self, folder: Path | str) -> None:
        """Writes `preprocessor_config.json`, readable by this class and by transformers."""
        settings = {
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2_5_VLProcessor",
            "size": {"shortest_edge": self.min_pixels, "longest_edge": self.max_pixels},
            "patch_size": self.patch_size,
            "merge_size": self.merge_size,
            "temporal_patch_size": self.temporal_patch_size,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
            "rescale_factor": self.rescale_factor,
            "resample": self.resample,
        }
        (Path(folder) / "preprocessor_config.json").write_text(
            json.dumps(settings, indent=2) + "\n", "utf-8"
        )


def _size(settings: dict[str, Any], folder: Path | str) -> dict[str, Any]:
    """The section with the limits of an image's area. Raises ModelError where it asks for anything
    else."""
    size = settings.get("size") or {}
    if not isinstance(size, dict):
        raise ModelError(
            f"{folder}: the size of images must be an object, got {size!r:.80}; download it again"
        )
    stated = {key: value for key, value in size.items() if value is not None}
    if unknown := sorted(stated.keys() - _SIZE_KEYS):
        raise ModelError(
            f"{folder}: its image processor resizes by {', '.join(unknown)}, got size "
            f"{stated!r:.80}; expected limits "
            "of the area (shortest_edge and longest_edge, or min_pixels and max_pixels), as "
            "Qwen-VL models have"
        )
    return stated


def _least_pixels(least: int, cap: int, cell_area: int, folder: Path | str) -> int:
    """The least area of a frame: the cap, where that is lower and has room for a vision token (else
    it is no cap)."""
    if not cell_area <= cap < least:
        return least
    warnings.warn(
        f"{folder}: its image processor asks for at least {least} pixels per frame, above the "
        f"limit of {cap} "
        f"({cap // cell_area} vision tokens); the limit is kept; raise it with --max-pixels",
        ModelWarning,
        stacklevel=1,  # one place, so that it is said once
    )
    return cap


def _read_settings(folder: Path) -> dict[str, Any]:
    for name, key in (
        ("processor_config.json", "image_processor"),
        ("preprocessor_config.json", None),
    ):
        path = folder / name
        if not path.is_file():
            continue
        found = read_object(path)
        settings = found.get(key) if key else found
        if settings and not isinstance(settings, dict):
            raise ModelError(
                f"{path}: {key} must be an object, got {settings!r:.80}; download the model folder "
                "again"
            )
        if settings:
            return settings
    raise ModelError(
        f"{folder} does not say how images are prepared: expected preprocessor_config.json, or "
        "processor_config.json "
        "with an image_processor section; download the complete model folder"
    )
