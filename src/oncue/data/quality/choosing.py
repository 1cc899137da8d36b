"""A few rows of a file of any length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oncue.data.proactive_rows import EXPECTED, ProactiveRow, read_proactive_row
from oncue.errors import DataError
from oncue.json_files import filled_lines, json_object


def sampled_rows(path: Path, number: int, seed: int) -> list[ProactiveRow]:
    """`number` rows drawn at random, in the order of the file; all where there are no more. Raises
    DataError for a file without rows, and for a row that breaks its format."""
    rng = np.random.default_rng(seed)
    held: list[tuple[int, str, bytes]] = []
    for index, (where, line) in enumerate(filled_lines(path, EXPECTED)):
        if len(held) < number:
            held.append((index, where, line))
        elif (place := int(rng.integers(0, index + 1))) < number:
            held[place] = (index, where, line)
    if not held:
        raise DataError(f"{path} holds no row; expected {EXPECTED} on each line")
    return [_row(where, line) for _, where, line in sorted(held)]


def named_rows(path: Path, row_ids: Sequence[str]) -> list[ProactiveRow]:
    """The rows of these ids, in the order of the ids. Raises DataError for an id that no row has,
    and for a line that is no JSON object."""
    wanted = set(row_ids)
    found: dict[str, ProactiveRow] = {}
    for where, line in filled_lines(path, EXPECTED):
        row_id = json_object(line, where, EXPECTED).get("row_id")
        if isinstance(row_id, str) and row_id in wanted:
            found.setdefault(row_id, _row(where, line))
    if missing := [row_id for row_id in row_ids if row_id not in found]:
        raise DataError(f"{path} has no row with the id {missing[0]!r:.80}; give one it has")
    return [found[row_id] for row_id in dict.fromkeys(row_ids)]


def _row(where: str, line: bytes) -> ProactiveRow:
    return read_proactive_row(json_object(line, where, EXPECTED), where)
