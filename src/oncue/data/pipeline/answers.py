"""What the models of the pipeline answer: JSON, read by its schema. What breaks it is a DataError
that says so in words for the model, which is asked once more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import Field

from oncue.data.json_answers import json_in_answer
from oncue.data.pipeline.values import QuestionList
from oncue.errors import DataError
from oncue.fields import Count, NonEmptyText, read_as
from oncue.render.actions import TextFormat

T = TypeVar("T")
SILENCE = TextFormat().silence_text


class UnusableError(Exception):
    """The model says that nothing can be made of what it got."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unusable:
    unusable: NonEmptyText


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caption:
    caption: NonEmptyText


@dataclass(frozen=True, slots=True, kw_only=True)
class _SceneAnswer:
    scene: Count
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    question: NonEmptyText
    answers: Annotated[tuple[_SceneAnswer, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Questions:
    questions: Annotated[tuple[_Question, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merged:
    answer: NonEmptyText


def read_caption(answer: str) -> str:
    """The caption. Raises UnusableError and DataError."""
    return _one_line(_read(_Caption, answer).caption)


def read_merged(answer: str) -> str:
    """The merged answer; "" for silence. Raises UnusableError and DataError."""
    return _spoken(_read(_Merged, answer).answer)


def read_questions(answer: str, num: int, num_scenes: int) -> tuple[QuestionList, ...]:
    """`num` questions with an answer or silence for each of `num_scenes` scenes. More than `num`
    are cut off. Raises UnusableError and DataError."""
    written = _read(_Questions, answer).questions
    if len(written) < num:
        raise DataError(f"'questions' must hold {num} questions, got {len(written)}")
    lists: list[QuestionList] = []
    for number, each in enumerate(written[:num], 1):
        answers: dict[int, str] = {}
        for said in each.answers:
            if said.scene > num_scenes:
                raise DataError(
                    f"question {number}: there is no scene {said.scene}, they are 1 to {num_scenes}"
                )
            if said.scene - 1 in answers:
                raise DataError(f"question {number}: scene {said.scene} is answered twice")
            answers[said.scene - 1] = _spoken(said.answer)
        spoken = {i: text for i, text in sorted(answers.items()) if text}
        if not spoken:
            raise DataError(f"question {number}: no scene has an answer")
        lists.append(QuestionList(_one_line(each.question), spoken))
    if len({each.question.casefold() for each in lists}) < len(lists):
        raise DataError("the same question is there twice")
    return tuple(lists)


def _read(kind: type[T], answer: str) -> T:
    value: Any = json_in_answer(answer)
    if isinstance(value, Mapping) and "unusable" in value:
        raise UnusableError(_one_line(read_as(_Unusable, value, "the object").unusable))
    return read_as(kind, value, "the object")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _spoken(text: str) -> str:
    """The text of an answer, in one line; "" where it is silence in words, or blank."""
    line = _one_line(text)
    return "" if line.rstrip(".").upper() == SILENCE else line
