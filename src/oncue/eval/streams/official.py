"""Reading the files of benchmarks: one JSON object, or a folder of files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oncue.errors import DataError


def object_of(path: Path, expected: str) -> Mapping[str, Any]:
    """The JSON object that a file holds. Raises DataError for anything else."""
    try:
        value = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); expected {expected}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); expected {expected}") from error
    if not isinstance(value, Mapping):
        raise DataError(f"{path} holds {value!r:.60}; expected {expected}")
    return value


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
