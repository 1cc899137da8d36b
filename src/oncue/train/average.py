"""The mean of the weights of several checkpoints of one run: often better than each of them, since
their noise cancels.

Model soups (arXiv 2203.05482) and stochastic weight averaging (arXiv 1803.05407) are this.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from oncue.errors import ConfigError
from oncue.files import as_new_files, prepare_folder, system_error
from oncue.hub import weight_files
from oncue.model.loading import check_folder
from oncue.render.folder import read_decision_name

_OF_TRAINING = "trainer.pt"  # says how to go on from one checkpoint, which nobody can from a mean


def average_checkpoints(checkpoints: Sequence[Path], out: Path) -> Path:
    """Writes a model folder `out` with the mean of the weights (in float32, stored as they were)
    and everything else of the last of `checkpoints`. A file of weights is in memory once per
    checkpoint.

    Raises ConfigError for fewer than two, for checkpoints of different models, and where `out` is
    there already; ModelError for a folder that is no model.
    """
    if len(checkpoints) < 2:
        raise ConfigError(f"a mean needs at least two checkpoints, got {len(checkpoints)}")
    if out.exists():
        raise ConfigError(f"{out} is there already; give another --out")
    for checkpoint in checkpoints:
        check_folder(checkpoint)
    files = [weight_files(checkpoint) for checkpoint in checkpoints]
    for other, names in zip(checkpoints, files, strict=True):
        if [file.name for file in names] != [file.name for file in files[-1]]:
            raise ConfigError(
                f"{other} and {checkpoints[-1]} are stored in different files; give one run's "
                "checkpoints"
            )
    for other in checkpoints:
        if read_decision_name(other) != read_decision_name(checkpoints[-1]):
            raise ConfigError(
                f"{other} and {checkpoints[-1]} have different decision formats; give one run's "
                "checkpoints"
            )
    prepare_folder(out.parent)
    partial = out.with_name(f".partial_{out.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(
            checkpoints[-1], partial, ignore=shutil.ignore_patterns(_OF_TRAINING, "*.safetensors")
        )
        for same in zip(*files, strict=True):
            _write(_mean(same), partial / same[-1].name, out)
        as_new_files(partial)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _write(tensors: dict[str, torch.Tensor], path: Path, out: Path) -> None:
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise (system_error(error, out) or error) from error


def _mean(files: Sequence[Path]) -> dict[str, torch.Tensor]:
    """The mean of every tensor of these files, which must hold the same."""
    loaded = [_tensors(file) for file in files]
    shapes = [
        {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
        for tensors in loaded
    ]
    for file, of_file in zip(files, shapes, strict=True):
        differing = sorted(name for name, _ in set(of_file.items()) ^ set(shapes[-1].items()))
        if differing:
            raise ConfigError(
                f"{file} and {files[-1]} differ in {differing[0]}; give checkpoints of one model"
            )
    return {
        name: torch.stack([tensors[name].float() for tensors in loaded]).mean(0).to(last.dtype)
        for name, last in loaded[-1].items()
    }


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    try:
        with safe_open(file, "pt") as stored:
            return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            f"the weights in {file} cannot be read ({error}); give complete checkpoints"
        ) from error
