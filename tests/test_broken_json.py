"""JSON that no reader can hold (too deep, numbers too long) or that has another form: one line and
exit code 2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from oncue import cli
from oncue.errors import ModelError
from oncue.hub import BUNDLED_FOLDERS
from oncue.model.loading import load_model

DEEP = "[" * 100_000
LONG = "[" + "9" * 5_000 + "]"


def told(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What is said of a call that is refused: one line."""
    assert cli.main([*map(str, words)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("text", [DEEP, LONG], ids=["deep", "long"])
def test_a_file_that_cannot_be_held(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    assert "is not valid JSON" in told(capsys, "render", path)
    assert "is not JSON" in told(capsys, "eval", "clips", path, "--videos", tmp_path)
    shutil.copytree(BUNDLED_FOLDERS["mini"], tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(text)
    assert "cannot be read as JSON" in told(
        capsys, "render", _row(tmp_path, "?"), "--ids", "--model", tmp_path / "model"
    )


def test_half_a_character_in_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "half of a character" in told(capsys, "render", _row(tmp_path, "\ud800"))


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": ["x"]},
        {"text_config": [1]},
        {"vision_config": [1]},
        {"rope_scaling": "yarn", "text_config": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_config_of_another_form(change: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(BUNDLED_FOLDERS["mini"], tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=r"expected one of|must be an object"):
        load_model(tmp_path / "model", "cpu")


def test_an_empty_name_is_no_wish_for_the_bundled_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "the name of the model is empty" in told(
        capsys, "render", _row(tmp_path, "?"), "--ids", "--model", ""
    )


def _row(folder: Path, question: str) -> Path:
    path = folder / "row.json"
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": "Yes."}]
    path.write_text(json.dumps({"messages": messages}))
    return path
