"""Groups of rollouts: the same example, watched by several members that draw their own words.

All members of all groups run in one engine, in lockstep, so a step can be repeated bit for bit.
What the members share (the history, and the frames) is computed once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from oncue.data.examples import Example
from oncue.engine.engine import Engine
from oncue.engine.session import EngineSession
from oncue.render.trace import TokenTrace
from oncue.rollout import run_episode
from oncue.scoring.score import Score
from oncue.train.rl.advantage import Advantages, Credit, OfTokens, of_turns
from oncue.types import EnvTurn, Episode, Exchange


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The rollouts of one example with their traces, and, once judged, the score and the advantages
    of each.

    `turn_advantages`: of each member, of each exchange, for logs and pages; 0 where nothing was
    chosen. `values`, `returns`: with a critic, of each member, of each segment of its trace (L,),
    what it expected where a token was chosen, and what it is trained towards.
    """

    example: Example
    episodes: tuple[Episode, ...]
    traces: tuple[TokenTrace, ...] = ()
    scores: tuple[Score, ...] = ()
    advantages: tuple[Advantages, ...] = ()
    turn_advantages: tuple[tuple[float, ...], ...] = ()
    values: tuple[OfTokens, ...] = ()
    returns: tuple[OfTokens, ...] = ()

    def credited(self, scores: Sequence[Score], credit: Credit) -> Group:
        """The group with these scores, and what `credit` makes of them."""
        return replace(self, scores=tuple(scores)).with_advantages(credit(scores, self.traces))

    def with_advantages(self, given: Sequence[Advantages]) -> Group:
        """The group with the advantages `given` to each member."""
        advantages = tuple(given)
        members = zip(self.traces, advantages, strict=True)
        by_turn = tuple(tuple(of_turns(trace, gained).tolist()) for trace, gained in members)
        return replace(self, advantages=advantages, turn_advantages=by_turn)


async def roll_out(
    engine: Engine,
    examples: Sequence[Example],
    group_size: int,
    seed: Sequence[int],
    places: Sequence[int] | None = None,
) -> list[Group]:
    """A group of `group_size` episodes per example, in an engine that records.

    The random numbers of a member follow from `seed`, its example's
    place (`places`, by default those in `examples`) and its own."""
    numbered = zip(places or range(len(examples)), examples, strict=True)
    groups = (_group(engine, example, group_size, (*seed, place)) for place, example in numbered)
    return list(await asyncio.gather(*groups))


def without_frames(group: Group) -> Group:
    """The group without anything that was shown, which is what makes it large. Metrics and stored
    lines need none."""
    episodes = tuple(
        replace(e, exchanges=tuple(_unseen(x) for x in e.exchanges)) for e in group.episodes
    )
    example = group.example.without_frames()
    return replace(
        group,
        example=example,
        episodes=episodes,
        traces=(),
        advantages=(),
        values=(),
        returns=(),
    )


def _unseen(exchange: Exchange) -> Exchange:
    """The exchange with what its frames are called, and when they are, but not what they show."""
    content = [
        part if isinstance(part, str) else replace(part, pixels=part.pixels[:, :0, :0])
        for part in exchange.observed.content
    ]
    return replace(exchange, observed=EnvTurn(content, exchange.observed.clock_s))


async def _group(engine: Engine, example: Example, group_size: int, seed: Sequence[int]) -> Group:
    opening = example.opening
    window = None if opening.last_turns is None else engine.window_of_turns(opening.last_turns)
    with engine.open(opening.system, window=window, action_format=opening.action_format) as parent:
        history = [Exchange(turn, parent.replay(turn, action)) for turn, action in example.history]
        await parent.fill()
        members = [parent.fork(_number((*seed, k))) for k in range(group_size)]
    rollouts = await asyncio.gather(*(_member(session, example) for session in members))
    episodes = tuple(
        replace(episode, exchanges=(*history, *episode.exchanges)) for episode, _ in rollouts
    )
    return Group(example, episodes, tuple(trace for _, trace in rollouts))


async def _member(session: EngineSession, example: Example) -> tuple[Episode, TokenTrace]:
    with session:
        episode = await run_episode(example.env(), session, example.task)
        return episode, session.trace()


def _number(seed: Sequence[int]) -> int:
    return int(np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)[0])
