"""Small runs on the tiny model, and dialogues to train on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from oncue.clock import Clock
from oncue.data.dialogue_sources import WorldSource
from oncue.dialogue.write import Placement
from oncue.model.loading import LoadedModel
from oncue.render.base import PatchedFrame
from oncue.train.samples import TrainingSample, to_sample
from oncue.train.sft.settings import SftConfig, Stage
from oncue.types import Dialogue

SHAPES = WorldSource(
    worlds={"shapes": 1.0}, num_turns=(3, 4), mean_gap_s=1.0, placement=Placement.START
)


def small_config(model: Path | str, **changes: Any) -> SftConfig:
    """Six steps in two stages, everything in this process, on the CPU."""
    config = SftConfig(
        model=str(model),
        stages=(Stage("one", SHAPES, 2, 4), Stage("two", replace(SHAPES, num_turns=(2, 2)), 2, 2)),
        frame_interval_s=1.0,
        frames_per_turn=1,
        learning_rate=1e-3,
        device="cpu",
        num_workers=0,
        log_every_steps=4,
        save_every_steps=2,
        gradient_checkpointing=False,
        freeze_vision=False,
    )
    return replace(config, **changes)


def silent(_: dict[str, Any]) -> None:
    """A report that goes nowhere."""


def drawn(
    index: int, frames_per_turn: int = 2, num_turns: tuple[int, int] = (4, 6)
) -> tuple[Dialogue, list]:
    """A gold dialogue of the shapes world with at least one reply, and its frames."""
    source = replace(SHAPES, num_turns=num_turns, empty_frac=0.0)
    return source.item(index, 3, Clock(1.0), frames_per_turn)


def patched(loaded: LoadedModel, frames: list[np.ndarray]) -> list[PatchedFrame]:
    return [loaded.renderer.frame_processor(frame) for frame in frames]


def samples(loaded: LoadedModel, count: int, **options: Any) -> list[TrainingSample]:
    """Samples of different lengths."""
    return [
        to_sample(*drawn(i, num_turns=(2 + i, 2 + i)), loaded.renderer, **options)  # type: ignore[arg-type]
        for i in range(count)
    ]


def metrics(run: Path) -> list[dict[str, Any]]:
    """What was logged, without what depends on the clock on the wall."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "tokens_per_s"} for row in rows]


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(checkpoint / "model.safetensors")


def same_weights(one: Path, two: Path) -> bool:
    """Bit for bit."""
    first, second = weights(one), weights(two)
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )
