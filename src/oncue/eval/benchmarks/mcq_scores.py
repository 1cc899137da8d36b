"""Accuracy of answers to questions with options, and what they took.

Questions without an answer count as wrong. Where the right answer is kept secret, there are
predictions and no accuracy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oncue.eval.benchmarks.mcq_question import McqQuestion
from oncue.eval.benchmarks.mcq_result import McqResult
from oncue.eval.table import percent, rounded
from oncue.scoring.confidence_intervals import PairedDifference, Proportion, paired_difference

# Upper ends, in seconds, of the groups of lengths where a benchmark has none of its own.
_LENGTHS = ((180.0, "under 3 min"), (900.0, "3-15 min"), (3600.0, "15-60 min"))
_LONGEST, UNKNOWN = "60 min or more", "unknown"
_ORDER = (
    *("short", "medium", "long"),
    *("8-15 s", "15-60 s", "180-600 s", "900-3600 s"),
    *(name for _, name in _LENGTHS),
    _LONGEST,
)


def length_group(question: McqQuestion, duration_s: float | None) -> str:
    """The group of lengths that the video of `question` is in: the benchmark's own, or by its
    duration (the benchmark's, else that of the file)."""
    if question.group:
        return question.group
    length_s = duration_s if question.duration_s is None else question.duration_s
    if length_s is None:
        return UNKNOWN
    return next((name for end_s, name in _LENGTHS if length_s < end_s), _LONGEST)


@dataclass(frozen=True, slots=True)
class Answered:
    """A question, what became of it in one mode, and the group of lengths its video is in."""

    question: McqQuestion
    result: McqResult
    group: str

    @property
    def right(self) -> bool:
        """Whether the answer is right; False without one."""
        letter = self.result.letter
        return letter is not None and letter in (self.question.gold or "")

    @property
    def meant_right(self) -> bool:
        """Whether the answer, or the option that a malformed last turn clearly names, is right."""
        meant = self.result.letter or self.result.named
        return bool(meant) and meant in (self.question.gold or "")


@dataclass(frozen=True, slots=True)
class ModeScores:
    """All questions in one mode, in their order."""

    answered: tuple[Answered, ...]

    @property
    def scored(self) -> tuple[Answered, ...]:
        """Those whose right answer is known."""
        return tuple(each for each in self.answered if each.question.gold is not None)

    @property
    def accuracy(self) -> Proportion | None:
        """None where no right answer is known, and where no question could be asked."""
        if all(each.result.failed for each in self.scored):
            return None
        return _accuracy(self.scored)

    @property
    def accuracy_of_answered(self) -> float | None:
        """The share of the answers that are right: without the questions that have none."""
        answered = [each for each in self.scored if each.result.letter]
        return _accuracy(answered).value

    @property
    def lenient_accuracy(self) -> float | None:
        """The accuracy if malformed last turns that clearly name an option were answers."""
        if self.accuracy is None:
            return None
        return Proportion(sum(e.meant_right for e in self.scored), len(self.scored)).value

    def by_length(self) -> dict[str, Proportion]:
        """Accuracy by group of lengths, from short to long; empty without an accuracy."""
        groups = self._by(lambda each: (each.group,))
        known = [name for name in _ORDER if name in groups]
        return {name: groups[name] for name in (*known, *(g for g in groups if g not in known))}

    def by_task(self) -> dict[str, Proportion]:
        """Accuracy by kind of question, in order of their names; a question may be of several.
        Empty without an accuracy."""
        return dict(sorted(self._by(lambda each: each.question.tasks).items()))

    @property
    def mean_of_tasks(self) -> float | None:
        """The unweighted mean of the kinds of question (MLVU's M-Avg)."""
        values = [share.value for share in self.by_task().values() if share.value is not None]
        return sum(values) / len(values) if values else None

    def share(self, which: Callable[[McqResult], bool]) -> float | None:
        """The share of all questions whose result is so."""
        found = sum(which(each.result) for each in self.answered)
        return Proportion(found, len(self.answered)).value

    def mean(self, what: Callable[[McqResult], float]) -> float | None:
        """The mean over the questions that could be asked."""
        values = [what(each.result) for each in self.answered if not each.result.failed]
        return sum(values) / len(values) if values else None

    @property
    def malformed(self) -> float | None:
        """The share of all turns that were no action."""
        results = [each.result for each in self.answered]
        return Proportion(
            sum(result.num_malformed for result in results),
            sum(result.num_turns for result in results),
        ).value

    def endings(self) -> dict[str, int]:
        """How many questions have no answer, by why."""
        counts = Counter(str(each.result.ending) for each in self.answered)
        counts.pop("answered", None)
        return dict(counts.most_common())

    def letters(self) -> dict[str, int]:
        """How often each letter was answered."""
        counts = Counter(each.result.letter for each in self.answered if each.result.letter)
        return dict(sorted(counts.items()))

    def _by(self, keys: Callable[[Answered], Sequence[str]]) -> dict[str, Proportion]:
        groups: dict[str, list[Answered]] = {}
        for each in self.scored if self.accuracy else ():
            for key in keys(each):
                groups.setdefault(key, []).append(each)
        return {key: _accuracy(group) for key, group in groups.items()}

    def as_json(self) -> dict[str, Any]:
        """Everything, shares in percent; None where undefined."""
        accuracy = self.accuracy
        return {
            **_share_json(accuracy),
            **self.other_accuracies(),
            "by_length": {name: _share_json(each) for name, each in self.by_length().items()},
            "by_task": {name: _share_json(each) for name, each in self.by_task().items()},
            **self.effort(),
            "no_answer": self.endings(),
            "letters": self.letters(),
        }

    def other_accuracies(self) -> dict[str, float | None]:
        """In percent."""
        return {
            "mean_of_tasks": percent(self.mean_of_tasks),
            "accuracy_of_answered": percent(self.accuracy_of_answered),
            "lenient_accuracy": percent(self.lenient_accuracy),
        }

    def effort(self) -> dict[str, float | None]:
        """What the answers took, and the shares, in percent, that went wrong."""
        return {
            "unanswered": percent(self.share(lambda result: not result.letter)),
            "malformed_turns": percent(self.malformed),
            "retrieved": percent(self.share(lambda result: result.num_looks > 0)),
            "mean_turns": rounded(self.mean(lambda result: result.num_turns), 3),
            "mean_frames": rounded(self.mean(lambda result: result.num_frames), 3),
            "mean_latency_ms": rounded(self.mean(lambda result: result.latency_ms), 1),
        }


@dataclass(frozen=True, slots=True)
class GoldLetters:
    """What there is to know of the right answers without a model."""

    counts: Mapping[str, int]
    majority: str
    majority_accuracy: Proportion
    chance: float

    @classmethod
    def of(cls, questions: Iterable[McqQuestion]) -> GoldLetters | None:
        """None where no right answer is known."""
        scored = [question for question in questions if question.gold is not None]
        if not scored:
            return None
        counts = Counter(letter for question in scored for letter in question.gold or "")
        majority = max(sorted(counts), key=lambda letter: counts[letter], default="")
        chances = [len(q.gold or "") / len(q.options) for q in scored]
        return cls(
            dict(sorted(counts.items())),
            majority,
            Proportion(counts[majority], len(scored)),
            sum(chances) / len(scored),
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "letters": dict(self.counts),
            "majority_letter": self.majority,
            "majority_accuracy": percent(self.majority_accuracy.value),
            "chance_accuracy": percent(self.chance),
        }


def difference(ours: ModeScores, other: ModeScores) -> PairedDifference | None:
    """How much more often `ours` is right, on the same questions; None without an accuracy of
    both."""
    if ours.accuracy is None or other.accuracy is None:
        return None
    return paired_difference(
        [each.right for each in ours.scored], [each.right for each in other.scored]
    )


def difference_json(found: PairedDifference) -> dict[str, Any]:
    low, high = found.interval
    return {"difference": percent(found.value), "interval": [percent(low), percent(high)]}


def _share_json(share: Proportion | None) -> dict[str, Any]:
    if share is None or share.interval is None:
        return {"n": 0, "n_right": 0, "accuracy": None, "interval": None}
    return {
        "n": share.total,
        "n_right": share.num,
        "accuracy": percent(share.value),
        "interval": [percent(end) for end in share.interval],
    }


def _accuracy(answered: Sequence[Answered]) -> Proportion:
    return Proportion(sum(each.right for each in answered), len(answered))
