"""What runs that can be killed and gone on with share: files of lines, settings that must stay."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oncue.errors import ConfigError


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], place: Path) -> None:
    """Raises ConfigError, with the name of the first setting of `now` that the run at `place` was
    started with another value of."""
    for name, value in now.items():
        if before.get(name) != value:
            raise ConfigError(
                f"{place} holds a run with {name} {before.get(name)!r}, this one has {value!r}; go "
                "on with the same, or give another --out"
            )


def drop_half_line(path: Path) -> None:
    """Drops what follows the last line break of a file: a line that was cut off when its writer
    was killed."""
    whole = path.read_bytes()
    kept = whole[: whole.rfind(b"\n") + 1]
    if len(kept) < len(whole):
        with path.open("r+b") as file:
            file.truncate(len(kept))


def seed_of(*parts: object) -> int:
    """The seed of a session: the same whoever else is asked, and when."""
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big")
