"""Whether the files a run trains on are those it was started with, row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

_DIGITS = 12  # of the digest of a row
_NAMED = 5  # rows named where several differ


@dataclass(frozen=True, slots=True)
class FileDigest:
    """The SHA-256 of a file, and the beginning of that of each of its lines, without blank space
    around it. An older version wrote no `lines` (None)."""

    sha256: str
    lines: tuple[str, ...] | None

    @classmethod
    def of(cls, path: Path) -> FileDigest:
        whole, lines = hashlib.sha256(), []
        with path.open("rb") as file:
            for line in file:
                whole.update(line)
                lines.append(hashlib.sha256(line.strip()).hexdigest()[:_DIGITS])
        return cls(whole.hexdigest(), tuple(lines))

    @classmethod
    def from_plain(cls, plain: Any) -> FileDigest | None:
        """What `plain` reads back; None for what is none."""
        if isinstance(plain, str):
            return cls(plain, None)
        if not isinstance(plain, Mapping):
            return None
        lines = str(plain.get("lines", ""))
        return cls(
            str(plain.get("sha256")),
            tuple(lines[k : k + _DIGITS] for k in range(0, len(lines), _DIGITS)),
        )

    def plain(self) -> dict[str, str]:
        """As JSON holds it: the digests of the lines in one text."""
        return {"sha256": self.sha256, "lines": "".join(self.lines or ())}


def changed_rows(before: FileDigest, now: FileDigest) -> str:
    """Which rows differ, in words, counted by the lines of the file; "" where none does."""
    if before.sha256 == now.sha256:
        return ""
    if before.lines is None or now.lines is None:
        return "which rows differ is not known"
    pairs = enumerate(zip_longest(before.lines, now.lines, fillvalue=_EMPTY), start=1)
    rows = [number for number, (old, new) in pairs if old != new]
    if not rows:
        return ""
    num_before, num_now = _num_rows(before.lines), _num_rows(now.lines)
    if num_before != num_now:
        return (
            f"it has {num_now:,} rows, it had {num_before:,}; the first that "
            f"differs is row {rows[0]}"
        )
    more = f" and {len(rows) - _NAMED:,} more" if len(rows) > _NAMED else ""
    named = ", ".join(map(str, rows[:_NAMED]))
    return f"row {named} differs" if len(rows) == 1 else f"rows {named}{more} differ"


_EMPTY = hashlib.sha256().hexdigest()[:_DIGITS]


def _num_rows(lines: tuple[str, ...]) -> int:
    return sum(line != _EMPTY for line in lines)
