"""Exploration bootstrapping of Video-MTR: a bonus for retrievals as long as the policy makes few.

Without it the policy collapses to answering at once (appendix A.5, Fig. 6). It looks at a whole
batch and remembers earlier ones, so it is no part of the reward of an episode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from oncue.errors import ConfigError
from oncue.rewards.retrieval import TERMS, Profile
from oncue.scoring.score import Score
from oncue.types import Episode, Retrieve

TERM = "bootstrap"
_FEW, _ENOUGH = 0.1, 0.5  # rates below which the bonus is paid
_LARGE, _SMALL = 1.0, 0.5  # what it is


@dataclass(frozen=True, slots=True)
class BootstrappingSettings:
    """Which rule. `latch_after`: of `paper`, how many batches in a row with a rate above .5 end the
    bonus for good (the paper says "several"). Raises ConfigError for values out of range."""

    profile: Profile = "paper"
    latch_after: int = 5

    def __post_init__(self) -> None:
        if self.profile not in TERMS:
            raise ConfigError(
                f"unknown bootstrapping profile {self.profile!r}; expected one of "
                f"{', '.join(TERMS)}"
            )
        if self.latch_after < 1:
            raise ConfigError(f"latch_after must be at least 1, got {self.latch_after}")


class Bootstrapping:
    """Adds the bonus to the scores of a batch, and remembers how often the policy retrieved enough.

    `paper`: the rate is the share of turns that are a retrieval. Below .1 every retrieval of the
    batch gets 1.0, below .5 it gets .5, whatever it showed and however the episode ended. After
    `latch_after` batches in a row above .5 nothing is added any more.

    `release`: the rate is the share of episodes with more than one turn above 0, among those with
    at least one. All turns above 0 but the last get the bonus. It never ends.
    """

    def __init__(self, settings: BootstrappingSettings) -> None:
        self.settings = settings
        self._num_above = 0

    @property
    def is_off(self) -> bool:
        """Whether the bonus has ended for good."""
        return self.settings.profile == "paper" and self._num_above >= self.settings.latch_after

    def shape(self, episodes: Sequence[Episode], scores: Sequence[Score]) -> list[Score]:
        """The scores of one whole batch with the bonus in `values` and as the term `bootstrap`.

        A batch is that of all processes: the rate is one of the batch. Raises ValueError for scores
        that do not have a value for each exchange of their episode, and for scores that have a
        bonus.
        """
        for episode, score in zip(episodes, scores, strict=True):
            _check(episode, score)
        rate = self._rate(episodes, scores)
        bonus = 0.0
        if rate is not None and not self.is_off:
            bonus = _LARGE if rate < _FEW else _SMALL if rate < _ENOUGH else 0.0
            self._num_above = self._num_above + 1 if rate > _ENOUGH else 0
        return [
            _with_bonus(score, [bonus * paid for paid in self._paid(episode, score)])
            for episode, score in zip(episodes, scores, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep, for `restore`."""
        return {"num_above": self._num_above}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state`. Raises ValueError for anything but what `state` gave."""
        num_above = state.get("num_above")
        if not isinstance(num_above, int) or isinstance(num_above, bool) or num_above < 0:
            raise ValueError(
                f"the state of bootstrapping needs num_above, a whole number, got {dict(state)}"
            )
        self._num_above = num_above

    def _rate(self, episodes: Sequence[Episode], scores: Sequence[Score]) -> float | None:
        """The rate of a batch; None where there is nothing to count."""
        if self.settings.profile == "paper":
            turns = [e.acted for episode in episodes for e in episode.exchanges if e.acted.sampled]
            return _share([isinstance(turn.action, Retrieve) for turn in turns])
        positive = [sum(value > 0 for value in score.values) for score in scores]
        return _share([number > 1 for number in positive if number])

    def _paid(self, episode: Episode, score: Score) -> list[bool]:
        """Which exchanges get the bonus, where there is one."""
        if self.settings.profile == "paper":
            turns = [e.acted for e in episode.exchanges]
            return [turn.sampled and isinstance(turn.action, Retrieve) for turn in turns]
        positive = [k for k, value in enumerate(score.values) if value > 0]
        return [k in positive[:-1] for k in range(len(score.values))]


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _with_bonus(score: Score, bonus: Sequence[float]) -> Score:
    return replace(
        score,
        values=tuple(value + more for value, more in zip(score.values, bonus, strict=True)),
        terms={**score.terms, TERM: sum(bonus)},
        reward=None if score.reward is None else score.reward + sum(bonus),
        exchange_terms={**score.exchange_terms, TERM: tuple(bonus)},
    )


def _check(episode: Episode, score: Score) -> None:
    if len(score.values) != len(episode.exchanges):
        raise ValueError(
            f"a score needs a value for each exchange, got {len(score.values)} values for an "
            f"episode of {len(episode.exchanges)}"
        )
    if TERM in score.terms:
        raise ValueError("the scores have a bonus already; shape each batch once")
