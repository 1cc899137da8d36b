"""What a mark is, and what a reward is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from oncue.types import Episode


@dataclass(frozen=True, slots=True)
class Unscored:
    """No mark could be had, and why. It is counted, and takes part in no mean; it is never a zero."""

    reason: str


@dataclass(frozen=True, slots=True)
class Judgements:
    """What a judge said: `coverage` by (number of the gold turn, time), `repeated` by time. Missing is unscored."""

    coverage: Mapping[tuple[int, float], int | Unscored] = field(default_factory=dict)
    repeated: Mapping[float, bool | Unscored] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """What a reward makes of one episode: one value per exchange, the named terms that they are made of, and what a
    judge said, where one was asked."""

    values: tuple[float, ...]
    terms: Mapping[str, float] = field(default_factory=dict)
    num_unscored: int = 0
    judgements: Judgements | None = None

    @property
    def total(self) -> float:
        return sum(self.values)


class Reward(Protocol):
    """A pure function of a finished episode."""

    async def __call__(self, episode: Episode) -> Score: ...
