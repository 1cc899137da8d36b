"""Finds out whether memory has run out, from what torch, numpy and the system say. Nothing heavy is
imported."""

from __future__ import annotations

import errno
import re

from oncue.errors import BackendError, RunStoppedError

# Of CUDA, the CPU, cuBLAS, a worker
_SAYS_SO = ("out of memory", "can't allocate memory", "_ALLOC_FAILED", "MemoryError")
_SIZE = re.compile(r"(?:tried|unable) to allocate ([\d.]+) ?([KMGTPE]i?B|bytes)", re.IGNORECASE)
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def lack_of_memory(error: BaseException) -> str | None:
    """What to say first of an error that came of too little memory, such as "out of memory (20.00
    MiB more could not be had)"; None for any other error, and for one whose own text says what to
    do.

    What the error was raised from counts, too: a loader may call it a broken model.
    """
    if isinstance(error, RunStoppedError | BackendError):
        return None
    found: BaseException | None = error
    while found is not None and not _is_lack(found):
        found = found.__cause__
    if found is None:
        return None
    size = _SIZE.search(str(found))
    return "out of memory" + (
        f" ({_readable(size[1], size[2])} more could not be had)" if size else ""
    )


def _is_lack(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(w in said for w in _SAYS_SO)
    )


def _readable(number: str, unit: str) -> str:
    if unit.lower() != "bytes":
        return f"{number} {unit}"
    return readable_bytes(int(number))


def readable_bytes(num_bytes: float) -> str:
    """A size for people, such as "1.5 GiB"."""
    power = 0
    while num_bytes >= 1024 and power < len(_UNITS) - 1:
        num_bytes, power = num_bytes / 1024, power + 1
    return f"{num_bytes:.0f} B" if power == 0 else f"{num_bytes:.1f} {_UNITS[power]}"
