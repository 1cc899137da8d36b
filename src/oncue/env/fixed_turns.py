"""The world that shows turns made beforehand: rollouts on examples whose frames are in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from oncue.types import Action, EnvTurn, StopReason


class FixedTurns:
    """A VideoEnv over given turns, whatever the policy says."""

    def __init__(self, turns: Sequence[EnvTurn]) -> None:
        self._turns = turns
        self._next = 0

    def announce_to(self, listener: Callable[[Sequence[EnvTurn]], None]) -> None:
        """Call `listener` with all turns that are still to come."""
        listener(self._turns[self._next :])

    async def open(self) -> EnvTurn | StopReason:
        """The first turn; SOURCE_ENDED where there is none."""
        return await self._show()

    async def step(self, action: Action) -> EnvTurn | StopReason:  # noqa: ARG002 - the video runs on whatever is said
        """The next turn, SOURCE_ENDED after the last."""
        return await self._show()

    async def _show(self) -> EnvTurn | StopReason:
        if self._next == len(self._turns):
            return StopReason.SOURCE_ENDED
        self._next += 1
        return self._turns[self._next - 1]
