"""Checkpoints in Hugging Face format, with what it takes to go on from them.

A checkpoint is a folder `step_000300`: the model as anyone can load it, and `trainer.pt` (optimiser state and the step).
It appears under its name only once it is complete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from oncue.errors import ConfigError
from oncue.policy.model import LoadedModel, resolve_model

_COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "*processor*.json",
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come: the number of optimiser steps done."""

    step: int


def latest_checkpoint(folder: Path) -> Path | None:
    """The complete checkpoint with the most steps, or None."""
    found = sorted(p for p in folder.glob("step_*") if p.is_dir())
    return found[-1] if found else None


def load_progress(checkpoint: Path, optimizer: torch.optim.Optimizer) -> Progress:
    """Puts the optimiser back into the state it was saved in. Raises ConfigError for a checkpoint without one."""
    path = checkpoint / "trainer.pt"
    if not path.is_file():
        raise ConfigError(f"{checkpoint} cannot be resumed: it has no trainer.pt; start a new run from it as --model")
    state = torch.load(path, map_location="cpu", weights_only=True)
    optimizer.load_state_dict(state["optimizer"])
    return Progress(int(state["step"]))


def save_checkpoint(
    folder: Path, loaded: LoadedModel, optimizer: torch.optim.Optimizer, progress: Progress, *, keep: int
) -> Path:
    """Writes `step_NNNNNN` under `folder`, removes all but the newest `keep`, and returns the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step_{progress.step:06d}"
    partial = folder / f".partial_{progress.step:06d}"
    shutil.rmtree(partial, ignore_errors=True)
    save_model(loaded, partial)
    torch.save({"optimizer": optimizer.state_dict(), "step": progress.step}, partial / "trainer.pt")
    shutil.rmtree(final, ignore_errors=True)
    os.replace(partial, final)
    for old in sorted(folder.glob("step_*"))[:-keep]:
        shutil.rmtree(old)
    return final


def save_model(loaded: LoadedModel, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Writes weights, config, tokenizer and image processor to `folder`, in `dtype` where given."""
    folder.mkdir(parents=True, exist_ok=True)
    state = loaded.model.state_dict()
    if dtype is not None:
        state = {name: t.to(dtype) if t.is_floating_point() else t for name, t in state.items()}
    kind = loaded.model.config.dtype
    loaded.model.config.dtype = dtype or loaded.dtype
    with _no_progress_bar():
        loaded.model.save_pretrained(folder, state_dict=state)
    loaded.model.config.dtype = kind
    source = resolve_model(loaded.name)
    for pattern in _COPIED:
        for path in source.glob(pattern):
            shutil.copy2(path, folder / path.name)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
