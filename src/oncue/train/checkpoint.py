"""Checkpoints in Hugging Face format, with what it takes to go on from them.

A checkpoint is a folder `step_000300`: the model as anyone can load it, and `trainer.pt` (the state
of the optimiser, the step, and the numbers not logged yet). It appears under its name only once it
is complete.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from oncue.errors import ConfigError, ModelError, RunStoppedError
from oncue.files import as_new_files, disk_of, system_error
from oncue.model.loading import LoadedModel
from oncue.out_of_memory import lack_of_memory
from oncue.render.folder import own_file
from oncue.render.images import FrameProcessor
from oncue.render.qwen_vl import QwenVLRenderer

_SIDE_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.*",
    "vocab.json",
    "merges.txt",
    "*processor*.json",
)
_NAME = re.compile(r"step_(\d+)")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come: the optimiser steps done, what its meter has collected but not
    logged, and what the rewards of a batch remember of earlier ones (`shaping`)."""

    step: int
    unlogged: Mapping[str, Any] = field(default_factory=dict)
    shaping: Mapping[str, Any] = field(default_factory=dict)


def latest_checkpoint(folder: Path) -> Path | None:
    """The complete checkpoint with the most steps, or None."""
    found = _checkpoints(folder)
    return found[-1] if found else None


def load_progress(
    checkpoint: Path,
    optimizer: torch.optim.Optimizer,
    place: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Progress:
    """Puts the optimiser back into the state it was saved in. Raises ConfigError for a checkpoint
    without one, or with one that cannot be read.

    `place` moves the state of a whole model to where the optimiser wants it, which may be a part of
    it only.
    """
    path = checkpoint / "trainer.pt"
    if not path.is_file():
        raise ConfigError(
            f"{checkpoint} cannot be resumed: it has no trainer.pt; start a new run from it as "
            "--model"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=place is not None)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        # A file that was cut, or is none of torch's
        reason = str(error).partition("\n")[0].partition(". ")[0] or "it ends too soon"
        raise ConfigError(
            f"{path} cannot be read ({reason}); remove the folder {checkpoint}, and --resume auto "
            "goes on from the "
            "checkpoint before it, or from the start"
        ) from error
    missing = {"optimizer", "step", "unlogged"} - (
        state.keys() if isinstance(state, dict) else set()
    )
    if missing:
        raise ConfigError(
            f"{path} lacks {sorted(missing)[0]!r}; start a new run with --model {checkpoint}"
        )
    optimizer.load_state_dict(place(state["optimizer"]) if place else state["optimizer"])
    return Progress(int(state["step"]), state["unlogged"], state.get("shaping", {}))


def save_checkpoint(
    folder: Path,
    loaded: LoadedModel,
    optimizer_state: Mapping[str, Any],
    progress: Progress,
    beside_weights: Mapping[str, bytes],
    *,
    keep: int,
    write_more: Callable[[Path], None] | None = None,
) -> Path:
    """Writes `step_NNNNNN` under `folder`, removes all but the newest `keep` (>= 1), and returns
    the new one. `write_more` writes what else belongs into it.

    Raises RunStoppedError where it cannot be written. The checkpoints before it stay then, and
    nothing of the new one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left_behind in folder.glob(".partial_*"):
        shutil.rmtree(left_behind)
    final = folder / f"step_{progress.step:06d}"
    partial = folder / f".partial_{progress.step:06d}"
    state = {
        "optimizer": optimizer_state,
        "step": progress.step,
        "unlogged": dict(progress.unlogged),
        **({"shaping": dict(progress.shaping)} if progress.shaping else {}),
    }
    try:
        save_model(loaded, partial, beside_weights)
        if write_more is not None:
            write_more(partial)
        # Of a file it opens itself torch loses the system's reason
        with (partial / "trainer.pt").open("wb") as file:
            torch.save(state, file)
        as_new_files(partial)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
    except (OSError, RuntimeError, SafetensorError) as error:
        # Each writer has its own for a full disk
        if lack_of_memory(error):
            raise
        raise _unwritten(final, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # not there, unless something went wrong
    for old in _checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def _unwritten(checkpoint: Path, error: Exception) -> RunStoppedError:
    """The error of a checkpoint that cannot be written, with what to do."""
    said = system_error(error, checkpoint)
    reason = said.strerror if said else str(error).partition("\n")[0]
    newest = latest_checkpoint(checkpoint.parent)
    return RunStoppedError(
        f"the checkpoint {checkpoint} cannot be written ({reason}; {disk_of(checkpoint)}); make "
        "room, then the same "
        f"command with --resume auto goes on from {newest or 'the start'}"
    )


def not_finite(step: int, loss: float, grad_norm: float, checkpoints: Path) -> RunStoppedError:
    """The error of a step whose update must not reach the weights, with what to do."""
    newest = latest_checkpoint(checkpoints)
    go_on = f"start a new run with --model {newest}" if newest else "start again"
    return RunStoppedError(
        f"step {step} has loss {loss} and gradient norm {grad_norm}; {go_on} and a lower "
        "--learning-rate"
    )


def ruined(step: int, error: ModelError, checkpoints: Path) -> RunStoppedError:
    """The error of a model that could not be used any more after `step`, whose weights must not be
    saved."""
    newest = latest_checkpoint(checkpoints)
    go_on = f"start a new run with --model {newest}, or one before it," if newest else "start again"
    what = str(error).partition(";")[0]
    return RunStoppedError(f"after step {step} {what}; {go_on} and a lower --learning-rate")


def save_model(loaded: LoadedModel, folder: Path, beside_weights: Mapping[str, bytes]) -> None:
    """Writes weights and config to `folder`, and `beside_weights` (see `side_files`)."""
    folder.mkdir(parents=True, exist_ok=True)
    with no_progress_bar():
        loaded.model.save_pretrained(folder, state_dict=loaded.model.state_dict())
    for name, content in beside_weights.items():
        (folder / name).write_bytes(content)


def side_files(source: Path, renderer: QwenVLRenderer) -> dict[str, bytes]:
    """Tokenizer, chat template and image processor of the model in `source`: what its checkpoints
    carry unchanged.

    Read once, because `source` may be a checkpoint that is removed later. The image processor gets
    the limits of `renderer`, and the decision format is its own: whoever loads the checkpoint shows
    turns as it was trained on them.
    """
    found = {
        path.name: path.read_bytes()
        for pattern in _SIDE_FILES
        for path in sorted(source.glob(pattern))
    }
    found |= own_file(renderer.decision_name)
    frames = renderer.frame_processor
    if FrameProcessor.from_pretrained(source) == frames:
        return found
    for name in ("preprocessor_config.json", "processor_config.json"):
        settings = json.loads(found.get(name, b"{}"))
        image = settings.get("image_processor") if name.startswith("processor") else settings
        if image:
            image["size"] = {"shortest_edge": frames.min_pixels, "longest_edge": frames.max_pixels}
            for key in ("min_pixels", "max_pixels"):
                image.pop(key, None)
            found[name] = (json.dumps(settings, indent=2) + "\n").encode()
    return found


def _checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints, by step."""
    named = [
        (match, path) for path in folder.glob("step_*") if (match := _NAME.fullmatch(path.name))
    ]
    return [
        path for _, path in sorted((int(match[1]), path) for match, path in named if path.is_dir())
    ]


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Writes models without transformers' own bar on stderr."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
