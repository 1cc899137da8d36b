"""How memory behaves on a stream without end, with a bounded context."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from oncue.bench.bench_settings import BenchSettings
from oncue.bench.turns import hold, video
from oncue.engine.engine import Engine, SamplingParams, Window
from oncue.model.loading import LoadedModel

_STATUS = Path("/proc/self/status")
_NUM_SAMPLES = 200


async def rss_growth_pct(
    loaded: LoadedModel,
    settings: BenchSettings,
    seed: int,
    read_bytes: Callable[[], int] | None = None,
) -> float:
    """How much more memory the process holds at the end of a bounded stream than after its warm-up,
    in percent.

    Compared are the highest readings of two stretches of one length, right after the warm-up and at
    the end: a bounded context grows and is cut again and again, so single readings go up and down.
    """
    read = read_bytes or resident_bytes
    stride = max(1, (settings.num_stream_turns - settings.num_warm_stream_turns) // _NUM_SAMPLES)
    shown = islice(video(seed), settings.num_stream_turns)
    sampling = SamplingParams(max_new_tokens=settings.max_new_tokens)
    readings: list[int] = []
    with (
        Engine(loaded, sampling, window=Window(settings.stream_window_tokens)) as engine,
        engine.open() as session,
    ):
        await hold(session, islice(shown, settings.num_warm_stream_turns))
        while (await hold(session, islice(shown, stride))).answers:
            readings.append(read())
    stretch = max(1, len(readings) // 5)
    before, after = max(readings[:stretch]), max(readings[-stretch:])
    return 100 * (after - before) / before


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
