"""Policies without weights: for tests, for baselines, and for trying the loop. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from oncue.clock import Clock
from oncue.errors import ConfigError
from oncue.types import Action, EnvTurn, PolicyTurn, Reply, Silence


class ScriptedPolicy:
    """Says each text of `replies_by_time_s` once, at the first turn whose clock reaches its time;
    silent otherwise.

    Several texts that fall due in the same turn are joined by newlines, earliest first.
    """

    def __init__(self, replies_by_time_s: Mapping[float, str]) -> None:
        empty = [time_s for time_s, text in replies_by_time_s.items() if not text.strip()]
        if empty:
            raise ConfigError(
                f"a scripted reply needs text, got none at {empty[0]} s; leave the time out to be "
                "silent"
            )
        self._waiting = sorted(replies_by_time_s.items())

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        num_due = sum(time_s <= observed.clock_s for time_s, _ in self._waiting)
        due, self._waiting = self._waiting[:num_due], self._waiting[num_due:]
        action: Action = Reply("\n".join(text for _, text in due)) if due else Silence()
        return PolicyTurn(action)

    def close(self) -> None:
        """Nothing is held."""


class SilentPolicy:
    """Never speaks: the floor every score is read against."""

    async def respond(self, observed: EnvTurn) -> PolicyTurn:  # noqa: ARG002
        return PolicyTurn(Silence())

    def close(self) -> None:
        """Nothing is held."""


class TalkPolicy:
    """Says the same `text` in every turn."""

    def __init__(self, text: str) -> None:
        if not text.strip():
            raise ConfigError("TalkPolicy needs text to say; SilentPolicy says nothing")
        self._turn = PolicyTurn(Reply(text))

    async def respond(self, observed: EnvTurn) -> PolicyTurn:  # noqa: ARG002
        return self._turn

    def close(self) -> None:
        """Nothing is held."""


class PeriodicPolicy:
    """Says `text` at the first turn whose clock reaches each multiple of `interval_s`, from
    `from_s` on; silent otherwise.

    Raises ConfigError for no text, or an interval that is not positive.
    """

    def __init__(self, interval_s: float, text: str, from_s: float = 0.0) -> None:
        if not text.strip():
            raise ConfigError("PeriodicPolicy needs text to say; SilentPolicy says nothing")
        try:
            self._clock = Clock(interval_s)
        except ValueError as error:
            raise ConfigError(f"the time between replies cannot be used: {error}") from error
        self._turn = PolicyTurn(Reply(text))
        self._num_passed = max(0, self._clock.first_at_or_after(from_s) - 1)

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        num_passed = self._clock.frames_until(observed.clock_s)
        if num_passed <= self._num_passed:
            return PolicyTurn(Silence())
        self._num_passed = num_passed
        return self._turn

    def close(self) -> None:
        """Nothing is held."""
