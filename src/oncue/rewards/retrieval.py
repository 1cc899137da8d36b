"""The reward of Video-MTR: right answers, frames that show more of the evidence, and form.

Two profiles. `paper` follows section 3.2 of arXiv 2508.20478. `release` follows the public code,
which compares with the previous look instead of the best one, has no penalty, pays less for later
answers, and closes its gate on frames alone. A gate looks at the end of an episode, so rewards are
made once it is finished.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from oncue.errors import ConfigError
from oncue.rewards.retrieval_log import retrieval_metrics, retrieval_warnings
from oncue.rewards.retrieval_rollout import FramesOf, RetrievalRollout, RetrievalTurn
from oncue.scoring.answers import is_right, is_well_formed
from oncue.scoring.score import Score, Unscored
from oncue.types import Answer, Episode, Malformed, Retrieve

Profile = Literal["paper", "release"]
TurnKind = Literal["retrieve", "answer", "malformed"]
TERMS: Mapping[Profile, tuple[str, ...]] = {
    "paper": ("accuracy", "frames", "format"),
    "release": ("accuracy", "frames", "format", "answer_speed"),
}
OUTCOME_TERMS = ("accuracy", "answer_speed")  # what the answer as such earned

_FRAMES, _FORMAT = 0.5, 0.1  # of both profiles
_MARGIN, _PER_TURN = 0.001, 0.1  # of `release`: above the IoU before; lost by each turn before
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class RetrievalRewardSettings:
    """Which formula, and how much of a drop of the IoU is lost (`paper` alone; the paper does not
    state lambda). Left out for comparison (Table 4, Fig. 5): `gate`, what turns earned is kept
    whatever the answer; `frames`, what a look shows earns and loses nothing. Raises ConfigError for
    an unknown profile, or a negative or infinite lambda."""

    profile: Profile = "paper"
    lambda_drop: float = 1.0
    gate: bool = True
    frames: bool = True

    def __post_init__(self) -> None:
        if self.profile not in TERMS:
            raise ConfigError(
                f"unknown reward profile {self.profile!r}; expected one of {', '.join(TERMS)}"
            )
        if not (math.isfinite(self.lambda_drop) and self.lambda_drop >= 0):
            raise ConfigError(
                f"lambda_drop must be a finite number, 0 or more, got {self.lambda_drop}"
            )


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """What a turn came to. `iou`: of the frames that a retrieval asked for with the relevant ones,
    0 to 1; None where there is none. `correct`: of an answer, whether it is right. For the other
    kinds of turn these play no part."""

    kind: TurnKind
    iou: float | None = None
    correct: bool | None = False


def iou(frames: Collection[int], gold: Collection[int]) -> float | None:
    """Intersection over union of two sets of pool indices; None for two empty ones, where there is
    nothing to compare."""
    union = set(frames) | set(gold)
    return len(set(frames) & set(gold)) / len(union) if union else None


def score_turns(
    turns: Sequence[TurnOutcome],
    *,
    initial_iou: float | None,
    profile: Profile,
    lambda_drop: float = 1.0,
) -> list[float]:
    """The reward of each turn of a finished episode; see `turn_terms`. Each turn is a `TurnOutcome`
    or any other value with these fields."""
    terms = turn_terms(turns, initial_iou=initial_iou, profile=profile, lambda_drop=lambda_drop)
    return [sum(earned) for earned in zip(*terms.values(), strict=True)]


def turn_terms(
    turns: Sequence[TurnOutcome],
    *,
    initial_iou: float | None,
    profile: Profile,
    lambda_drop: float = 1.0,
    gate: bool = True,
    frames: bool = True,
) -> dict[str, list[float]]:
    """What each turn earned of each term of the profile.

    `initial_iou`: IoU_0, of the frames that the episode begins with; None counts as 0. The last
    turn may be of any kind: an episode can run out of turns.

    `paper` (section 3.2): a right answer earns 1; a retrieval .5 where its IoU is above the best so
    far, else -`lambda_drop` times what it is below that; a turn that conforms .1. Without a right
    answer only the form of the last turn counts.

    `release`: a right answer in turn n (from 1) earns 1 - .1 (n - 1), of which all but the 1 is
    `answer_speed`; a retrieval .5 where its IoU is more than .001 above that of the most recent
    turn that has one; a turn that conforms .1. Where the last turn with a reward above 0 earned
    less than .5, the turns before it lose their .5. `lambda_drop` plays no part.

    `gate`, `frames`: as of `RetrievalRewardSettings`.

    Raises ValueError for an unknown kind of turn, a turn after an answer, a turn other than an
    answer that is correct, and numbers out of range.
    """
    _check(turns, initial_iou, profile, lambda_drop)
    paper = profile == "paper"
    ious = [_iou_of(turn) for turn in turns]
    accuracy = [1.0 if turn.kind == "answer" and turn.correct else 0.0 for turn in turns]
    form = [0.0 if turn.kind == "malformed" else _FORMAT for turn in turns]
    start = float(initial_iou or 0.0)
    gains = _above_best(ious, start, lambda_drop) if paper else _above_previous(ious, start)
    if not frames:
        gains = [0.0] * len(turns)
    if paper:
        if gate and not any(accuracy):
            gains, form = [0.0] * len(turns), [0.0] * len(turns[:-1]) + form[-1:]
        return {"accuracy": accuracy, "frames": gains, "format": form}
    speed = [-_PER_TURN * k if right and k else 0.0 for k, right in enumerate(accuracy)]
    earned = [sum(parts) for parts in zip(accuracy, gains, form, speed, strict=True)]
    positive = [k for k, reward in enumerate(earned) if reward > _ROUNDING]
    if gate and positive and earned[positive[-1]] < _FRAMES - _ROUNDING:
        gains = [0.0 if k < positive[-1] else gain for k, gain in enumerate(gains)]
    return {"accuracy": accuracy, "frames": gains, "format": form, "answer_speed": speed}


def _iou_of(turn: TurnOutcome) -> float | None:
    """The IoU of a retrieval, where it has one."""
    return float(turn.iou) if turn.kind == "retrieve" and turn.iou is not None else None


def _above_best(ious: Sequence[float | None], best: float, lambda_drop: float) -> list[float]:
    """R_fms of each turn: a bonus above the best IoU so far, a penalty for what is below it."""
    gains = []
    for value in ious:
        gain = 0.0
        if value is not None:
            gain = _FRAMES if value > best else lambda_drop * (value - best) + 0.0  # no -0
            best = max(best, value)
        gains.append(gain)
    return gains


def _above_previous(ious: Sequence[float | None], previous: float) -> list[float]:
    """A bonus for each turn whose IoU is above that of the most recent turn that has one."""
    gains = []
    for value in ious:
        gains.append(_FRAMES if value is not None and value > previous + _MARGIN else 0.0)
        previous = previous if value is None else value
    return gains


def _check(
    turns: Sequence[TurnOutcome], initial_iou: float | None, profile: Profile, lambda_drop: float
) -> None:
    for number, turn in enumerate(turns, 1):
        place = f"turn {number} of {len(turns)}"
        if turn.kind not in get_args(TurnKind):
            raise ValueError(
                f"a turn is retrieve, answer or malformed, but {place} is {turn.kind!r}"
            )
        if turn.kind == "answer" and number < len(turns):
            raise ValueError(f"an answer ends an episode, but {place} is one")
        if turn.kind != "answer" and getattr(turn, "correct", None):
            raise ValueError(f"only an answer can be correct, but {place} is a {turn.kind} turn")
        value = _iou_of(turn)
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"the IoU of {place} must lie from 0 to 1, or be None, got {value}")
    if initial_iou is not None and not 0 <= initial_iou <= 1:
        raise ValueError(f"initial_iou must lie from 0 to 1, or be None, got {initial_iou}")
    RetrievalRewardSettings(profile, lambda_drop)  # it checks them


def score_rollout(rollout: RetrievalRollout, settings: RetrievalRewardSettings) -> Score:
    """The reward of an episode, turn by turn and term by term.

    An answer that does not have the form of one (`is_well_formed`) counts as malformed. What cannot
    be known (`unscored`) earns nothing and is counted. Evidence that names no frame at all: every
    look has IoU 0, so frames earn nothing and lose nothing. A look without frames then has IoU 1 in
    `release`, as in the public code, and none in `paper`.
    """
    profile = settings.profile
    terms = turn_terms(
        [_outcome(turn, rollout, profile) for turn in rollout.turns],
        initial_iou=_iou(rollout.turns[0].indices, rollout, profile) if rollout.turns else None,
        profile=profile,
        lambda_drop=settings.lambda_drop,
        gate=settings.gate,
        frames=settings.frames,
    )
    by_turn = {name: tuple(earned) for name, earned in terms.items()}
    return Score(
        tuple(sum(earned) for earned in zip(*by_turn.values(), strict=True)),
        {name: sum(earned) for name, earned in by_turn.items()},
        sum(map(len, unscored(rollout).values())),
        exchange_terms=by_turn,
    )


def unscored(rollout: RetrievalRollout) -> dict[str, list[Unscored]]:
    """What cannot be known of an episode, by the term that depends on it: `accuracy`, whether its
    answer is right; `frames`, of each retrieval, how relevant the frames are that it asked for."""
    found: dict[str, list[Unscored]] = {"accuracy": [], "frames": []}
    for turn in rollout.turns:
        if isinstance(turn.action, Answer) and is_well_formed(
            turn.action.text, rollout.answer, rollout.options
        ):
            verdict = is_right(turn.action.text, rollout.answer, rollout.options)
            found["accuracy"] += [verdict] if isinstance(verdict, Unscored) else []
        elif isinstance(turn.action, Retrieve):
            if rollout.evidence is None:
                found["frames"].append(Unscored("it is not known which frames are relevant"))
            elif turn.asked is None:
                found["frames"].append(Unscored("it is not known which frames were asked for"))
    return found


def _outcome(turn: RetrievalTurn, rollout: RetrievalRollout, profile: Profile) -> TurnOutcome:
    action, gold, options = turn.action, rollout.answer, rollout.options
    if isinstance(action, Retrieve):
        return TurnOutcome("retrieve", _iou(turn.asked, rollout, profile))
    if isinstance(action, Malformed) or not is_well_formed(action.text, gold, options):
        return TurnOutcome("malformed")
    right = is_right(action.text, gold, options, same_decimals=profile == "release")
    return TurnOutcome("answer", correct=right is True)


def _iou(
    frames: Collection[int] | None, rollout: RetrievalRollout, profile: Profile
) -> float | None:
    if frames is None or rollout.evidence is None:
        return None
    found = iou(frames, rollout.evidence.frames)
    return 1.0 if found is None and profile == "release" else found


@dataclass(frozen=True, slots=True)
class RetrievalReward:
    """The reward as a function of an episode. `frames_of(action, task)`: the pool indices that a
    retrieval asks for, by the rule of the environment; see `RetrievalRollout.of`. `thinks`: whether
    the instruction asks for thoughts, so that their lack is worth a warning.

    `Score.values` has the reward of each exchange, 0 for history; they add up to the reward. Raises
    ValueError for an episode with actions of another task.
    """

    settings: RetrievalRewardSettings
    frames_of: FramesOf
    thinks: bool = False

    async def __call__(self, episode: Episode) -> Score:
        score = score_rollout(RetrievalRollout.of(episode, self.frames_of), self.settings)
        sampled = [exchange.acted.sampled for exchange in episode.exchanges]
        return replace(
            score,
            values=_with_history(score.values, sampled),
            exchange_terms={
                name: _with_history(earned, sampled)
                for name, earned in score.exchange_terms.items()
            },
        )

    def metrics(self, episodes: Sequence[Episode]) -> Mapping[str, float | None]:
        return retrieval_metrics([RetrievalRollout.of(e, self.frames_of) for e in episodes])

    def warnings(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        return retrieval_warnings(rows, thinks=self.thinks)


def _with_history(of_turns: Sequence[float], sampled: Sequence[bool]) -> tuple[float, ...]:
    left = iter(of_turns)
    return tuple(next(left) if acted else 0.0 for acted in sampled)
