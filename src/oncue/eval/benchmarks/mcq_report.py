"""The scores of a run over questions with options: tables, JSON, and files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oncue.eval.benchmarks.mcq_bounds import McqBounds
from oncue.eval.benchmarks.mcq_looks import McqLooks
from oncue.eval.benchmarks.mcq_predictions import predictions
from oncue.eval.benchmarks.mcq_question import McqQuestion
from oncue.eval.benchmarks.mcq_result import Mode
from oncue.eval.benchmarks.mcq_rows import McqFormat
from oncue.eval.benchmarks.mcq_scores import GoldLetters, ModeScores, difference, difference_json
from oncue.eval.table import TextTable, percent
from oncue.scoring.confidence_intervals import Proportion

EFFORT = {
    "unanswered": "no answer %",
    "malformed_turns": "malformed %",
    "retrieved": "retrieved %",
    "mean_turns": "turns",
    "mean_frames": "frames",
    "mean_latency_ms": "latency ms",
}
_NAMED = 5  # questions named in a remark


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Questions that were not asked, because their videos are not there."""

    num_questions: int = 0
    num_videos: int = 0


@dataclass(frozen=True, slots=True)
class McqScores:
    """The scores of each mode on the same questions. `lines`: of each episode, by mode, in the
    order of the questions; `files`: the names of the files of predictions and episodes. `looks`:
    where the policy looked, and `bounds`: of perfect observers, where these are known."""

    form: McqFormat
    model: str
    settings: Mapping[str, Any]
    questions: tuple[McqQuestion, ...]
    modes: Mapping[Mode, ModeScores]
    lines: Mapping[Mode, Sequence[str]]
    files: Mapping[Mode, tuple[str, str]]
    left_out: LeftOut
    looks: McqLooks | None = None
    bounds: McqBounds | None = None

    @property
    def hidden(self) -> int:
        """How many right answers are not known."""
        return sum(question.gold is None for question in self.questions)

    @property
    def gold(self) -> GoldLetters | None:
        return GoldLetters.of(self.questions)

    def headline(self) -> dict[str, Any]:
        """For each mode its accuracy in percent, with its interval, and what the answers took."""
        gold = self.gold
        return {
            "benchmark": self.form,
            "model": self.model,
            **self._counts(),
            "majority_accuracy": gold and percent(gold.majority_accuracy.value),
            "modes": {mode: _headline(scores) for mode, scores in self.modes.items()},
            **self._looks_and_bounds(),
        }

    def numbers(self) -> dict[str, Any]:
        """Everything measured, and the settings."""
        gold = self.gold
        return {
            "benchmark": self.form,
            "model": self.model,
            **self._counts(),
            "settings": dict(self.settings),
            "gold": gold and gold.as_json(),
            "modes": {mode: scores.as_json() for mode, scores in self.modes.items()},
            "differences": {
                f"{first} - {second}": found for first, second, found in self._differences()
            },
            **self._looks_and_bounds(),
        }

    def _looks_and_bounds(self) -> dict[str, Any]:
        """None for what is not known."""
        return {
            "looks": self.looks and self.looks.as_json(),
            "bounds": self.bounds and self.bounds.as_json(),
        }

    def _counts(self) -> dict[str, int]:
        return {
            "n_questions": len(self.questions),
            "n_videos": len({question.video for question in self.questions}),
            "n_hidden": self.hidden,
            "n_without_right_option": len(self._without()),
            "n_left_out_questions": self.left_out.num_questions,
            "n_left_out_videos": self.left_out.num_videos,
        }

    def _without(self) -> list[str]:
        return [question.question_id for question in self.questions if question.gold == ""]

    def _differences(self) -> list[tuple[Mode, Mode, dict[str, Any]]]:
        first, *others = self.modes
        found = [(other, difference(self.modes[first], self.modes[other])) for other in others]
        return [(first, other, difference_json(each)) for other, each in found if each is not None]

    def texts(self) -> dict[str, str]:
        """Predictions and episodes of each mode."""
        written = {}
        for mode, (answers_file, episodes_file) in self.files.items():
            pairs = [(each.question, each.result.letter) for each in self.modes[mode].answered]
            answers = predictions(self.form, pairs)
            written[answers_file] = json.dumps(answers, indent=1, ensure_ascii=False) + "\n"
            written[episodes_file] = "".join(self.lines[mode])
        return written

    def tables(self) -> list[TextTable]:
        """Modes; where they looked, and the bounds, where these are known; then accuracy by length,
        by kind of question, and answers by letter."""
        tables = [self._modes_table()]
        if self.looks:
            tables.append(self.looks.table())
        if self.bounds:
            tables.append(self.bounds.table(self.modes))
        if self.gold is None:
            return tables
        return [
            *tables,
            *self._accuracy_table("Accuracy by length of the video", ModeScores.by_length),
            *self._accuracy_table(
                "Accuracy by kind of question",
                ModeScores.by_task,
                {"mean of these": lambda scores: scores.mean_of_tasks},
            ),
            self._letters_table(self.gold),
        ]

    def _modes_table(self) -> TextTable:
        rows = []
        for mode, scores in self.modes.items():
            effort = [_cell(value) for value in scores.effort().values()]
            rows.append((mode, *_accuracy_cells(scores.accuracy), *effort))
        if gold := self.gold:
            dashes = ["-"] * len(EFFORT)
            name = f"always {gold.majority}"
            rows.append((name, *_accuracy_cells(gold.majority_accuracy), *dashes))
            rows.append(("chance", _cell(percent(gold.chance)), "-", *dashes))
        num_videos = len({question.video for question in self.questions})
        return TextTable(
            f"{self.form}: {self.model} (N = {len(self.questions)} questions, {num_videos} videos)",
            ("mode", "accuracy %", "95 % interval", *EFFORT.values()),
            tuple(rows),
        )

    def _accuracy_table(
        self,
        title: str,
        shares_of: Callable[[ModeScores], dict[str, Proportion]],
        below: Mapping[str, Callable[[ModeScores], float | None]] | None = None,
    ) -> list[TextTable]:
        """The accuracy of all modes, group by group, and the rows `below` them; no table where
        there are no groups."""
        by_mode = {mode: shares_of(scores) for mode, scores in self.modes.items()}
        totals = {
            name: share.total for shares in by_mode.values() for name, share in shares.items()
        }
        rows = []
        for name, total in totals.items():
            cells = (_accuracy_cells(shares.get(name)) for shares in by_mode.values())
            rows.append((name, str(total), *(cell for pair in cells for cell in pair)))
        for name, share_of in (below or {}).items():
            values = (_cell(percent(share_of(scores))) for scores in self.modes.values())
            rows.append((name, "-", *(cell for value in values for cell in (value, "-"))))
        header = ("", "N", *(each for mode in by_mode for each in (f"{mode} %", "95 % interval")))
        return [TextTable(title, header, tuple(rows))] if totals else []

    def _letters_table(self, gold: GoldLetters) -> TextTable:
        said = {mode: scores.letters() for mode, scores in self.modes.items()}
        letters = sorted({letter for counts in (gold.counts, *said.values()) for letter in counts})
        rows = [
            (x, str(gold.counts.get(x, 0)), *(str(counts.get(x, 0)) for counts in said.values()))
            for x in letters
        ]
        return TextTable("Answers by letter", ("", "right answers", *said), tuple(rows))

    def remarks(self) -> list[str]:
        """Differences between modes, why answers are missing, and what is left out."""
        lines = []
        for first, second, found in self._differences():
            low, high = found["interval"]
            lines.append(
                f"{first} - {second}: {found['difference']:+.2f} points, 95 % interval {low:+.2f} "
                f"to {high:+.2f}"
            )
        for mode, scores in self.modes.items():
            lines += _endings(mode, scores)
        return lines + self._left_out_lines()

    def _left_out_lines(self) -> list[str]:
        lines = []
        if self.hidden:
            what = "there is no accuracy" if self.hidden == len(self.questions) else "not scored"
            lines.append(
                f"the right answer of {_counted(self.hidden, 'question')} is not in the file: "
                f"{what}; give the predictions to the benchmark's own scorer"
            )
        if without := self._without():
            lines.append(
                f"{_counted(len(without), 'question')} without a right option, counted as wrong: "
                f"{', '.join(without[:_NAMED])}{', ...' if len(without) > _NAMED else ''}"
            )
        if self.left_out.num_questions:
            lines.append(
                f"left out: {_counted(self.left_out.num_questions, 'question')} about "
                f"{_counted(self.left_out.num_videos, 'missing video')} (--allow-missing); these "
                "scores are not those of the whole benchmark"
            )
        return lines


def _endings(mode: Mode, scores: ModeScores) -> list[str]:
    """Why questions have no answer, with an example of each that has a reason."""
    lines = []
    for ending, num in scores.endings().items():
        of_kind = [e for e in scores.answered if e.result.ending == ending]
        example = next((e for e in of_kind if e.result.reason), None)
        such = (
            f", such as {example.question.question_id}: {example.result.reason}" if example else ""
        )
        lines.append(f"{mode}: no answer to {_counted(num, 'question')}, {ending}{such}")
    num_named = sum(bool(each.result.named) for each in scores.answered)
    if num_named and scores.accuracy:
        lines.append(
            f"{mode}: {_counted(num_named, 'malformed last turn')} clearly named an option; with "
            f"them the accuracy is {_cell(percent(scores.lenient_accuracy))} %"
        )
    return lines


def _counted(num: int, what: str) -> str:
    return f"{num} {what}" if num == 1 else f"{num} {what}s"


def _headline(scores: ModeScores) -> dict[str, Any]:
    accuracy = scores.accuracy
    interval = accuracy.interval if accuracy else None
    return {
        "accuracy": percent(accuracy.value) if accuracy else None,
        "interval": interval and [percent(end) for end in interval],
        **scores.other_accuracies(),
        **scores.effort(),
    }


def _accuracy_cells(share: Proportion | None) -> tuple[str, str]:
    if share is None or share.interval is None:
        return "-", "-"
    low, high = share.interval
    return _cell(percent(share.value)), f"{100 * low:.1f}-{100 * high:.1f}"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
