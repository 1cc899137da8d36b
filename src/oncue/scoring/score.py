"""What a mark is, and what a reward is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from oncue.types import Episode


@dataclass(frozen=True, slots=True)
class Unscored:
    """No mark could be had, and why. It is counted, and takes part in no mean; it is never a
    zero."""

    reason: str


@dataclass(frozen=True, slots=True)
class Judgements:
    """What a judge said: `coverage` by (number of the gold turn, time), `repeated` by time. Missing
    is unscored."""

    coverage: Mapping[tuple[int, float], int | Unscored] = field(default_factory=dict)
    repeated: Mapping[float, bool | Unscored] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """What a reward makes of one episode: what each exchange earned, the named terms of the whole,
    and what a judge said, where one was asked.

    `reward`: of the whole episode. `values` add up to it, or to what is above the reward of doing
    nothing; without it their sum is the reward. `exchange_terms`: of a reward whose terms are
    earned in single exchanges, what each exchange earned of each term; of an exchange they add up
    to its value, of a term to the term.
    """

    values: tuple[float, ...]
    terms: Mapping[str, float] = field(default_factory=dict)
    num_unscored: int = 0
    judgements: Judgements | None = None
    reward: float | None = None
    exchange_terms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return sum(self.values) if self.reward is None else self.reward


class Reward(Protocol):
    """A pure function of a finished episode."""

    async def __call__(self, episode: Episode) -> Score: ...


@runtime_checkable
class ObservingReward(Protocol):
    """A reward that has more to say about the episodes of a step than its terms."""

    def metrics(self, episodes: Sequence[Episode]) -> Mapping[str, float | None]:
        """Further numbers for the log of a step."""
        ...

    def warnings(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """What the logged steps (oldest first) say that someone should look at."""
        ...
