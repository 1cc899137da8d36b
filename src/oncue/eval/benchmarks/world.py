"""Scores on held-out clips of a world, beside silence, talk at every turn, and the earliest perfect
replies.

The clips are real video files, kept in a cache; a model watches them as it would watch any file.
Two controls show whether it looks: clips that stand still (any reply is false) and clips whose
frames come in a random order. Between two such frames things really appear, leave and move, and
some of what may be said of them is due by chance; so a truthful watcher is shown beside the
model, too, who tells what differs from the frame before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from oncue.clock import Clock
from oncue.errors import ConfigError
from oncue.eval.benchmarks.baselines import oracle_replies, truthful_replies
from oncue.eval.benchmarks.world_clips import (
    CLOCK,
    ClipFile,
    ClipSet,
    open_clip,
    prepare,
    shown_times,
)
from oncue.eval.episodes import watch
from oncue.eval.runner import ShowProgress
from oncue.eval.table import TextTable, percent, proactive_json, proactive_table, rounded
from oncue.policy.open_policy import Policy
from oncue.scoring.metrics import (
    DialogueScore,
    ProactiveResult,
    Transcript,
    TurnScore,
    score_proactive,
)
from oncue.scoring.score import Unscored
from oncue.scoring.spans import replies_in
from oncue.scoring.world_judge import world_judge
from oncue.types import PolicySession, Question, Task, TimedReply
from oncue.world.clip import Clip

NUM_AT_ONCE = 16  # clips watched together: sessions share the forwards of one engine
TEXT_FILES = ("table.txt", "clips.jsonl")
OMEGAS = (0.0, 0.5, 1.0)
HEADLINE_OMEGA = 0.5
SILENCE, TALK, ORACLE, TRUTHFUL = "silence", "talk every turn", "oracle", "truthful watcher"

# What talk-every-turn says: a sentence that is often due in that world.
TALK_TEXTS = {"shapes": "Left: red square appears.", "footage": "Left: something appears."}


def baselines(
    clips: Iterable[Clip], control: str = "none", clock: Clock = CLOCK
) -> dict[str, list[Transcript]]:
    """Silence, talk at every turn and the oracle on the turns of the clips, and the truthful
    watcher of shuffled frames; no frame is needed.

    Equals holding the dialogues with SilentPolicy, TalkPolicy, and ScriptedPolicy on
    `oracle_replies` and `truthful_replies`.
    """
    said: dict[str, list[Transcript]] = {}
    for clip in clips:
        num_turns = clock.first_at_or_after(clip.scene.duration_s)
        talk = {clock.time_of(k): TALK_TEXTS[clip.world] for k in range(1, num_turns + 1)}
        replies = {
            SILENCE: {},
            TALK: talk,
            ORACLE: oracle_replies(clip.task, clock.frame_interval_s),
        }
        if control == "shuffled":
            replies[TRUTHFUL] = truthful_replies(
                clip, shown_times(clip, control, clock), clock.frame_interval_s
            )
        for name, texts in replies.items():
            said.setdefault(name, []).append(
                _scripted(clip.task, clock.time_of(num_turns), num_turns, texts)
            )
    return said


def _scripted(
    task: Task, watched_s: float, num_turns: int, replies: Mapping[float, str]
) -> Transcript:
    spoken = tuple(TimedReply(time_s, text) for time_s, text in sorted(replies.items()))
    return Transcript(task, spoken, watched_s, num_turns, num_turns - len(spoken))


@dataclass(frozen=True, slots=True)
class WorldScores:
    """The scores of the model and of what is compared with it, on the same clips, by name of the
    policy."""

    clips: ClipSet
    model: str
    results: Mapping[str, ProactiveResult]

    def headline(self) -> dict[str, Any]:
        """PAUC and duplicates in percent, at omega 0.5; `duplicates` is 0 where no reply had one
        before it in its span.

        Under a control, also its name and all replies per minute, and on shuffled frames the PAUC
        of the truthful watcher; PAUC is None where nothing is due.
        """
        result = self.results[self.model]
        shown = {
            "world": self.clips.world,
            "n_clips": len(result.dialogues),
            "pauc": self._pauc(self.model),
            "silence_pauc": self._pauc(SILENCE),
            "talk_pauc": self._pauc(TALK),
            "oracle_pauc": self._pauc(ORACLE),
            "duplicates": percent(result.duplicates.share or 0.0),
            "first_reply_delay_s": rounded(result.first_reply_delay_s, 3),
            "false_replies_per_min": rounded(result.false_replies_per_min, 3),
        }
        if self.clips.control != "none":
            shown |= {
                "control": self.clips.control,
                "replies_per_min": rounded(result.replies_per_min, 3),
            }
        if self.clips.control == "shuffled":
            shown["truthful_pauc"] = self._pauc(TRUTHFUL)
        return shown

    def tables(self) -> tuple[TextTable, ...]:
        return (self.table(),)

    def table(self) -> TextTable:
        """One row per policy."""
        control = "" if self.clips.control == "none" else f", control {self.clips.control}"
        title = f"World {self.clips.world}, split {self.clips.split}{control}"
        return proactive_table(self.results, title)

    def remarks(self) -> tuple[str, ...]:
        """None: the table says it all."""
        return ()

    def texts(self) -> dict[str, str]:
        """The table, and per clip what was due and what the model said."""
        lines = clip_lines(self.results[self.model])
        table, clips = TEXT_FILES
        return {
            table: self.table().plain() + "\n",
            clips: "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines),
        }

    def numbers(self) -> dict[str, Any]:
        """Everything measured, for a file: what was watched, the headline, and the numbers of each
        policy."""
        clips = {field.name: getattr(self.clips, field.name) for field in fields(self.clips)}
        policies = {name: proactive_json(result) for name, result in self.results.items()}
        return {
            "clips": clips,
            "model": self.model,
            "headline": self.headline(),
            "policies": policies,
        }

    def _pauc(self, name: str) -> float | None:
        return percent(self.results[name].pauc(HEADLINE_OMEGA))


def check_model_name(model: str) -> None:
    """Raises ConfigError for the name of a policy to compare the model with."""
    if model in (SILENCE, TALK, ORACLE, TRUTHFUL):
        raise ConfigError(
            f"a model cannot be called {model!r} here; that is the name of a baseline"
        )


@dataclass(frozen=True, slots=True)
class World:
    """The benchmark: `clips`, kept as video files below the folder `cache`."""

    clips: ClipSet
    cache: Path
    num_at_once: int = NUM_AT_ONCE
    text_files: tuple[str, ...] = TEXT_FILES

    def check_name(self, name: str) -> None:
        check_model_name(name)

    def questions(self) -> tuple[Question, ...]:
        """None to check: a world's own are plain words."""
        return ()

    def items(self, show: ShowProgress) -> list[ClipFile]:
        with show("making clips", self.clips.limit) as steps:
            return prepare(self.cache, self.clips, steps.step)

    def session(self, policy: Policy[PolicySession], item: ClipFile) -> PolicySession:
        """Each clip has a seed of its own, whoever else is being watched."""
        seed = (self.clips.seed << 32) + item.clip.index
        return policy.open(item.clip.task, seed=seed)

    async def watch(self, item: ClipFile, policy: Policy[PolicySession]) -> Transcript:
        clips = self.clips
        with (
            closing(open_clip(item, clips.control, clips.frame_interval_s)) as source,
            closing(self.session(policy, item)) as session,
        ):
            return await watch(source, session, item.clip.task)

    async def score(
        self, name: str, items: Sequence[ClipFile], seen: Sequence[Transcript]
    ) -> WorldScores:
        return await score_world(self.clips, items, name, seen)


async def score_world(
    clips: ClipSet, files: Sequence[ClipFile], model: str, transcripts: Sequence[Transcript]
) -> WorldScores:
    """The scores of `transcripts`, those of the policy called `model`, and of the baselines, by the
    exact judge."""
    check_model_name(model)
    judge = world_judge()
    beside = baselines((file.clip for file in files), clips.control, clips.clock)
    said = {model: list(transcripts), **beside}
    return WorldScores(
        clips, model, {name: await score_proactive(t, judge, 2, OMEGAS) for name, t in said.items()}
    )


def clip_lines(result: ProactiveResult) -> list[dict[str, Any]]:
    """One object per clip: what was asked, what was due and said in each span, and what was said in
    none. A reply with the text of an earlier one of its span has `repeats` in place of a mark."""
    column = result.omegas.index(HEADLINE_OMEGA)
    return [
        {
            "clip": dialogue.transcript.task.task_id,
            "duration_s": dialogue.transcript.task.duration_s,
            "questions": [
                {"time_s": q.time_s, "text": q.text} for q in dialogue.transcript.task.questions
            ],
            "gold": [
                {
                    "span": [turn.gold.span.start_s, turn.gold.span.end_s],
                    "text": turn.gold.content,
                    "visible_s": turn.gold.visible_s,
                    "pauc": percent(turn.pauc[column]),
                    "replies": _replies_of(dialogue, turn),
                }
                for turn in dialogue.turns
            ],
            "false_replies": [_line(reply) for reply in dialogue.false_replies],
        }
        for dialogue in result.dialogues
    ]


def _replies_of(dialogue: DialogueScore, turn: TurnScore) -> list[dict[str, Any]]:
    marks = {marked.reply: marked.mark for marked in turn.replies}
    lines = []
    for reply in replies_in(dialogue.transcript.replies, turn.gold.span):
        mark = marks.pop(reply, None)
        judged = (
            {"repeats": True}
            if mark is None
            else {"mark": None if isinstance(mark, Unscored) else mark}
        )
        lines.append(_line(reply) | judged)
    return lines


def _line(reply: TimedReply) -> dict[str, Any]:
    return {"time_s": reply.time_s, "text": reply.text}
