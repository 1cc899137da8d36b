"""The reward of MMDuet2's reinforcement learning: PAUC, less repetition, replies out of span and
shared openings.

Two profiles. `paper` follows section 4.3.2 and equations 1 and 2; `official` follows the released
function, which differs in denominators, in omega, and in counting repetition inside a span twice.
Judging and scoring are apart: what a judge said about a rollout is a value (`Judgements`) that can
be recorded and replayed.

All four terms are signed: PAUC in [0, 1], the three penalties in [-1, 0].
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from oncue.errors import ConfigError
from oncue.rewards.proactive_log import proactive_metrics, proactive_warnings
from oncue.scoring.judge import Judge
from oncue.scoring.pauc import Point, pauc
from oncue.scoring.score import Judgements, Score, Unscored
from oncue.scoring.spans import distinct, replies_in, replies_outside
from oncue.types import Episode, GoldTurn, TimedReply, reply_text

Profile = Literal["paper", "official"]
RepetitionScope = Literal["dialogue", "span"]
PROFILES: tuple[Profile, ...] = ("paper", "official")
TERMS = ("pauc", "repetition", "in_span", "prefix")
_LARGEST_WEIGHT = 1e6  # the sum of weighed terms stays a number, and keeps its digits
MAX_SCORE = 4  # S: the best mark of a reply; the benchmark has 2


@dataclass(frozen=True, slots=True)
class RewardSettings:
    """Which formula, and how its terms are weighed (paper section 4.3.2: 3, 2, 0.5, 2).

    `prefix_characters`: a reply shares its opening with an earlier one when more than that many
    characters agree (`official`: at least that many). Spans are closed in both profiles.
    `repetition_scope`: whether a reply repeats when it says again what was said anywhere before
    (`dialogue`, as published), or only what was said before in a span of its own (`span`; the
    released function has such a switch): where the same thing truly happens twice, saying it twice
    is no fault.
    """

    profile: Profile = "official"
    pauc: float = 3.0
    repetition: float = 2.0
    in_span: float = 0.5
    prefix: float = 2.0
    prefix_characters: int = 50
    repetition_scope: RepetitionScope = "dialogue"

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ConfigError(
                f"unknown reward profile {self.profile!r}; expected one of {', '.join(PROFILES)}"
            )
        if self.repetition_scope not in get_args(RepetitionScope):
            raise ConfigError(
                f"repetition_scope must be dialogue or span, got {self.repetition_scope!r}"
            )
        if not all(abs(getattr(self, name)) <= _LARGEST_WEIGHT for name in TERMS):  # NaN is neither
            raise ConfigError(
                f"the weights of a reward must lie within {_LARGEST_WEIGHT:,.0f} of 0, got {self}"
            )
        if self.prefix_characters < 1:
            raise ConfigError(f"prefix_characters must be at least 1, got {self.prefix_characters}")

    @property
    def omega(self) -> float:
        return 0.0 if self.profile == "paper" else 0.5


@dataclass(frozen=True, slots=True)
class Rollout:
    """What the reward sees of an episode: when turns ended, the reply of each (None: silent), what
    was due, and the replies that were said before it began (`previous`, its context)."""

    gold: tuple[GoldTurn, ...]
    turns: tuple[tuple[float, str | None], ...]
    previous: tuple[str, ...] = ()

    @property
    def replies(self) -> tuple[TimedReply, ...]:
        """The replies in time order, their text stripped."""
        return tuple(
            TimedReply(time_s, text.strip()) for time_s, text in self.turns if text is not None
        )

    @classmethod
    def of(cls, episode: Episode) -> Rollout:
        """The sampled turns of an episode; replies of its history are `previous`. Malformed turns
        count as silent.

        Raises ValueError for an episode with actions of another task.
        """
        said = [(e, reply_text(e.acted.action)) for e in episode.exchanges]
        return cls(
            episode.task.gold,
            tuple((e.observed.clock_s, text) for e, text in said if e.acted.sampled),
            tuple(text.strip() for e, text in said if text is not None and not e.acted.sampled),
        )


@dataclass(frozen=True, slots=True)
class RewardTerms:
    """The signed terms of one rollout, their weighted sum, and how many judgements were missing."""

    pauc: float
    repetition: float
    in_span: float
    prefix: float
    reward: float
    num_unscored: int


async def judge_rollout(rollout: Rollout, judge: Judge, settings: RewardSettings) -> Judgements:
    """Ask everything the reward of `rollout` needs, all questions on the way at once."""
    if judge.max_score != MAX_SCORE:
        raise ConfigError(
            f"the reward needs marks from 0 to {MAX_SCORE}, judge {judge.name!r} gives 0 to "
            f"{judge.max_score}"
        )
    asked = [
        (i, gold, reply)
        for i, gold in enumerate(rollout.gold)
        for reply in scored_in(rollout, gold, settings)
    ]
    pairs = _compared(rollout, settings)
    marks, verdicts = await asyncio.gather(
        asyncio.gather(
            *(
                judge.coverage(gold.question, gold.content, (reply.text,))
                for _, gold, reply in asked
            )
        ),
        asyncio.gather(*(judge.repeats(previous, reply.text) for reply, previous in pairs)),
    )
    return Judgements(
        {(i, reply.time_s): mark for (i, _, reply), mark in zip(asked, marks, strict=True)},
        {reply.time_s: verdict for (reply, _), verdict in zip(pairs, verdicts, strict=True)},
    )


def scored_in(rollout: Rollout, gold: GoldTurn, settings: RewardSettings) -> tuple[TimedReply, ...]:
    """The replies that get a mark for this gold turn. `official` leaves out exact duplicates inside
    the span."""
    inside = replies_in(rollout.replies, gold.span)
    return inside if settings.profile == "paper" else distinct(inside)


def reward_terms(rollout: Rollout, judgements: Judgements, settings: RewardSettings) -> RewardTerms:
    """The reward of a judged rollout. A missing judgement takes part in no mean and is counted."""
    missing: list[object] = []
    paper = settings.profile == "paper"
    replies = rollout.replies
    outside = replies_outside(replies, [gold.span for gold in rollout.gold])
    if paper:
        in_span, prefix = (
            _ratio(len(outside), len(replies)),
            _shared_openings(rollout, settings, of_replies=True),
        )
    else:
        num_turns_outside = sum(
            not any(time_s in g.span for g in rollout.gold) for time_s, _ in rollout.turns
        )
        in_span, prefix = (
            _ratio(len(outside), num_turns_outside),
            _shared_openings(rollout, settings, of_replies=False),
        )
    terms = {
        "pauc": _mean_pauc(rollout, judgements, settings, missing.append),
        "repetition": -_mean(_repeated(rollout, judgements, settings, missing.append)),
        "in_span": -in_span,
        "prefix": -prefix,
    }
    reward = sum(getattr(settings, name) * value for name, value in terms.items())
    return RewardTerms(**terms, reward=reward, num_unscored=len(missing))


def pauc_points(
    rollout: Rollout, judgements: Judgements, settings: RewardSettings
) -> dict[int, list[Point | Unscored]]:
    """What PAUC is made of: by number of the gold turn the marks of its replies, each of them
    marked alone.

    `official`: gold turns that begin after the last turn are skipped, and where spans overlap the
    mark for the later one counts in both (its results are stored by time alone). Marks for replies
    outside the span count nowhere, and a mark that is missing stays missing.
    """
    gold = list(enumerate(rollout.gold))
    if settings.profile == "official":
        last_s = rollout.turns[-1][0] if rollout.turns else 0.0
        gold = [(i, turn) for i, turn in gold if turn.span.start_s <= last_s]
    due = [(i, turn, reply) for i, turn in gold for reply in scored_in(rollout, turn, settings)]
    asked = [(i, reply.time_s) for i, _, reply in due]
    marks = {key: judgements.coverage.get(key, Unscored("not judged")) for key in asked}
    if settings.profile == "official":
        decided = {key: mark for key, mark in marks.items() if not isinstance(mark, Unscored)}
        # In the order of the gold turns
        latest = {time_s: mark for (_, time_s), mark in decided.items()}
        marks |= {(i, time_s): latest[time_s] for i, time_s in decided}
    found: dict[int, list[Point | Unscored]] = {i: [] for i, _ in gold}
    for i, turn, reply in due:
        mark = marks[i, reply.time_s]
        found[i].append(
            mark if isinstance(mark, Unscored) else Point(reply.time_s - turn.span.start_s, mark)
        )
    return found


def with_predecessors(
    rollout: Rollout, settings: RewardSettings
) -> list[tuple[TimedReply, tuple[str, ...]]]:
    """Each reply with the different texts before it that it may repeat, see `repetition_scope`."""
    replies = rollout.replies
    if settings.repetition_scope == "span":
        spans = [gold.span for gold in rollout.gold]
        earlier = [
            [
                e.text
                for e in replies[:i]
                if any(e.time_s in span and reply.time_s in span for span in spans)
            ]
            for i, reply in enumerate(replies)
        ]
    else:
        previous = [text.strip() for text in rollout.previous]
        earlier = [[*previous, *(e.text for e in replies[:i])] for i in range(len(replies))]
    return [
        (reply, tuple(dict.fromkeys(texts))) for reply, texts in zip(replies, earlier, strict=True)
    ]


def turn_values(rollout: Rollout, judgements: Judgements, settings: RewardSettings) -> list[float]:
    """What each turn of a judged rollout earned; the values add up to its reward minus that of
    silence.

    Turn k earns the reward of the rollout with its replies up to turn k and silence after it, minus
    the same up to turn k - 1. So a silent turn earns 0. Nothing more is judged.
    """
    spoken = [k for k, (_, text) in enumerate(rollout.turns) if text is not None]
    silent = tuple((time_s, None) for time_s, _ in rollout.turns)
    values = [0.0] * len(rollout.turns)
    before = (
        reward_terms(replace(rollout, turns=silent), judgements, settings).reward if spoken else 0.0
    )
    for k in spoken:
        up_to_here = replace(rollout, turns=(*rollout.turns[: k + 1], *silent[k + 1 :]))
        reward = reward_terms(up_to_here, judgements, settings).reward
        values[k], before = reward - before, reward
    return values


@dataclass(frozen=True, slots=True)
class ProactiveReward:
    """The reward as a function of an episode: what each exchange earned (`turn_values`), the named
    terms beside it."""

    judge: Judge
    settings: RewardSettings = RewardSettings()

    async def __call__(self, episode: Episode) -> Score:
        rollout = Rollout.of(episode)
        judgements = await judge_rollout(rollout, self.judge, self.settings)
        terms = reward_terms(rollout, judgements, self.settings)
        earned = iter(turn_values(rollout, judgements, self.settings))
        values = tuple(next(earned) if e.acted.sampled else 0.0 for e in episode.exchanges)
        of_terms = {name: getattr(terms, name) for name in TERMS}
        return Score(values, of_terms, terms.num_unscored, judgements, terms.reward)

    def metrics(self, episodes: Sequence[Episode]) -> Mapping[str, float | None]:
        return proactive_metrics(episodes)

    def warnings(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        return proactive_warnings(rows)


Note = Callable[[object], None]


def _mean_pauc(
    rollout: Rollout, judgements: Judgements, settings: RewardSettings, miss: Note
) -> float:
    values = []
    for i, found in pauc_points(rollout, judgements, settings).items():
        for mark in found:
            if isinstance(mark, Unscored):
                miss(mark)
        points = [mark for mark in found if isinstance(mark, Point)]
        values.append(
            pauc(points, rollout.gold[i].span.duration_s, max_score=MAX_SCORE, omega=settings.omega)
        )
    return _mean(values)


def _repeated(
    rollout: Rollout, judgements: Judgements, settings: RewardSettings, miss: Note
) -> list[bool]:
    """Whether each reply repeats an earlier one; `official` over the whole dialogue appends the
    judge's verdict on the second and later replies of each span once more."""
    judged: dict[float, bool] = {}
    verdicts = []
    asked = {reply.time_s for reply, _ in _compared(rollout, settings)}
    for reply, before in with_predecessors(rollout, settings):
        if reply.text in before:  # the very words of an earlier one
            verdicts.append(True)
            continue
        verdict = (
            judgements.repeated.get(reply.time_s, Unscored("not judged"))
            if reply.time_s in asked
            else False
        )
        if isinstance(verdict, Unscored):
            miss(verdict)
        else:
            judged[reply.time_s] = verdict
            verdicts.append(verdict)
    if settings.profile == "official" and settings.repetition_scope == "dialogue":
        later = [
            reply
            for gold in rollout.gold
            for reply in distinct(replies_in(rollout.replies, gold.span))[1:]
        ]
        verdicts += [judged[reply.time_s] for reply in later if reply.time_s in judged]
    return verdicts


def _compared(
    rollout: Rollout, settings: RewardSettings
) -> list[tuple[TimedReply, tuple[str, ...]]]:
    """The replies a judge must compare, each with what it may repeat; exact duplicates need no
    judge.

    `official` over the whole dialogue also asks about a reply before which nothing was said.
    """
    ask_first = settings.profile == "official" and settings.repetition_scope == "dialogue"
    pairs = with_predecessors(rollout, settings)
    return [
        (reply, before)
        for reply, before in pairs
        if reply.text not in before and (before or ask_first)
    ]


def _shared_openings(rollout: Rollout, settings: RewardSettings, *, of_replies: bool) -> float:
    """The share of replies (`official`: of turns) that begin like an earlier reply. A silent turn
    begins like none."""
    earlier = [text.strip() for text in rollout.previous]
    # The paper's text: larger than; the released code: at least
    needed = settings.prefix_characters + of_replies
    num_shared = 0
    for reply in rollout.replies:
        num_shared += any(_num_shared(reply.text, text) >= needed for text in earlier)
        earlier.append(reply.text)
    return _ratio(num_shared, len(rollout.replies) if of_replies else len(rollout.turns))


def _num_shared(one: str, other: str) -> int:
    """How many characters two texts have in common from their beginning."""
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _mean(values: Sequence[float] | Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
