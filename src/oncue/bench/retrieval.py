"""What retrieval episodes cost on the engine: all of them at once against one after the other, and
where the time goes.

The policy is a model with random weights. It thinks and decodes as ever, a fixed number of tokens
per turn; what it then does is scripted, so that every episode looks twice and answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import torch

from oncue.bench.models import SHAPE_3B, SHAPE_15M, random_model
from oncue.bench.turns import video
from oncue.engine.engine import Engine, SamplingParams
from oncue.env.retrieval import RetrievalEnv, RetrievalSettings
from oncue.model.loading import LoadedModel, pick_device
from oncue.rollout import run_episode
from oncue.types import (
    Action,
    Answer,
    EnvTurn,
    Episode,
    FrameBatch,
    PolicySession,
    PolicyTurn,
    Question,
    Retrieve,
    Task,
)
from oncue.video.pool import FramePool

FRAME_PX = (112, 224)  # 32 vision tokens, as in the published training
_TASK = Task(
    "bench",
    (Question("What does the man do after he comes in?"),),
    options=("eats", "sits", "reads"),
)
_DURATION_S = 180.0


@dataclass(frozen=True, slots=True)
class RetrievalBenchSettings:
    """How many episodes, at once and one by one; how often each is timed; how long an answer is;
    what is shown of a pool of `num_pool_frames`. Every episode takes all of its turns."""

    num_episodes: int = 8
    num_rounds: int = 3
    answer_tokens: int = 40
    num_pool_frames: int = 64
    shown: RetrievalSettings = field(default_factory=RetrievalSettings)


@dataclass(slots=True)
class Parts:
    """Seconds spent in the vision encoder, in forwards that show turns (`prefill_s`), in those that
    only add a token to each answer (`decode_s`), and in all (`total_s`). What is left goes to
    frames, logits, sampling and the loop. `cpu_s`: of all threads together, which other work on the
    machine hardly changes."""

    total_s: float = 0.0
    cpu_s: float = 0.0
    vision_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    num_prefill_tokens: int = 0
    num_decode_tokens: int = 0
    num_decode_steps: int = 0

    @property
    def other_s(self) -> float:
        return self.total_s - self.vision_s - self.prefill_s - self.decode_s


def random_policy(device: str | None, seed: int) -> LoadedModel:
    """The model that is measured, whose answers are as long as the limit allows."""
    place = pick_device(device)
    on_gpu = place.type == "cuda"
    shape, dtype = (SHAPE_3B, torch.bfloat16) if on_gpu else (SHAPE_15M, torch.float32)
    return random_model(shape, "wordy", place, dtype, seed=seed)


class ScriptedActions:
    """A PolicySession that lets `session` speak, and does `actions` whatever was said."""

    def __init__(self, session: PolicySession, actions: Iterable[Action]) -> None:
        self._session, self._actions = session, iter(actions)

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        said = await self._session.respond(observed)
        return replace(said, action=next(self._actions))

    def close(self) -> None:
        self._session.close()


@contextmanager
def timed(loaded: LoadedModel) -> Iterator[Parts]:
    """Where the time goes while this is open, by the modules of the model."""
    parts, started_s = Parts(), {}
    vision, decoder = loaded.model.model.visual, loaded.model.model.language_model

    def now_s() -> float:
        if loaded.device.type == "cuda":
            torch.cuda.synchronize(loaded.device)
        return time.perf_counter()

    def begins(module: torch.nn.Module, *_: object) -> None:
        started_s[module] = now_s()

    def saw(module: torch.nn.Module, *_: object) -> None:
        parts.vision_s += now_s() - started_s[module]

    def decoded(module: torch.nn.Module, _: object, given: dict[str, Any], __: object) -> None:
        took_s = now_s() - started_s[module]
        lengths = [end - first for _, first, end, _ in given["rows"]]
        if max(lengths) > 1:
            parts.prefill_s += took_s
            parts.num_prefill_tokens += sum(lengths)
            return
        parts.decode_s += took_s
        parts.num_decode_tokens += sum(lengths)
        parts.num_decode_steps += 1

    hooks = [
        vision.register_forward_pre_hook(begins),
        vision.register_forward_hook(saw),
        decoder.register_forward_pre_hook(begins, with_kwargs=False),
        decoder.register_forward_hook(decoded, with_kwargs=True),
    ]
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    try:
        yield parts
    finally:
        parts.total_s, parts.cpu_s = now_s() - began_s, time.process_time() - began_cpu_s
        for hook in hooks:
            hook.remove()


def random_pool(seed: int, num_frames: int) -> FramePool:
    """A pool of frames of random colours."""
    pixels = [turn.frames.pixels[0] for turn in islice(video(seed, FRAME_PX), num_frames)]
    times_s = np.arange(num_frames) * _DURATION_S / num_frames
    return FramePool(FrameBatch(np.stack(pixels), times_s), _DURATION_S)


def script(seed: int, settings: RetrievalBenchSettings) -> list[Action]:
    """Looks of one part each, as long as turns are left, and an answer."""
    random, num_frames = np.random.default_rng(seed), settings.num_pool_frames
    width = min(num_frames, 2 * settings.shown.frames_per_look)
    starts = random.integers(0, num_frames - width + 1, settings.shown.max_turns - 1)
    return [*[Retrieve(int(s), int(s) + width - 1) for s in starts], Answer("B")]


async def play(
    engine: Engine, pools: Mapping[int, FramePool], settings: RetrievalBenchSettings
) -> list[Episode]:
    """One episode for each of `pools`, with the script of its number, all at once."""

    async def one(number: int, pool: FramePool) -> Episode:
        env = RetrievalEnv(pool, _TASK, settings.shown)
        last_turns = settings.shown.last_turns
        window = None if last_turns is None else engine.window_of_turns(last_turns)
        with engine.open(env.system, window=window, action_format=env.format) as session:
            scripted = ScriptedActions(session, script(number, settings))
            return await run_episode(env, scripted, _TASK, keep_frames=False)

    return list(await asyncio.gather(*(one(k, pool) for k, pool in pools.items())))


async def measure_retrieval(
    loaded: LoadedModel,
    settings: RetrievalBenchSettings,
    seed: int,
    on_step: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The figures of `loaded`, whose answers must not end before the limit (`random_model`,
    "wordy"), ready for JSON. Both ways are timed by turns, so that a slow moment of the machine
    hits both alike; one episode goes before and is not counted."""
    pools = {
        k: random_pool(seed + k, settings.num_pool_frames) for k in range(settings.num_episodes)
    }
    alone, together = [], []
    episodes: list[Episode] = []
    with _engine(loaded, settings) as engine:
        await play(engine, {0: pools[0]}, settings)
    on_step()
    for _ in range(settings.num_rounds):
        with timed(loaded) as parts:
            for k, pool in pools.items():
                with _engine(loaded, settings) as engine:
                    await play(engine, {k: pool}, settings)
        alone.append(parts)
        on_step()
        with timed(loaded) as parts, _engine(loaded, settings) as engine:
            episodes = await play(engine, pools, settings)
        together.append(parts)
        on_step()
    return _compared(loaded, settings, episodes, _mean(alone), _mean(together))


def _compared(
    loaded: LoadedModel,
    settings: RetrievalBenchSettings,
    episodes: Sequence[Episode],
    one: Parts,
    batch: Parts,
) -> dict[str, Any]:
    """The figures of both ways; `episodes` are those of the last batch."""
    shown = [len(exchange.observed.frames) for exchange in episodes[0].exchanges]
    spoken = [len(exchange.acted.token_ids) for e in episodes for exchange in e.exchanges]
    return {
        "model": loaded.name,
        "device": loaded.device.type,
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "num_threads": torch.get_num_threads(),
        "num_episodes": settings.num_episodes,
        "num_rounds": settings.num_rounds,
        "frames_per_turn": shown,
        "num_answer_tokens": sum(spoken),
        "num_prompt_tokens": one.num_prefill_tokens,
        "one_by_one_episodes_per_s": settings.num_episodes / one.total_s,
        "batch_episodes_per_s": settings.num_episodes / batch.total_s,
        "batch_speedup": one.total_s / batch.total_s,
        "batch_speedup_cpu": one.cpu_s / batch.cpu_s,
        "one_by_one": _figures(one),
        "batch": _figures(batch),
        "batch_bound_by": max(_PARTS, key=lambda name: getattr(batch, f"{name}_s")),
    }


def lines_of(figures: Mapping[str, Any]) -> list[str]:
    """The figures for people: a line each, those of both ways side by side."""
    alone, together = figures["one_by_one"], figures["batch"]
    plain = [
        f"{name:<28} {value:.3f}" if isinstance(value, float) else f"{name:<28} {value}"
        for name, value in figures.items()
        if not isinstance(value, dict)
    ]
    pairs = [f"{name:<28} {alone[name]:>12.3f} {together[name]:>12.3f}" for name in alone]
    return [*plain, f"{'':<28} {'one by one':>12} {'batch':>12}", *pairs]


_PARTS = ("vision", "prefill", "decode", "other")


def _engine(loaded: LoadedModel, settings: RetrievalBenchSettings) -> Engine:
    """One that has seen no frame yet."""
    return Engine(loaded, SamplingParams(max_new_tokens=settings.answer_tokens))


def _mean(rounds: Sequence[Parts]) -> Parts:
    count = len(rounds)
    sums = {name: sum(asdict(parts)[name] for parts in rounds) for name in asdict(rounds[0])}
    return Parts(**{name: value / count for name, value in sums.items()})


def _figures(parts: Parts) -> dict[str, Any]:
    """Seconds by part, their shares, and tokens per second of those that show and that decode."""
    shares = {f"{name}_frac": getattr(parts, f"{name}_s") / parts.total_s for name in _PARTS}
    return {
        **asdict(parts),
        "other_s": parts.other_s,
        **shares,
        "decode_tokens_per_s": parts.num_decode_tokens / parts.decode_s,
        "prefill_tokens_per_s": parts.num_prefill_tokens / parts.prefill_s,
    }
