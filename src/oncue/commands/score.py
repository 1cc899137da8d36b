"""`oncue score rewards`: the training reward of stored rollouts, again and offline."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

import tyro

from oncue.aio import completed
from oncue.commands.judging import JudgeServer
from oncue.commands.progress import Progress
from oncue.commands.score_retrieval import PROFILES as RETRIEVAL_PROFILES
from oncue.commands.score_retrieval import score_episodes
from oncue.errors import ConfigError
from oncue.files import prepare_folder, replacing
from oncue.terminal import console_on

if TYPE_CHECKING:
    from oncue.eval.table import TextTable
    from oncue.records.rescoring import ScoredRollout
    from oncue.records.rollouts import StoredRollout
    from oncue.rewards.proactive import Judgements, RewardSettings
    from oncue.scoring.judge import Judge

    Answering = Judge | Mapping[str, Judgements]

_NUM_REASONS = 3  # shown of those for which judgements are missing


@dataclass(frozen=True)
class ScoreRewards:
    """Score stored rollouts with the reward of multi-turn reinforcement learning, term by term.

    Example: oncue score rewards rollouts.jsonl --judge lexical --profile official --json

    Episodes of retrieval need no judge, and no weights:
    oncue score rewards episodes.jsonl --profile video-mtr --json
    """

    episodes: tyro.conf.Positional[Path]
    """JSON lines of {"episode_id", "gold": [{"question", "content", "reply_timespan": [a, b]}],
    "turns": [{"time", "text"}], "previous_replies": [...]}; the text of a silent turn is NO REPLY.
    With the profiles video-mtr: {"episode_id", "question", "options": [...], "answer",
    "duration_s", "evidence": {"frames": [...], "num_frames", "spans": [[a, b]]}, "turns":
    [{"frames": [...], "times": [...], "thought", "action", "asked": [...]}]}; an action is
    {"retrieve": [a, b]}, {"answer": "B"} or {"malformed": "why"}, the last with its "text";
    "asked", the frames of a retrieval, may be left out where the next turn shows them."""

    judge: str | None = None
    """Needed with paper and official: exact (for generated clips), lexical (shared words),
    openai:MODEL@URL (any OpenAI-compatible server, its key in OPENAI_API_KEY), or replay:FILE (what
    --record wrote)."""

    profile: Literal["paper", "official", "video-mtr", "video-mtr-release"] = "official"
    """The formula: of MMDuet2, that of the paper's text or of the released code (official); of
    Video-MTR, the same two (video-mtr, video-mtr-release)."""

    weight_pauc: float = 3.0
    """Weight of PAUC, 0 to 1."""

    weight_repetition: float = 2.0
    """Weight of the share of replies that say nothing new, -1 to 0."""

    weight_in_span: float = 0.5
    """Weight of the share of replies outside every gold span, -1 to 0."""

    weight_prefix: float = 2.0
    """Weight of the share of replies that begin like an earlier one, -1 to 0."""

    prefix_characters: int = 50
    """Common characters from which two replies begin alike (paper: more than these, official:
    these)."""

    repetition_scope: Literal["dialogue", "span"] = "dialogue"
    """What a reply may repeat: all that was said before it (as published), or only what was said in
    a span of its own."""

    lambda_drop: float | None = None
    """video-mtr: how much of a drop of the IoU below the best one is lost. By default 1."""

    record: Path | None = None
    """File for what the judge decided, in the format of replay:FILE."""

    server: tyro.conf.OmitArgPrefixes[JudgeServer] = field(default_factory=JudgeServer)

    json: bool = False
    """One JSON object per rollout on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Read, judge, score. Returns the exit code."""
        if self.profile in RETRIEVAL_PROFILES:
            self._check_retrieval_flags()
            return score_episodes(self.episodes, self.profile, self.lambda_drop, as_json=self.json)
        return self._judge_and_score(self._checked_judge())

    def _judge_and_score(self, spec: str) -> int:
        from oncue.records.rollouts import read_rollouts

        settings = self._settings()
        self._check_record(spec)
        stored = read_rollouts(self.episodes)
        judge = self._judge(spec)
        if isinstance(judge, Mapping):
            _warn_of_strays(stored, judge)
        with contextlib.ExitStack() as files:
            record = None
            if self.record is not None:
                prepare_folder(self.record.parent, "give another --record")
                record = files.enter_context(
                    files.enter_context(replacing(self.record)).open("w", encoding="utf-8")
                )
            scored = completed(self._score(stored, judge, settings, record))
        self._report(scored, settings, spec)
        return 0

    async def _score(
        self,
        stored: Sequence[StoredRollout],
        judge: Answering,
        settings: RewardSettings,
        record: TextIO | None,
    ) -> list[ScoredRollout]:
        """Scores all, and says each as soon as it is there."""
        from oncue.records.judgements import judgement_lines
        from oncue.records.rescoring import score_rollouts
        from oncue.scoring.server_judge import ServerJudge

        scored: list[ScoredRollout] = []
        try:
            with Progress("scoring rollouts", len(stored)) as progress:
                async with aclosing(score_rollouts(stored, judge, settings)) as results:
                    async for one in results:
                        scored.append(one)
                        if self.json:
                            print(json.dumps(one.line(), ensure_ascii=False), flush=True)
                        if record is not None:
                            lines = judgement_lines(one.stored.episode_id, one.judgements)
                            record.writelines(json.dumps(line) + "\n" for line in lines)
                        progress.step()
        finally:
            if isinstance(judge, ServerJudge):
                await judge.aclose()
                print(f"judge {judge.name}: {judge.usage.line()}", file=sys.stderr)
        if isinstance(judge, ServerJudge):
            judge.check_alive()
        return scored

    def _report(self, scored: Sequence[ScoredRollout], settings: RewardSettings, spec: str) -> None:
        if not self.json:
            table, console = _table(scored, settings, spec), console_on(sys.stdout)
            console.print(
                table.rich() if console.is_terminal else table.plain(), markup=False, soft_wrap=True
            )
        for line in _missing(scored):
            print(line, file=sys.stderr)

    def _check_retrieval_flags(self) -> None:
        """Raises ConfigError for flags that would do nothing with episodes of retrieval."""
        others = ("episodes", "profile", "lambda_drop", "server", "json")
        given = [
            flag.name
            for flags in (self, self.server)
            for flag in fields(flags)
            if flag.name not in others and getattr(flags, flag.name) != flag.default
        ]
        if given:
            raise ConfigError(
                f"--{given[0].replace('_', '-')} is for the profiles paper and official; leave it "
                f"out with --profile {self.profile}, which asks no judge and weighs nothing"
            )

    def _checked_judge(self) -> str:
        """The name of the judge. Raises ConfigError where none is given, and for a flag of
        retrieval."""
        if self.lambda_drop is not None:
            raise ConfigError(
                f"--lambda-drop is for --profile video-mtr; leave it out with {self.profile}"
            )
        if self.judge is None:
            raise ConfigError(
                f"--profile {self.profile} needs --judge: exact, lexical, openai:MODEL@URL or "
                "replay:FILE; for episodes of retrieval give --profile video-mtr"
            )
        return self.judge

    def _settings(self) -> RewardSettings:
        from oncue.rewards.proactive import TERMS, RewardSettings

        weights = {name: getattr(self, f"weight_{name}") for name in TERMS}
        return RewardSettings(
            "paper" if self.profile == "paper" else "official",
            **weights,
            prefix_characters=self.prefix_characters,
            repetition_scope=self.repetition_scope,
        )

    def _check_record(self, spec: str) -> None:
        """Raises ConfigError where --record would take the place of what is read."""
        from oncue.records.judgements import PREFIX

        read = {"rollouts": self.episodes}
        if spec.startswith(PREFIX):
            read["judgements"] = Path(spec.removeprefix(PREFIX))
        for what, path in read.items():
            if self.record is not None and self.record.resolve() == path.resolve():
                raise ConfigError(
                    f"--record {self.record} is the file the {what} are read from; give another"
                )

    def _judge(self, spec: str) -> Answering:
        """A judge, or what one decided. Raises ConfigError for flags that would do nothing with
        it."""
        from oncue.records.judgements import PREFIX, read_judgements

        if spec.startswith(PREFIX):
            self.server.check_unused(spec)
            return read_judgements(Path(spec.removeprefix(PREFIX)))
        from oncue.rewards.proactive import MAX_SCORE

        return self.server.judge(spec, MAX_SCORE)


def _warn_of_strays(stored: Sequence[StoredRollout], recorded: Mapping[str, Judgements]) -> None:
    """Says where recorded judgements cannot be meant for these rollouts."""
    from oncue.records.judgements import num_strays

    strays = {
        one.episode_id: num_strays(one, recorded[one.episode_id])
        for one in stored
        if one.episode_id in recorded
    }
    unknown = sorted(recorded.keys() - strays.keys())
    if unknown:
        print(
            f"oncue: warning: judgements of {len(unknown)} episodes that are not among the "
            "rollouts (the first is "
            f"{unknown[0]!r}) are not used",
            file=sys.stderr,
        )
    first = next((name for name, number in strays.items() if number), None)
    if first is not None:
        print(
            f"oncue: warning: {sum(strays.values())} recorded judgements name a reply or gold turn "
            "that their episode "
            f"does not have, or a reply outside the span (the first in {first!r}); they are not "
            "used",
            file=sys.stderr,
        )


def _table(scored: Sequence[ScoredRollout], settings: RewardSettings, judge: str) -> TextTable:
    """Mean, lowest and highest of every term, and of the reward."""
    from oncue.eval.table import TextTable
    from oncue.rewards.proactive import TERMS

    rows = []
    for name in (*TERMS, "reward"):
        values = [one.line()[name] for one in scored]
        weight = f"{getattr(settings, name):g}" if name in TERMS else ""
        numbers = (sum(values) / len(values), min(values), max(values))
        rows.append((name, weight, *(f"{number:.4f}" for number in numbers)))
    title = f"Reward, profile {settings.profile} (N = {len(scored)} rollouts; judge {judge})"
    return TextTable(title, ("term", "weight", "mean", "lowest", "highest"), tuple(rows))


def _missing(scored: Sequence[ScoredRollout]) -> list[str]:
    """What to say where judgements are missing: how many, in how many rollouts, and why."""
    from oncue.scoring.score import Unscored

    num_missing = sum(one.terms.num_unscored for one in scored)
    if not num_missing:
        return []
    num_rollouts = sum(one.terms.num_unscored > 0 for one in scored)
    missing = [
        mark.reason
        for one in scored
        for mark in one.judgements.coverage.values()
        if isinstance(mark, Unscored)
    ]
    missing += [
        mark.reason
        for one in scored
        for mark in one.judgements.repeated.values()
        if isinstance(mark, Unscored)
    ]
    reasons = [
        f"  {number} x {reason}" for reason, number in Counter(missing).most_common(_NUM_REASONS)
    ]
    return [
        f"{num_missing} judgements are missing, in {num_rollouts} rollouts; they count in no term",
        *reasons,
    ]
