"""The names of `import oncue`, and the examples of docs/python.md and README.md."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import oncue
from oncue.cli import main

ROOT = Path(__file__).parent.parent


def typed_names() -> dict[str, str]:
    """What type checkers see: name and module of every import for them alone."""
    tree = ast.parse(Path(oncue.__file__).read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name: node.module or ""
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_types_and_the_table_name_the_same() -> None:
    assert typed_names() == oncue._MODULE_OF


@pytest.mark.parametrize("name", oncue.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    assert getattr(oncue, name).__doc__
    assert name in dir(oncue)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'watcher'"):
        _ = oncue.watcher


def test_the_import_loads_no_torch() -> None:
    code = (
        "import sys, oncue; oncue.Task, oncue.open_policy, oncue.LocalModel; "
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    light = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert light.stdout.split() == ["False", "True"]


def examples(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize(("page", "num_examples"), [("README.md", 1), ("docs/python.md", 6)])
def test_the_examples_run(
    page: str, num_examples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["world", "make", str(tmp_path / "world"), "--split", "test", "--count", "1"])
    (made,) = (tmp_path / "world" / "videos").glob("*.mp4")
    made.rename(tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    found = examples(page)
    assert len(found) == num_examples
    names: dict[str, object] = {"__name__": "example"}
    for number, code in enumerate(found, 1):
        exec(compile(code, f"{page}, example {number}", "exec"), names)
    if page == "docs/python.md":
        assert names["asked"].option == "B. a square"  # type: ignore[attr-defined]
    seen = names["seen"]
    assert seen.summary.num_turns >= 4  # type: ignore[attr-defined]
