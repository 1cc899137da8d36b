"""The memory of this process, as the system tells it. Nothing heavy is imported."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def resident_bytes() -> int:
    """Memory of this process that is in RAM now; where the system does not say, the most it has
    ever been."""
    return _status_bytes("VmRSS") or _most_bytes()


def peak_bytes() -> int:
    """The most memory of this process that has been in RAM. Without what its parent had, which
    `ru_maxrss` counts in."""
    return _status_bytes("VmHWM") or _most_bytes()


def _status_bytes(name: str) -> int | None:
    if _STATUS.is_file():
        found = re.search(
            rf"^{name}:\s*(\d+) kB", _STATUS.read_text("ascii", "replace"), re.MULTILINE
        )
        if found:
            return int(found[1]) * 1024
    return None


def _most_bytes() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
