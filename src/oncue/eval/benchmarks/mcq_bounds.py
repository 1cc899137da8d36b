"""What perfect observers get right of the very questions that a policy is asked, where these are
about long films that oncue makes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oncue.env.retrieval import RetrievalSettings
from oncue.eval.benchmarks.mcq_question import McqQuestion
from oncue.eval.benchmarks.mcq_result import Mode
from oncue.eval.benchmarks.mcq_scores import ModeScores
from oncue.eval.long_bounds import LongBounds, Shares
from oncue.eval.table import TextTable, percent
from oncue.records.retrieval_rollouts import retrieval_of
from oncue.render.options import labelled
from oncue.world.long.film import Film, film_named
from oncue.world.long.observers import Bound


@dataclass(frozen=True, slots=True)
class McqBounds:
    """The bounds of perfect observers, and what each mode reaches: `shown` has the `Bound` of who
    would read perfectly the frames that the mode was shown, by length of the film."""

    observers: LongBounds
    shown: Mapping[Mode, Mapping[str, Bound]]

    @classmethod
    def of(
        cls,
        questions: Sequence[McqQuestion],
        num_frames: int,
        look: RetrievalSettings,
        lines: Mapping[Mode, Sequence[str]],
    ) -> McqBounds | None:
        """Those for a pool of `num_frames`, and stored episodes of each mode in the order of the
        questions; None where a question is not that of such a film, as this version makes it."""
        films = [film_named(question.question_id) for question in questions]
        known = [
            film
            for film, question in zip(films, questions, strict=True)
            if film is not None and _is_about(question, film)
        ]
        if not known or len(known) < len(questions):
            return None
        shown = {mode: _shown(known, num_frames, of_mode) for mode, of_mode in lines.items()}
        return cls(LongBounds.of(known, num_frames, look), shown)

    def as_json(self) -> dict[str, Any]:
        """Shares in percent."""
        modes = {
            mode: {length: {"seen": percent(each.seen)} for length, each in by_length.items()}
            for mode, by_length in self.shown.items()
        }
        return {**self.observers.as_json(), "modes": modes}

    def table(self, modes: Mapping[Mode, ModeScores]) -> TextTable:
        """What each mode saw and got right, and below it what each observer does."""
        measured: dict[str, dict[str, Shares]] = {}
        for mode, scores in modes.items():
            right = {**scores.by_task(), "all": scores.accuracy}
            measured[mode] = {
                length: (each.seen, share.value if (share := right.get(length)) else None)
                for length, each in self.shown[mode].items()
            }
        return self.observers.table(measured)


def _is_about(question: McqQuestion, film: Film) -> bool:
    """Whether the question is that of the film, word by word and second by second."""
    spans = question.evidence.spans if question.evidence else ()
    asked = (question.question, question.options, question.gold, question.duration_s, spans)
    due = (film.question, labelled(film.options), film.answer, film.duration_s)
    return asked == (*due, (film.target.span,))


def _shown(films: Sequence[Film], num_frames: int, lines: Sequence[str]) -> dict[str, Bound]:
    """Of how many films of each length, and of all, the flash was shown."""
    found: dict[str, Bound] = {}
    for film, line in zip(films, lines, strict=True):
        rollout = retrieval_of(json.loads(line), "a stored episode").rollout
        frames = {index for turn in rollout.turns for index in turn.indices}
        seen = Bound(int(not film.decisive(num_frames).isdisjoint(frames)), 1)
        for name in (film.length, "all"):
            found[name] = found[name] + seen if name in found else seen
    return found
