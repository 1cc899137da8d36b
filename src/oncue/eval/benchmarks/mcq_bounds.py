"""What perfect observers get right of the very questions that a policy is asked, where these are
about long films that oncue makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oncue.env.retrieval import RetrievalSettings
from oncue.eval.benchmarks.mcq_question import McqQuestion
from oncue.eval.benchmarks.mcq_result import Mode
from oncue.eval.benchmarks.mcq_scores import ModeScores
from oncue.eval.long_bounds import LongBounds
from oncue.eval.table import TextTable
from oncue.render.options import labelled
from oncue.world.long.film import Film, film_named


def bounds_of(
    questions: Sequence[McqQuestion], num_frames: int, look: RetrievalSettings
) -> LongBounds | None:
    """The bounds for a pool of `num_frames`; None where a question is not that of such a film, as
    this version makes it."""
    films = []
    for question in questions:
        film = film_named(question.question_id)
        if film is None or not _is_about(question, film):
            return None
        films.append(film)
    return LongBounds.of(films, num_frames, look) if films else None


def _is_about(question: McqQuestion, film: Film) -> bool:
    """Whether the question is that of the film, word by word and second by second."""
    spans = question.evidence.spans if question.evidence else ()
    asked = (question.question, question.options, question.gold, question.duration_s, spans)
    due = (film.question, labelled(film.options), film.answer, film.duration_s)
    return asked == (*due, (film.target.span,))


def bounds_table(bounds: LongBounds, modes: Mapping[Mode, ModeScores]) -> TextTable:
    """The accuracy of each mode, and below it that of each observer, by length of the film."""
    lengths = tuple(bounds.by_length)
    rows = [("N", *(str(bounds.num_films[length]) for length in lengths))]
    for mode, scores in modes.items():
        shares = {**scores.by_task(), "all": scores.accuracy}
        values = (share.value if (share := shares.get(each)) else None for each in lengths)
        rows.append((mode, *("-" if v is None else f"{100 * v:.2f}" for v in values)))
    for name in bounds.by_length["all"]:
        due = (bounds.by_length[length][name].accuracy for length in lengths)
        rows.append((name, *(f"{100 * value:.2f}" for value in due)))
    title = f"Accuracy % beside that of perfect observers ({bounds.shown()})"
    return TextTable(title, ("", *lengths), tuple(rows))
