"""Laws of averaged checkpoints: the mean of every weight, a folder that loads, and no mean of what
does not match."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from oncue import cli
from oncue.errors import ConfigError, ModelError
from oncue.model.loading import load_model
from oncue.train.average import average_checkpoints


def changed(folder: Path, to: Path, add: float) -> Path:
    """A copy of a model folder, `add` on top of every weight."""
    shutil.copytree(folder, to)
    weights = {
        name: tensor + add for name, tensor in load_file(folder / "model.safetensors").items()
    }
    save_file(weights, to / "model.safetensors", metadata={"format": "pt"})
    (to / "trainer.pt").write_bytes(b"of one checkpoint only")
    return to


def test_every_weight_is_the_mean(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [changed(tiny_model_folder, tmp_path / f"step_{k}", 0.1 * k) for k in (1, 2, 6)]
    out = tmp_path / "mean"
    assert cli.main(["train", "average", *map(str, given), "--out", str(out)]) == 0
    assert "3 checkpoints" in capsys.readouterr().out
    plain, mean = (
        load_file(tiny_model_folder / "model.safetensors"),
        load_file(out / "model.safetensors"),
    )
    assert set(mean) == set(plain)
    for name, tensor in plain.items():
        torch.testing.assert_close(mean[name], tensor + 0.3, rtol=0, atol=1e-6)
    assert {path.name for path in out.iterdir()} == {
        path.name for path in tiny_model_folder.iterdir()
    }
    assert load_model(out, device="cpu").renderer.format.silence_text == "NO REPLY"


def test_weights_keep_their_format(tiny_model_folder: Path, tmp_path: Path) -> None:
    folders = []
    for k in (0, 1):
        folder = changed(tiny_model_folder, tmp_path / f"{k}", 0.0)
        weights = {
            name: tensor.bfloat16()
            for name, tensor in load_file(folder / "model.safetensors").items()
        }
        save_file(weights, folder / "model.safetensors")
        folders.append(folder)
    mean = load_file(average_checkpoints(folders, tmp_path / "mean") / "model.safetensors")
    assert {tensor.dtype for tensor in mean.values()} == {torch.bfloat16}
    assert all(torch.equal(mean[name], tensor) for name, tensor in weights.items())


def test_several_files_of_weights_are_averaged_one_by_one(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    folders = [changed(tiny_model_folder, tmp_path / f"{k}", 0.2 * k) for k in (0, 1)]
    for folder in folders:
        weights = sorted(load_file(folder / "model.safetensors").items())
        parts = {"a.safetensors": dict(weights[:3]), "b.safetensors": dict(weights[3:])}
        for name, part in parts.items():
            save_file(part, folder / name, metadata={"format": "pt"})
        index = {name: file for file, part in parts.items() for name in part}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
        (folder / "model.safetensors").unlink()
    out = average_checkpoints(folders, tmp_path / "mean")
    mean = load_file(out / "a.safetensors") | load_file(out / "b.safetensors")
    for name, tensor in load_file(tiny_model_folder / "model.safetensors").items():
        torch.testing.assert_close(mean[name], tensor + 0.1, rtol=0, atol=1e-6)


def test_what_has_no_mean_is_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    one, other = (changed(tiny_model_folder, tmp_path / name, 0.0) for name in ("one", "other"))
    out = tmp_path / "mean"
    with pytest.raises(ConfigError, match="at least two"):
        average_checkpoints([one], out)
    with pytest.raises(ModelError, match=r"no config\.json"):
        average_checkpoints([one, tmp_path], out)
    weights = load_file(other / "model.safetensors")
    name = next(iter(weights))
    save_file({**weights, name: weights[name].flatten()[:1]}, other / "model.safetensors")
    with pytest.raises(ConfigError, match=f"differ in {name}"):
        average_checkpoints([one, other], out)
    (other / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ConfigError, match="cannot be read"):
        average_checkpoints([one, other], out)
    assert not out.exists()
    assert {path.name for path in tmp_path.iterdir()} == {
        "one",
        "other",
    }  # nothing half done is left
    with pytest.raises(ConfigError, match="there already"):
        average_checkpoints([one, one], other)


def test_formats_are_not_mixed(tiny_model_folder: Path, tmp_path: Path) -> None:
    one, other = (changed(tiny_model_folder, tmp_path / name, 0.0) for name in ("one", "other"))
    (other / "oncue.json").write_text('{"decision_format": "token"}')
    with pytest.raises(ConfigError, match="different decision formats"):
        average_checkpoints([one, other], tmp_path / "mean")
