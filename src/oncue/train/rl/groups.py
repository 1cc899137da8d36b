"""Groups of rollouts: the same example, watched by several members that draw their own words.

All members of all groups run in one engine, in lockstep, so a step can be repeated bit for bit. What the members share
(the history, and the frames) is computed once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from oncue.data.examples import RolloutExample
from oncue.engine.engine import Engine
from oncue.engine.session import EngineSession
from oncue.env.fixed_turns import ShownTurns
from oncue.rollout import run_episode
from oncue.scoring.score import Score
from oncue.types import Episode, Exchange, FrameBatch


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The rollouts of one example, and, once judged, the score of each and its advantage."""

    example: RolloutExample
    episodes: tuple[Episode, ...]
    scores: tuple[Score, ...] = ()
    advantages: tuple[float, ...] = ()


async def roll_out(
    engine: Engine,
    examples: Sequence[RolloutExample],
    group_size: int,
    seed: Sequence[int],
    places: Sequence[int] | None = None,
) -> list[Group]:
    """A group of `group_size` episodes per example. The random numbers of a member follow from `seed`, its example's
    place (`places`, by default those in `examples`) and its own."""
    numbered = zip(places or range(len(examples)), examples, strict=True)
    groups = (_group(engine, example, group_size, (*seed, place)) for place, example in numbered)
    return list(await asyncio.gather(*groups))


def without_frames(group: Group) -> Group:
    """The group without anything that was shown, which is what makes it large. Metrics and stored lines need none."""
    episodes = tuple(replace(e, exchanges=tuple(_unseen(x) for x in e.exchanges)) for e in group.episodes)
    return replace(group, example=replace(group.example, history=(), turns=()), episodes=episodes)


def _unseen(exchange: Exchange) -> Exchange:
    return replace(exchange, observed=replace(exchange.observed, frames=FrameBatch.empty()))


async def _group(engine: Engine, example: RolloutExample, group_size: int, seed: Sequence[int]) -> Group:
    with engine.open() as parent:
        history = [Exchange(turn, parent.replay(turn, action)) for turn, action in example.history]
        await parent.fill()
        members = [parent.fork(_number((*seed, k))) for k in range(group_size)]
    episodes = await asyncio.gather(*(_member(session, example) for session in members))
    return Group(example, tuple(replace(e, exchanges=(*history, *e.exchanges)) for e in episodes))


async def _member(session: EngineSession, example: RolloutExample) -> Episode:
    with session:
        return await run_episode(ShownTurns(example.turns), session, example.task)


def _number(seed: Sequence[int]) -> int:
    return int(np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)[0])
