"""A checkpoint is read safely, says what it holds, has the mode of any file, and is there as a
whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from oncue.errors import ConfigError, RunStoppedError
from oncue.model.loading import LoadedModel, load_model
from oncue.train import checkpoint
from oncue.train.average import average_checkpoints
from oncue.train.checkpoint import (
    Progress,
    latest_checkpoint,
    load_progress,
    save_checkpoint,
    save_model,
    side_files,
)
from oncue.train.run_dir import RunDirectory


def saved(
    folder: Path,
    loaded: LoadedModel,
    step: int = 1,
    state: Any = None,
    beside: dict[str, bytes] | None = None,
) -> Path:
    state = state or torch.optim.AdamW(loaded.model.parameters()).state_dict()
    return save_checkpoint(folder, loaded, state, Progress(step), beside or {}, keep=2)


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Call it, and no file may grow beyond so many bytes: writing really fails, as on a full
    disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda num_bytes: resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Strange:
    """What a pickle may do when it is read: here it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, tiny_loaded: LoadedModel) -> None:
    optimizer = torch.optim.AdamW(tiny_loaded.model.parameters())
    state = {"optimizer": Strange(tmp_path / "made"), "step": 1, "unlogged": {}}
    torch.save(state, tmp_path / "trainer.pt")
    with pytest.raises(ConfigError, match=r"trainer\.pt cannot be read"):
        load_progress(tmp_path, optimizer)
    assert not (tmp_path / "made").exists()
    torch.load(tmp_path / "trainer.pt", weights_only=False)
    assert (tmp_path / "made").exists()  # control


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "it ends too soon"), (b"no state", "Weights only load failed")]
)
def test_a_state_that_cannot_be_read_comes_with_the_reason(
    tmp_path: Path, tiny_loaded: LoadedModel, content: bytes, reason: str
) -> None:
    optimizer = torch.optim.AdamW(tiny_loaded.model.parameters())
    (tmp_path / "trainer.pt").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"trainer\.pt cannot be read \({reason}\); remove"):
        load_progress(tmp_path, optimizer)


def test_a_checkpoint_says_the_type_of_its_weights(
    tmp_path: Path, tiny_model_folder: Path, tiny_loaded: LoadedModel
) -> None:
    """Those of a run are float32, also where it began with a model stored in another type."""
    half = load_model(tiny_model_folder, "cpu", "bfloat16")
    beside = side_files(tiny_model_folder, tiny_loaded.renderer)
    save_model(half, tmp_path / "half", beside)
    save_model(load_model(tmp_path / "half", "cpu", "float32"), tmp_path / "whole", beside)
    for name, dtype in (("half", torch.bfloat16), ("whole", torch.float32)):
        assert (
            json.loads((tmp_path / name / "config.json").read_text())["dtype"]
            == str(dtype).partition(".")[2]
        )
        assert {
            tensor.dtype for tensor in load_file(tmp_path / name / "model.safetensors").values()
        } == {dtype}


@pytest.mark.parametrize("name", ["preprocessor_config.json", "processor_config.json"])
def test_limits_of_frames_are_those_of_the_run_alone(
    tmp_path: Path, tiny_model_folder: Path, name: str
) -> None:
    """Older folders have `min_pixels` and `max_pixels`, which would win over the size beside
    them."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings.pop("size", None)
    settings |= {"min_pixels": 28 * 28, "max_pixels": 64 * 28 * 28}
    (folder / "preprocessor_config.json").unlink()
    plain = settings if name.startswith("pre") else {"image_processor": settings}
    (folder / name).write_text(json.dumps(plain))
    renderer = load_model(folder, "cpu", max_pixels=6 * 28 * 28).renderer
    written = json.loads(side_files(folder, renderer)[name])
    image = written if name.startswith("pre") else written["image_processor"]
    assert image["size"] == {"shortest_edge": 28 * 28, "longest_edge": 6 * 28 * 28}
    assert not {"min_pixels", "max_pixels"} & set(image)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_every_file_has_the_mode_of_any_new_file(
    tmp_path: Path, tiny_loaded: LoadedModel, mask: int
) -> None:
    before = os.umask(mask)
    try:
        folders = [saved(tmp_path / "checkpoints", tiny_loaded, step) for step in (1, 2)]
        folders.append(average_checkpoints(folders, tmp_path / "mean"))
    finally:
        os.umask(before)
    files = [path for folder in folders for path in folder.iterdir()]
    assert {"model.safetensors", "trainer.pt"} < {path.name for path in files}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~mask}


@pytest.mark.parametrize(
    "num_bytes", [1000, 600_000]
)  # in the weights, in the state of the optimiser
def test_a_full_disk_leaves_the_checkpoint_before_and_nothing_else(
    tmp_path: Path,
    tiny_model_folder: Path,
    tiny_loaded: LoadedModel,
    small_files: Callable[[int], None],
    num_bytes: int,
) -> None:
    first = saved(tmp_path, tiny_loaded, beside=side_files(tiny_model_folder, tiny_loaded.renderer))
    size = (first / "model.safetensors").stat().st_size
    state = {"state": {0: torch.zeros(size)}}  # four times the weights
    small_files(num_bytes if num_bytes < size else 2 * size)
    with pytest.raises(RunStoppedError) as caught:
        saved(tmp_path, tiny_loaded, 2, state)
    said = str(caught.value)
    assert said.startswith(
        f"the checkpoint {tmp_path / 'step_000002'} cannot be written (File too large; the disk at "
    )
    assert "free); make room, then" in said
    assert said.endswith(str(first))
    assert list(tmp_path.iterdir()) == [first]
    assert load_progress(first, torch.optim.AdamW(tiny_loaded.model.parameters())) == Progress(1)
    load_model(first, "cpu")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        ),
    ],
)
def test_every_writer_of_a_full_disk_says_the_same(
    tmp_path: Path, tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(checkpoint, "save_model", fails)
    with pytest.raises(
        RunStoppedError,
        match=r"\(No space left on device; the disk at /.* free\).* from the start$",
    ):
        saved(tmp_path, tiny_loaded)
    assert latest_checkpoint(tmp_path) is None


def test_a_line_of_metrics_is_written_as_a_whole_or_not_at_all(
    tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    run = RunDirectory(tmp_path)
    run.log({"step": 1, "loss": 0.5})
    before = (tmp_path / "metrics.jsonl").read_bytes()
    small_files(len(before) + 10)
    with pytest.raises(OSError, match="File too large") as caught:
        run.log({"step": 2, "loss": 0.25})
    assert caught.value.filename == str(tmp_path / "metrics.jsonl")
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
