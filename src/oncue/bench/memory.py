"""How memory behaves on a stream without end, with a bounded context."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from oncue.bench.bench_settings import BenchSettings
from oncue.bench.process_memory import resident_bytes
from oncue.bench.turns import hold, video
from oncue.engine.engine import Engine, SamplingParams, Window
from oncue.model.loading import LoadedModel

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
