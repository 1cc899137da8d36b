"""Figures of rows of proactive dialogues, in one pass and constant memory: lengths are counted in
tenths of a second, and names of videos are kept on the disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from oncue.data.proactive_rows import ProactiveRow, StepCost
from oncue.data.quality.duplicates import count_duplicates
from oncue.data.quality.places import Places
from oncue.data.quality.turn_grid import TurnGrid

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_NUM_SOURCES = 20  # of a kind; more are counted as others


@dataclass(slots=True)
class Tally:
    """How often each number came: its mean and quantiles. Numbers are rounded to `digits`."""

    digits: int = 0
    counts: Counter[float] = field(default_factory=Counter)

    def add(self, value: float) -> None:
        self.counts[round(value, self.digits)] += 1

    @property
    def num(self) -> int:
        return self.counts.total()

    @property
    def mean(self) -> float | None:
        """None of no number."""
        return sum(value * n for value, n in self.counts.items()) / self.num if self.num else None

    def quantile(self, share: float) -> float | None:
        """The smallest number that at least `share` of all reach or stay below; None of none."""
        num_passed = 0
        for value in sorted(self.counts):
            num_passed += self.counts[value]
            if num_passed >= share * self.num and num_passed:
                return value
        return None

    def plain(self) -> dict[str, Any]:
        found = {f"p{round(100 * share)}": self.quantile(share) for share in QUANTILES}
        return {"num": self.num, "mean": _rounded(self.mean), **found}


@dataclass(slots=True)
class KindStats:
    """Figures of one kind of video, as in Table 1 of the paper: means per video for its length, per
    dialogue for all others."""

    num_dialogues: int = 0
    num_questions: int = 0
    num_reply_turns: int = 0
    num_turns: int = 0
    lengths_s: Tally = field(default_factory=lambda: Tally(1))
    num_videos: int = 0
    sources: Counter[str] = field(default_factory=Counter)

    def plain(self) -> dict[str, Any]:
        per_dialogue = 1 / self.num_dialogues if self.num_dialogues else 0.0
        return {
            "num_videos": self.num_videos,
            "num_dialogues": self.num_dialogues,
            "mean_length_s": _rounded(self.lengths_s.mean),
            "mean_questions": _rounded(self.num_questions * per_dialogue),
            "mean_answer_turns": _rounded(self.num_reply_turns * per_dialogue),
            "silence_share": _share(self.num_turns - self.num_reply_turns, self.num_turns),
            "sources": dict(self.sources.most_common()),
        }


@dataclass(slots=True)
class Cost:
    """What a step took with a model and a version of its prompt."""

    num_rows: int = 0
    num_requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0

    def add(self, step: StepCost) -> None:
        self.num_rows += 1
        self.num_requests += step.num_requests
        self.tokens_in += step.tokens_in
        self.tokens_out += step.tokens_out
        self.cost += step.cost


@dataclass(slots=True)
class RowStats:
    """The figures. `add` each row, then read; `close` at the end."""

    grid: TurnGrid
    kinds: dict[str, KindStats] = field(default_factory=dict)
    dialogues: Counter[str] = field(default_factory=Counter)
    span_lengths_s: Tally = field(default_factory=lambda: Tally(1))
    answers_per_question: Tally = field(default_factory=Tally)
    reply_words: Tally = field(default_factory=Tally)
    silence_shares: Tally = field(default_factory=lambda: Tally(2))
    first_words: Counter[str] = field(default_factory=Counter)
    num_answers: int = 0
    num_immediate: int = 0
    num_exact_duplicates: int = 0
    num_near_duplicates: int = 0
    costs: dict[tuple[str, str, str], Cost] = field(default_factory=dict)
    rejected: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    _seen: Places = field(default_factory=Places)

    def add(self, row: ProactiveRow) -> None:
        """Counts a row."""
        task = row.task
        self._add_to_kind(row)
        self.dialogues[row.dialogue.value] += 1
        for gold in task.gold:
            self.span_lengths_s.add(gold.span.duration_s)
            self.reply_words.add(len(gold.content.split()))
            self.num_immediate += self.grid.is_immediate(task, gold)
        self.num_answers += len(task.gold)
        for question in task.questions:
            named = sum(gold.question == question.text for gold in task.gold)
            alone = len(task.questions) == 1
            self.answers_per_question.add(len(task.gold) if alone else named)
            self.first_words[first_word(question.text)] += 1
        num_exact, num_near = count_duplicates([gold.content for gold in task.gold])
        self.num_exact_duplicates += num_exact
        self.num_near_duplicates += num_near
        for step in row.provenance.steps:
            key = (step.step, step.model, step.prompt_version)
            self.costs.setdefault(key, Cost()).add(step)

    def add_rejected(self, step: str, kind: str, reason: str) -> None:
        """Counts what a build has rejected; the first reason of each kind is kept."""
        number, first = self.rejected.get((step, kind), (0, reason))
        self.rejected[step, kind] = (number + 1, first)

    def close(self) -> None:
        self._seen.close()

    @property
    def whole(self) -> KindStats:
        """All kinds together."""
        total = KindStats()
        for kind in self.kinds.values():
            total.num_dialogues += kind.num_dialogues
            total.num_questions += kind.num_questions
            total.num_reply_turns += kind.num_reply_turns
            total.num_turns += kind.num_turns
            total.num_videos += kind.num_videos
            total.lengths_s.counts += kind.lengths_s.counts
            total.sources += kind.sources
        return total

    def plain(self) -> dict[str, Any]:
        """The object of --json."""
        return {
            "kinds": {name: kind.plain() for name, kind in sorted(self.kinds.items())},
            "total": self.whole.plain(),
            "dialogues": dict(sorted(self.dialogues.items())),
            "num_answers": self.num_answers,
            "immediate_share": _share(self.num_immediate, self.num_answers),
            "exact_duplicate_share": _share(self.num_exact_duplicates, self.num_answers),
            "near_duplicate_share": _share(self.num_near_duplicates, self.num_answers),
            "span_length_s": self.span_lengths_s.plain(),
            "silence_share_of_dialogues": self.silence_shares.plain(),
            "answers_per_question": self.answers_per_question.plain(),
            "reply_words": self.reply_words.plain(),
            "first_words": dict(self.first_words.most_common()),
            "costs": [
                {
                    **dict(zip(("step", "model", "prompt_version"), key, strict=True)),
                    "num_rows": cost.num_rows,
                    "num_requests": cost.num_requests,
                    "tokens_in": cost.tokens_in,
                    "tokens_out": cost.tokens_out,
                    "cost": round(cost.cost, 6),
                }
                for key, cost in self.costs.items()
            ],
            "rejected": [
                {"step": step, "kind": kind, "num": number, "first_reason": reason}
                for (step, kind), (number, reason) in self.rejected.items()
            ],
        }

    def _add_to_kind(self, row: ProactiveRow) -> None:
        task = row.task
        kind = self.kinds.setdefault(row.kind.value, KindStats())
        num_turns, num_replies = self.grid.num_turns(task), len(self.grid.reply_turns(task))
        kind.num_dialogues += 1
        kind.num_questions += len(task.questions)
        kind.num_turns += num_turns
        kind.num_reply_turns += num_replies
        self.silence_shares.add(1 - num_replies / num_turns)
        known = row.source in kind.sources or len(kind.sources) < _NUM_SOURCES
        kind.sources[row.source if known else "others"] += 1
        here = f"{row.row_id}\n{kind.num_dialogues}"
        if self._seen.first(f"{row.kind.value}\n{row.video_id}", here) == here:
            kind.num_videos += 1
            if task.duration_s is not None:
                kind.lengths_s.add(task.duration_s)


def first_word(question: str) -> str:
    """The first word of a question, in lower case and without punctuation."""
    words: Iterable[str] = (word.strip("\"'.,:;!?¿¡()[]").lower() for word in question.split())
    return next((word for word in words if word), "")


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
