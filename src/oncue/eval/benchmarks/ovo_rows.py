"""The rows of OVO-Bench: its annotations, and the files that its own programs write.

Annotations: a list of {"id", "task", "video", ...}. Questions with options: {"realtime",
"question", "options", "gt"}. Forward tasks: {"test_info": [{"realtime", ...}]}, one probe each, and
for REC {"activity", "start_times"}, SSR {"tutorial", "start_time"}, CRR {"question", "ask_time",
"clue_time"}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oncue.errors import DataError
from oncue.fields import IdText, NonEmptyText, field_as
from oncue.json_files import json_file, json_rows

GROUPS: Mapping[str, tuple[str, ...]] = {
    "backward": ("EPM", "ASI", "HLD"),
    "realtime": ("OCR", "ACR", "ATR", "STU", "FPD", "OJR"),
    "forward": ("REC", "SSR", "CRR"),
}
TASKS = tuple(task for tasks in GROUPS.values() for task in tasks)
FORWARD = GROUPS["forward"]
EXPECTED = 'a row of OVO-Bench, {"id", "task", "video", ...}'

Placed = tuple[str, Mapping[str, Any]]


def annotation_rows(paths: Sequence[Path], tasks: Sequence[str]) -> Iterator[Placed]:
    """The rows of these tasks, each with its place."""
    for path in paths:
        for where, row in json_rows(path, EXPECTED):
            if task_of(row, where) in tasks:
                yield where, row


def result_rows(path: Path, tasks: Sequence[str]) -> Iterator[Placed]:
    """The rows of these tasks in a file of results, or in all files of a folder.

    A file holds {"backward": [...], "realtime": [...], "forward": [...]}, as OVO-Bench writes it,
    or a list of rows, as lmms-eval does.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} holds no file of results; expected *.json")
    for file in files:
        for where, row in _rows_of(file):
            if task_of(row, where) in tasks:
                yield where, row


def _rows_of(path: Path) -> Iterator[Placed]:
    whole = json_file(path, "results of OVO-Bench")
    if isinstance(whole, list):
        parts = {"": whole}
    else:
        held = tuple[Any, ...]
        parts = {f"{part}, ": field_as(held, whole, part, str(path)) for part in GROUPS}
    for part, rows in parts.items():
        for number, row in enumerate(rows, 1):
            yield f"{path}, {part}row {number}", row


def task_of(row: Any, where: str) -> str:
    task = field_as(NonEmptyText, row, "task", where)
    if task not in TASKS:
        raise DataError(f"{where}: 'task' must be one of {', '.join(TASKS)}, got {task!r:.40}")
    return task


def row_id(row: Any, where: str) -> str:
    return field_as(IdText, row, "id", where)


def probes_of(row: Any, where: str) -> Iterator[tuple[int, str, Any]]:
    """(number from 0, place, probe) of a forward row."""
    probes = field_as(tuple[Any, ...], row, "test_info", where)
    if not probes:
        raise DataError(f"{where}: 'test_info' is empty; expected its probes")
    for number, probe in enumerate(probes):
        yield number, f"{where}, probe {number + 1}", probe
