"""The files of benchmarks: one, or those of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oncue.errors import DataError


def files_of(path: Path, pattern: str) -> Sequence[Path]:
    """`path` itself, or the files of the folder `path`, at any depth, whose names match `pattern`.

    Raises DataError for a folder without such a file.
    """
    if not path.is_dir():
        return (path,)
    found = tuple(sorted(p for p in path.rglob(pattern) if p.is_file()))
    if not found:
        raise DataError(f"{path} holds no file {pattern}; give a folder that does, or a file")
    return found
