"""How exact: the carried session against one full forward, and drafted sessions in a batch against
plain ones alone.

Axis letters: R logits read, V vocabulary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest

import numpy as np
import torch

from oncue.bench.bench_settings import BenchSettings
from oncue.bench.stock import stock_hidden
from oncue.bench.turns import Held, hold, lively_video
from oncue.engine.engine import Engine, SamplingParams
from oncue.model.loading import LoadedModel
from oncue.render.base import Renderer
from oncue.types import EnvTurn, PolicyTurn

LONGEST_SHARE = 8  # the longest of the joining dialogues is about this many times the shortest


async def max_logit_diff(loaded: LoadedModel, settings: BenchSettings, seed: int) -> float:
    """The largest difference between a logit the carried session chose by and that of one stock
    forward over it all.

    All logits behind every token that was chosen, over `num_logit_turns` turns of one session.
    """
    shown = list(islice(lively_video(seed), settings.num_logit_turns))
    seen: list[torch.Tensor] = []
    hook = loaded.model.lm_head.register_forward_hook(
        lambda _module, _given, logits_RV: seen.append(logits_RV.float())
    )
    places: list[int] = []
    cached: list[torch.Tensor] = []
    try:
        with (
            Engine(loaded, SamplingParams(max_new_tokens=settings.max_new_tokens)) as engine,
            engine.open() as session,
        ):
            for turn in shown:
                seen.clear()
                (answer,) = (await hold(session, [turn])).answers
                places += _places(engine.renderer, answer, session.num_context_tokens)
                cached += _chosen_by(engine.renderer, answer, seen)
            context_ids = session.context_ids
    finally:
        hook.remove()
    frames = [pixels for turn in shown for pixels in turn.frames.pixels]
    with torch.inference_mode():
        stock_RV = loaded.model.lm_head(stock_hidden(loaded, context_ids, frames)[places]).float()
    return float((stock_RV - torch.stack(cached)).abs().max())


def _places(renderer: Renderer, answer: PolicyTurn, num_context_tokens: int) -> Iterator[int]:
    """Where in the prefix, which ends with this answer, is the token after which each of its
    tokens was chosen."""
    decision, ids = renderer.decision, answer.token_ids
    place = num_context_tokens - len(decision.kept(ids)) - 1
    for i in range(len(ids) - answer.forced_close):
        yield place
        place += len(decision.next_input(ids[: i + 1]) or ())


def _chosen_by(
    renderer: Renderer, answer: PolicyTurn, seen: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """The logits (V,) behind each token of an answer, from those of its forwards; the first also
    reads the draft."""
    if not seen:
        raise RuntimeError(
            "no logits passed the output layer of the model; the engine does without it"
        )
    first, later = seen[0], seen[1:]
    num_chosen = len(answer.token_ids) - answer.forced_close
    draft = renderer.decision.silence_draft[: len(first) - 1]
    num_accepted = next(
        (i for i, token in enumerate(draft) if token != answer.token_ids[i]), len(draft)
    )
    rows = [*first[: num_accepted + 1], *(logits_RV[0] for logits_RV in later)]
    if len(rows) != num_chosen:
        raise RuntimeError(
            f"{len(rows)} logits were read for {num_chosen} chosen tokens; the engine has changed"
        )
    return rows


@dataclass(frozen=True, slots=True)
class Compared:
    """Tokens that differ between two ways to hold the same dialogues, of how many in how many
    turns."""

    num_mismatched: int
    num_tokens: int
    num_turns: int
    num_silent: int


async def compare_tokens(loaded: LoadedModel, settings: BenchSettings, seed: int) -> Compared:
    """Dialogues of different lengths: many at once with drafts, joining as others leave, and each
    alone without drafts.

    A dialogue that once went another way counts with every later token that differs.
    """
    sampling = SamplingParams(max_new_tokens=settings.max_new_tokens)
    videos = dialogues(settings.num_compared_turns, settings.num_joined_sessions, seed)
    with Engine(loaded, sampling, draft=False) as engine:
        alone = [await _watch(engine, shown, asyncio.Semaphore()) for shown in videos]
    with Engine(loaded, sampling) as engine:
        seats = asyncio.Semaphore(settings.num_joined_sessions)
        together = await asyncio.gather(*(_watch(engine, shown, seats) for shown in videos))
    pairs = [
        (ours, theirs)
        for first, second in zip(alone, together, strict=True)
        for one, other in zip(first.answers, second.answers, strict=True)
        for ours, theirs in zip_longest(one.token_ids, other.token_ids)
    ]
    return Compared(
        sum(ours != theirs for ours, theirs in pairs),
        len(pairs),
        sum(len(held.answers) for held in alone),
        sum(held.num_silent for held in alone),
    )


async def _watch(engine: Engine, shown: Sequence[EnvTurn], seats: asyncio.Semaphore) -> Held:
    async with seats:
        with engine.open() as session:
            return await hold(session, shown)


def dialogues(num_turns: int, num_at_once: int, seed: int) -> list[list[EnvTurn]]:
    """`num_turns` turns in all, in about three times as many dialogues as run at once, of very
    different lengths."""
    weights = np.random.default_rng(seed).uniform(1, LONGEST_SHARE, 3 * num_at_once)
    ends = np.rint(num_turns * weights.cumsum() / weights.sum()).astype(int)
    lengths = np.diff(ends, prepend=0)
    return [
        list(islice(lively_video(seed + i), int(length)))
        for i, length in enumerate(lengths)
        if length
    ]
