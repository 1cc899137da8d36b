"""Credit with a critic: from the reward of each turn to an advantage and a return for every trained
token.

Axis letters: L tokens of a segment, K exchanges of an episode, T chosen places of an episode, N
turns in which something was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from oncue.errors import ConfigError
from oncue.render.trace import TokenTrace
from oncue.rewards.retrieval import OUTCOME_TERMS
from oncue.scoring.score import Score
from oncue.train.rl.advantage import Advantages, OfTokens
from oncue.train.rl.gae import (
    bilevel_gae,
    masked_gae,
    paper_boundary,
    turn_wise_gae,
    whiten,
    within_turns_gae,
)

GaeName = Literal["bilevel_gae", "paper_boundary", "turn_wise_gae", "masked_gae"]


@dataclass(frozen=True, slots=True)
class GaeCredit:
    """Advantages and returns of the tokens of whole episodes, from a critic's values.

    A turn earns its reward at the last token that was chosen in it. The turns of an episode follow
    one another whichever segment they are in, and what was observed between them plays no part.

    `kind`: `bilevel_gae`, over turns, then within each turn; `paper_boundary`, only the outcome of
    the episode is carried back over the turns, then as before within each turn; `turn_wise_gae`,
    all tokens of a turn alike; `masked_gae`, over tokens alone. `gamma_turn` discounts by turn,
    `gamma_token` by token, `lam` is the lambda of GAE. `outcome_terms`: the names of the terms that
    are about the whole episode, for `paper_boundary`. `whitens`: advantages get mean 0 and
    deviation 1 over all tokens of a call (`turn_wise_gae`: over all turns). Raises ConfigError for
    a number outside [0, 1], and for a discount that its kind does not have.
    """

    kind: GaeName
    gamma_turn: float = 1.0
    gamma_token: float = 1.0
    lam: float = 1.0
    outcome_terms: tuple[str, ...] = OUTCOME_TERMS
    whitens: bool = True

    def __post_init__(self) -> None:
        if self.kind not in get_args(GaeName):
            raise ConfigError(
                f"unknown credit {self.kind!r}; expected one of {', '.join(get_args(GaeName))}"
            )
        for name in ("gamma_turn", "gamma_token", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie from 0 to 1, got {getattr(self, name)}")
        unused = {"masked_gae": "gamma_turn", "turn_wise_gae": "gamma_token"}.get(self.kind)
        if unused and getattr(self, unused) != 1:
            raise ConfigError(
                f"{unused} must be 1 where credit is {self.kind}, which has no use for it, got "
                f"{getattr(self, unused)}"
            )

    def __call__(
        self,
        scores: Sequence[Score],
        traces: Sequence[TokenTrace],
        values: Sequence[OfTokens],
        token_rewards: Sequence[OfTokens] | None = None,
        everyone: Callable[[np.ndarray], np.ndarray] = lambda own: own,
    ) -> tuple[list[Advantages], list[OfTokens]]:
        """(advantages, returns) of each episode, of each of its segments (L,) float32; 0 for what
        nobody chose.

        `values`: of each segment (L,), what the critic expects from the state in which the choice
        of a place is made; it is trained towards the returns. `token_rewards`: of each segment
        (L,), what every choice earns by itself, such as -beta times its KL divergence. `everyone`:
        where a batch is spread over processes, makes of the numbers (N,) of this one those of all;
        whitening goes by them.

        Raises ValueError for a score without a value for each turn, a reward of a turn in which
        nothing was chosen, values of another shape than the segments, and, with `paper_boundary`, a
        score that does not say what each exchange earned of the outcome.
        """
        given = token_rewards or [
            tuple(np.zeros(len(segment)) for segment in trace.segments) for trace in traces
        ]
        episodes = [
            _Chosen.of(trace) for _, trace, _, _ in zip(scores, traces, values, given, strict=True)
        ]
        found = [
            self._of_episode(*parts) for parts in zip(episodes, scores, values, given, strict=True)
        ]
        advantages = [advantages_T for advantages_T, _ in found]
        if self.whitens and found:
            advantages = self._whitened(advantages, episodes, everyone)
        placed = zip(episodes, advantages, found, strict=True)
        both = [(one.put(gained), one.put(returns)) for one, gained, (_, returns) in placed]
        return [gained for gained, _ in both], [returns for _, returns in both]

    def _of_episode(
        self, chosen: _Chosen, score: Score, values: OfTokens, token_rewards: OfTokens
    ) -> tuple[np.ndarray, np.ndarray]:
        """The advantages and returns (T,) of one episode."""
        rewards_T, values_T = (
            chosen.take(token_rewards, "token_rewards"),
            chosen.take(values, "values"),
        )
        rewards_T[chosen.ends_T] += self._turn_rewards(chosen, score)
        every_T = np.ones(len(values_T), bool)
        if self.kind == "masked_gae":
            return masked_gae(rewards_T, values_T, every_T, gamma=self.gamma_token, lam=self.lam)
        if self.kind == "turn_wise_gae":
            return turn_wise_gae(
                rewards_T,
                values_T,
                every_T,
                chosen.ends_T,
                gamma_turn=self.gamma_turn,
                lam=self.lam,
            )
        if self.kind == "paper_boundary":
            return within_turns_gae(
                rewards_T,
                values_T,
                every_T,
                chosen.ends_T,
                gamma_token=self.gamma_token,
                lam=self.lam,
            )
        return bilevel_gae(
            rewards_T,
            values_T,
            every_T,
            chosen.ends_T,
            gamma_turn=self.gamma_turn,
            gamma_token=self.gamma_token,
            lam=self.lam,
        )

    def _turn_rewards(self, chosen: _Chosen, score: Score) -> np.ndarray:
        """(N,) float64: what each turn in which something was chosen is paid at its end."""
        rewards_N = chosen.of_turns(score.values)
        if self.kind != "paper_boundary":
            return rewards_N
        known = [name for name in self.outcome_terms if name in score.exchange_terms]
        if not known:
            raise ValueError(
                f"paper_boundary needs what each exchange earned of one of "
                f"{', '.join(self.outcome_terms)}, got {', '.join(score.exchange_terms) or 'none'}"
            )
        outcome = np.sum([score.exchange_terms[name] for name in known], axis=0)
        return paper_boundary(rewards_N, chosen.of_turns(outcome), gamma_turn=self.gamma_turn)

    def _whitened(
        self,
        advantages: Sequence[np.ndarray],
        episodes: Sequence[_Chosen],
        everyone: Callable[[np.ndarray], np.ndarray],
    ) -> list[np.ndarray]:
        of_all = np.concatenate(advantages)
        ends = np.concatenate([chosen.ends_T for chosen in episodes])
        if self.kind == "turn_wise_gae":
            lengths = np.diff(np.flatnonzero(ends), prepend=-1)
            of_ends = of_all[ends]
            of_all = np.repeat(whiten(of_ends, ends[ends], everyone(of_ends)), lengths)
        else:
            of_all = whiten(of_all, np.ones(len(of_all), bool), everyone(of_all))
        return np.split(of_all, np.cumsum([len(one) for one in advantages])[:-1])


@dataclass(frozen=True, slots=True, eq=False)
class _Chosen:
    """The chosen places of an episode in the order of their turns: `order` takes them from those of
    the segments one after the other. `turns_T`: the turn of each; `ends_T`: the last of each
    turn."""

    trace: TokenTrace
    order: np.ndarray
    turns_T: np.ndarray
    ends_T: np.ndarray

    @classmethod
    def of(cls, trace: TokenTrace) -> _Chosen:
        turns = np.concatenate(
            [np.zeros(0, np.int64), *(s.turn_of[s.loss_mask] for s in trace.segments)]
        )
        order = np.argsort(turns, kind="stable")
        return cls(trace, order, turns[order], np.diff(turns[order], append=-1) != 0)

    def take(self, of_segments: OfTokens, name: str) -> np.ndarray:
        """(T,) float64: those of the chosen places. Raises ValueError for other shapes."""
        segments = self.trace.segments
        shapes = [array.shape for array in of_segments]
        if shapes != [(len(segment),) for segment in segments]:
            raise ValueError(
                f"{name} must have the shapes of the segments, "
                f"{[(len(segment),) for segment in segments]}, got {shapes}"
            )
        picked = [
            array[segment.loss_mask] for array, segment in zip(of_segments, segments, strict=True)
        ]
        return np.concatenate([np.zeros(0), *picked])[self.order]

    def put(self, of_places: np.ndarray) -> OfTokens:
        """Gives (T,) numbers back to the segments, as float32."""
        placed, unsorted, first = [], np.empty(len(of_places), np.float32), 0
        unsorted[self.order] = of_places
        for segment in self.trace.segments:
            whole = np.zeros(len(segment), np.float32)
            last = first + int(segment.loss_mask.sum())
            whole[segment.loss_mask], first = unsorted[first:last], last
            placed.append(whole)
        return tuple(placed)

    def of_turns(self, values_K: Sequence[float] | np.ndarray) -> np.ndarray:
        """(N,) float64: the values of the turns in which something was chosen."""
        values, acted = np.asarray(values_K, np.float64), self.turns_T[self.ends_T]
        if len(acted) and len(values) <= acted[-1]:
            raise ValueError(
                f"a score needs a value for each turn, got {len(values)} values for an episode of "
                f"{acted[-1] + 1} turns"
            )
        lost = np.setdiff1d(np.flatnonzero(values), acted)
        if len(lost):
            raise ValueError(
                f"turn {lost[0]} earned {values[lost[0]]:g}, but nothing was chosen in it that "
                "could get credit"
            )
        return values[acted]
