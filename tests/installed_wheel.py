"""Tries an installed oncue as a stranger would; `make wheel` runs it from an empty folder.

Usage: python -I installed_wheel.py SOURCE, where SOURCE is the package in the source tree. Ends
with exit code 1 and what is wrong.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import oncue
from oncue import cli


def files_of(package: Path) -> set[str]:
    """Whatever is in a package, but for what Python keeps beside it."""
    found = (path for path in package.rglob("*") if path.is_file())
    return {str(p.relative_to(package)) for p in found if "__pycache__" not in p.parts}


def check_files(source: Path) -> None:
    """Modules, page templates and bundled models are those of the source tree, no less, no
    more."""
    installed = Path(oncue.__file__).parent
    if not installed.is_relative_to(sys.prefix):
        sys.exit(f"oncue was imported from {installed}, not from the environment {sys.prefix}")
    if differs := files_of(source) ^ files_of(installed):
        sys.exit(f"source tree and wheel do not hold the same files: {sorted(differs)}")


def check_names() -> None:
    """Every name of the package can be had."""
    for name in oncue.__all__:
        getattr(oncue, name)


def check_script() -> None:
    """The command is on the path of the environment, and is that of this package."""
    command = [str(Path(sys.executable).parent / "oncue"), "--version"]
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=own).stdout
    if oncue.__version__ not in said:
        sys.exit(f"{' '.join(command)} says {said!r}, not {oncue.__version__}")


def run(*words: str) -> str:
    """What a command says, run in this process: a new one would import torch once more."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        if code := cli.main(list(words)):
            sys.exit(f"oncue {' '.join(words)} ended with exit code {code}")
    return said.getvalue()


def check_watching() -> None:
    """The bundled model sees something in a generated video, and says so."""
    with tempfile.TemporaryDirectory() as folder:
        run("world", "make", f"{folder}/shapes", "--world", "shapes", "--count", "3")
        video = max(Path(folder, "shapes", "videos").glob("*.mp4"))
        ask = ("--ask", "Tell me whenever something appears.")
        lines = run("watch", str(video), *ask, "--json", "--out", f"{folder}/seen").splitlines()
        if not any(json.loads(line).get("type") == "reply" for line in lines):
            sys.exit(f"the bundled model said nothing about {video.name}: {lines}")
        if not (page := Path(folder, "seen", "index.html")).is_file():
            sys.exit(f"there is no page {page}")


if __name__ == "__main__":
    check_files(Path(sys.argv[1]))
    check_names()
    check_script()
    check_watching()
    print(f"the wheel of oncue {oncue.__version__} works")
