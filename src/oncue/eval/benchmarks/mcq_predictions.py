"""Answers as the scorers of the benchmarks take them.

A question without an answer has "" where letters are written, and null where numbers are.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from oncue.eval.benchmarks.mcq_question import McqQuestion
from oncue.eval.benchmarks.mcq_rows import McqFormat

Pairs = Sequence[tuple[McqQuestion, str | None]]  # each with the letter that was answered


def predictions(form: McqFormat, answers: Pairs) -> Any:
    """The JSON value of a file of predictions: of `videomme` the questions of each video, of `mlvu`
    a list of question_id, question_type and option, of `egoschema` the number of the option by
    q_uid, else the letter by id."""
    if form == "videomme":
        return _by_video(answers)
    if form == "mlvu":
        return [
            {
                "question_id": question.question_id,
                "question_type": question.tasks[0] if question.tasks else "",
                "option": letter or "",
            }
            for question, letter in answers
        ]
    if form == "egoschema":
        return {q.question_id: ascii_uppercase.index(x) if x else None for q, x in answers}
    return {question.question_id: letter or "" for question, letter in answers}


def _by_video(answers: Pairs) -> list[dict[str, Any]]:
    videos: dict[str, dict[str, Any]] = {}
    for question, letter in answers:
        fields = dict(question.repeated)
        about = {"task_type": fields.pop("task_type", ""), "question": fields.pop("question")}
        video = videos.setdefault(question.video, {**fields, "questions": []})
        video["questions"].append(
            {
                "question_id": question.question_id,
                **about,
                "options": list(question.options),
                "answer": question.gold,
                "response": letter or "",
            }
        )
    return list(videos.values())
