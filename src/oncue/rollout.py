"""The one loop: the environment shows, the policy acts, until someone stops.

Training rollouts, evaluation, `oncue watch` and the web socket all run episodes through here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from oncue.types import (
    EnvTurn,
    Episode,
    Exchange,
    ForeseeableEnv,
    ForeseeingSession,
    FrameBatch,
    PolicySession,
    Task,
    VideoEnv,
)


async def run_episode(
    env: VideoEnv,
    session: PolicySession,
    task: Task,
    on_exchange: Callable[[Exchange], None] | None = None,
    *,
    keep_frames: bool = True,
    keep_exchanges: bool = True,
) -> Episode:
    """The finished dialogue of `session` in `env`.

    `on_exchange` is called with each exchange as it happens, always whole. With `keep_frames=False`
    the exchanges of the returned episode hold the number and times of their frames but no pixels,
    about a kilobyte each; with `keep_exchanges=False` it has none, so that memory does not grow
    with the video. A session that foresees learns what `env` knows of the turns to come. The
    caller owns `env` and `session` and closes them.
    """
    if isinstance(env, ForeseeableEnv) and isinstance(session, ForeseeingSession):
        env.announce_to(session.foresee)
    exchanges: list[Exchange] = []
    observed = await env.open()
    while isinstance(observed, EnvTurn):
        acted = await session.respond(observed)
        exchange = Exchange(observed, acted)
        if on_exchange is not None:
            on_exchange(exchange)
        if keep_exchanges:
            exchanges.append(exchange if keep_frames else without_pixels(exchange))
        observed = await env.step(acted.action)
    return Episode(task, tuple(exchanges), observed)


def without_pixels(exchange: Exchange) -> Exchange:
    """The exchange with frames of no size: number, `pts_s` and marks stay, the picture is gone."""

    def emptied(part: str | FrameBatch) -> str | FrameBatch:
        return (
            part
            if isinstance(part, str)
            else replace(part, pixels=np.zeros((len(part), 0, 0, 3), np.uint8))
        )

    observed = exchange.observed
    return replace(exchange, observed=EnvTurn(map(emptied, observed.content), observed.clock_s))
