"""Scores of proactive dialogues, by the steps of ProactiveVideoQA (arXiv 2507.09313), and what else
a user asks for.

Every gold turn of every sample weighs the same. Shares lie in [0, 1]; only tables multiply by 100.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from oncue.errors import ConfigError, DataError
from oncue.scoring.judge import Judge
from oncue.scoring.redundancy import DuplicateCount, Scope, count_duplicates
from oncue.scoring.score import Unscored
from oncue.scoring.spans import covered_s, replies_outside
from oncue.scoring.turn_scores import TurnScore, score_turn
from oncue.types import Episode, GoldTurn, Silence, Task, TimedReply, reply_text


@dataclass(frozen=True, slots=True)
class Transcript:
    """All that scoring needs of a dialogue: its task, the replies with their times, and how long it
    watched.

    `num_turns` and `num_silent` are 0 where only the replies are known (predictions read from a
    file).
    """

    task: Task
    replies: tuple[TimedReply, ...]
    watched_s: float
    num_turns: int = 0
    num_silent: int = 0

    @classmethod
    def of(cls, episode: Episode) -> Transcript:
        """The sampled replies of an episode; history and malformed turns are no replies.

        Raises ValueError for an episode with actions of another task.
        """
        sampled = [e for e in episode.exchanges if e.acted.sampled]
        said = [(e.observed.clock_s, reply_text(e.acted.action)) for e in sampled]
        return cls(
            episode.task,
            tuple(TimedReply(clock_s, text) for clock_s, text in said if text is not None),
            watched_s=episode.exchanges[-1].observed.clock_s if episode.exchanges else 0.0,
            num_turns=len(sampled),
            num_silent=sum(isinstance(e.acted.action, Silence) for e in sampled),
        )


def transcripts_of(
    tasks: Iterable[Task], predictions: Mapping[str, Sequence[TimedReply]]
) -> tuple[Transcript, ...]:
    """One transcript per task, replies looked up by `task_id`; a task without predictions has none,
    and counts.

    Raises DataError for predictions about an unknown task, or a task without a duration.
    """
    transcripts = []
    for task in tasks:
        if task.duration_s is None:
            raise DataError(
                f"task {task.task_id!r} has no duration; predictions cannot be scored without it"
            )
        transcripts.append(
            Transcript(task, tuple(predictions.get(task.task_id, ())), task.duration_s)
        )
    unknown = sorted(set(predictions) - {t.task.task_id for t in transcripts})
    if unknown:
        raise DataError(
            f"predictions for {len(unknown)} unknown task ids, the first is {unknown[0]!r}; check "
            "the file"
        )
    return tuple(transcripts)


@dataclass(frozen=True, slots=True)
class DialogueScore:
    """One sample: its gold turns, and the replies that lie in the span of none of them."""

    transcript: Transcript
    turns: tuple[TurnScore, ...]
    false_replies: tuple[TimedReply, ...]
    duplicates: DuplicateCount


@dataclass(frozen=True, slots=True)
class ProactiveResult:
    """The scores of a set of dialogues. Properties that are means are None where there is nothing
    to average."""

    judge: str
    max_score: int
    omegas: tuple[float, ...]
    duplicate_scope: Scope
    dialogues: tuple[DialogueScore, ...]

    @property
    def turns(self) -> tuple[TurnScore, ...]:
        """All gold turns of all samples."""
        return tuple(turn for dialogue in self.dialogues for turn in dialogue.turns)

    def pauc(self, omega: float = 0.5) -> float | None:
        """Mean over all gold turns, in [0, 1]. Raises ConfigError for an omega that was not
        scored."""
        if omega not in self.omegas:
            raise ConfigError(
                f"PAUC was scored for omega {', '.join(map(str, self.omegas))}; got {omega}"
            )
        column = self.omegas.index(omega)
        return _mean([turn.pauc[column] for turn in self.turns])

    @property
    def duplicates(self) -> DuplicateCount:
        return sum((d.duplicates for d in self.dialogues), DuplicateCount())

    @property
    def num_replies(self) -> int:
        return sum(len(d.transcript.replies) for d in self.dialogues)

    @property
    def num_false_replies(self) -> int:
        return sum(len(d.false_replies) for d in self.dialogues)

    @property
    def num_hit_turns(self) -> int:
        """Gold turns with at least one reply in their span."""
        return sum(turn.delay_s is not None for turn in self.turns)

    @property
    def first_reply_delay_s(self) -> float | None:
        """Mean over hit gold turns; negative where a reply in the span came before the event could
        be seen."""
        return _mean([turn.delay_s for turn in self.turns if turn.delay_s is not None])

    @property
    def watched_s(self) -> float:
        return sum(d.transcript.watched_s for d in self.dialogues)

    @property
    def quiet_s(self) -> float:
        """Seconds watched in which no reply was due."""
        return sum(
            d.transcript.watched_s
            - covered_s((g.span for g in d.transcript.task.gold), d.transcript.watched_s)
            for d in self.dialogues
        )

    @property
    def false_replies_per_min(self) -> float | None:
        """Replies in no gold span of any question of their video, per minute of video watched."""
        return _ratio(self.num_false_replies * 60, self.watched_s)

    @property
    def false_replies_per_quiet_min(self) -> float | None:
        """The same replies per minute in which no reply was due."""
        return _ratio(self.num_false_replies * 60, self.quiet_s)

    @property
    def replies_per_min(self) -> float | None:
        return _ratio(self.num_replies * 60, self.watched_s)

    @property
    def silence_rate(self) -> float | None:
        """Silent turns over all turns of the policy; None for predictions read from a file."""
        turns = sum(d.transcript.num_turns for d in self.dialogues)
        return _ratio(sum(d.transcript.num_silent for d in self.dialogues), turns)

    @property
    def num_judged(self) -> int:
        """Replies the judge was asked about, once for each gold span they lie in; the unscored ones
        included."""
        return sum(len(turn.replies) for turn in self.turns)

    @property
    def num_unscored(self) -> int:
        return sum(turn.num_unscored for turn in self.turns)

    @property
    def unscored_share(self) -> float:
        return self.num_unscored / self.num_judged if self.num_judged else 0.0


async def score_proactive(
    episodes: Iterable[Episode | Transcript],
    judge: Judge,
    max_score: int = 2,
    omegas: Sequence[float] = (0.0, 0.5, 1.0),
    duplicate_scope: Scope = "within_turn",
) -> ProactiveResult:
    """The scores of `episodes`, all questions to the judge on the way at once (a judge limits its
    own rate).

    A reply counts for a gold turn when it lies in its closed span; one whose text equals an earlier
    one of the same turn is skipped; the judge sees all kept replies of the turn so far. Replies it
    could not mark are left out of the area and counted. Raises ConfigError when the judge gives
    marks of another scale than `max_score`, and DataError for a gold span without width.
    """
    if judge.max_score != max_score:
        raise ConfigError(
            f"judge {judge.name!r} gives marks up to {judge.max_score}, the score needs up to "
            f"{max_score}"
        )
    transcripts = [e if isinstance(e, Transcript) else Transcript.of(e) for e in episodes]
    for transcript in transcripts:
        for number, gold in enumerate(transcript.task.gold, 1):
            if gold.span.duration_s <= 0:
                raise DataError(
                    f"gold turn {number} of task {transcript.task.task_id!r} has a span without "
                    "width at "
                    f"{gold.span.start_s:g} s; widen or drop it"
                )
    dialogues = await asyncio.gather(
        *(_score_dialogue(t, judge, max_score, omegas, duplicate_scope) for t in transcripts)
    )
    return ProactiveResult(judge.name, max_score, tuple(omegas), duplicate_scope, tuple(dialogues))


async def _score_dialogue(
    transcript: Transcript, judge: Judge, max_score: int, omegas: Sequence[float], scope: Scope
) -> DialogueScore:
    task, spans = transcript.task, [gold.span for gold in transcript.task.gold]
    turns = asyncio.gather(
        *(_score_turn(task, g, transcript.replies, judge, max_score, omegas) for g in task.gold)
    )
    duplicates = await count_duplicates(transcript.replies, spans, judge, scope)
    return DialogueScore(
        transcript, tuple(await turns), replies_outside(transcript.replies, spans), duplicates
    )


async def _score_turn(
    task: Task,
    gold: GoldTurn,
    replies: Sequence[TimedReply],
    judge: Judge,
    max_score: int,
    omegas: Sequence[float],
) -> TurnScore:
    question = gold.question or (task.questions[0].text if task.questions else "")

    async def mark_of(_: TimedReply, texts: Sequence[str]) -> int | Unscored:
        return await judge.coverage(question, gold.content, texts)

    return await score_turn(task.task_id, gold, replies, mark_of, max_score, omegas)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator > 0 else None
