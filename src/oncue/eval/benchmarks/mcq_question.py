"""A question with options, and the fields that rows of public benchmarks write it in.

What is right is kept as letters of options: several where options have the same text, none where no
option is right (two questions of MLVU).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Annotated, Any

from pydantic import BeforeValidator

from oncue.data.choices import (
    check_options,
    labelled,
    letters_of,
    option_text,
    read_answer,
    read_options,
)
from oncue.errors import DataError
from oncue.fields import NonEmptyText, Seconds, field_as, has_value, whole_text
from oncue.types import Evidence, Question, Task

Row = Mapping[str, Any]
Id = Annotated[
    NonEmptyText, BeforeValidator(lambda value: str(value) if type(value) is int else value)
]
_OPTION_LINE = re.compile(r"\n\s*\(([A-Z])\)")


@dataclass(frozen=True, slots=True)
class McqQuestion:
    """A question about a video, in the words of its benchmark.

    `options` have the form "A. ..."; `gold` holds the letters of the right ones, "" where none is,
    and is None where the benchmark keeps it to itself. `group`: the benchmark's own group of video
    lengths, "" where it has none. `tasks`: what kinds of question it is. `repeated`: fields that a
    file of predictions repeats. `evidence`: where the answer can be seen, if that is known.
    """

    question_id: str
    video: str
    question: str
    options: tuple[str, ...]
    gold: str | None
    group: str = ""
    duration_s: float | None = None
    tasks: tuple[str, ...] = ()
    repeated: tuple[tuple[str, Any], ...] = ()
    evidence: Evidence | None = None

    def task(self) -> Task:
        """What a policy is asked."""
        return Task(
            self.question_id,
            (Question(self.question),),
            duration_s=self.duration_s,
            options=self.options,
            answer=self.gold[:1] if self.gold else None,
            evidence=self.evidence,
        )


def inner_rows(row: Row, name: str, where: str) -> Iterator[tuple[str, Row]]:
    """The questions inside a row, each with the fields of the row; the row where it is one."""
    if not has_value(row, name):
        yield where, row
        return
    for number, inner in enumerate(field_as(tuple[Any, ...], row, name, where), 1):
        place = f"{where}, question {number}"
        field_as(Any, inner, "question", place)
        yield place, {**{key: row[key] for key in row if key != name}, **inner}


def numbered_fields(row: Row, before: str) -> list[Any]:
    """The values of the fields of that name and 0, 1, ... as far as they go."""
    names = (f"{before}{number}" for number in range(len(ascii_uppercase)))
    return [row[name] for name in names if name in row]


def plain_options(held: Any, where: str, name: str) -> tuple[str, ...]:
    """Options of a format that writes them without letters, so that "C. Ronaldo" may be a text of
    the third; with letters where all have theirs."""
    if not isinstance(held, list) or not all(type(each) in (str, int, float) for each in held):
        raise DataError(f"{where}: {name!r} must be a list of texts, got {held!r:.80}")
    if not held:
        raise no_options(where)
    texts = [whole_text(str(text).strip(), f"{where}: {name!r}") for text in held]
    marks = [
        re.match(rf"\(?{letter}[).:]", text)
        for letter, text in zip(ascii_uppercase, texts, strict=False)
    ]
    if len(marks) == len(texts) and all(marks):
        return read_options(texts, where)
    options = labelled(texts)
    try:
        check_options(options if len(options) == len(texts) else texts)
    except DataError as error:
        raise DataError(f"{where}: {name!r}: {error}; correct them") from error
    return options


def no_options(where: str) -> DataError:
    """What to raise for a question without options."""
    return DataError(
        f"{where}: the question has no options; leave questions without them (such as those of "
        "MLVU's subPlot and summary) out"
    )


def split_options(question: str, where: str) -> tuple[str, tuple[str, ...]]:
    """A question that ends with lines "(A) ...": without them, and its options."""
    found = re.search(r"\n\s*\(A\)", question)
    if found is None:
        raise DataError(
            f"{where}: there is no field 'options', and 'question' has no lines (A) ..., (B) ...; "
            "add the options"
        )
    parts = _OPTION_LINE.split(question[found.start() :])
    letters, texts = parts[1::2], [text.strip() for text in parts[2::2]]
    if letters != list(ascii_uppercase[: len(letters)]):
        raise DataError(
            f"{where}: the options in 'question' must be (A), (B), ... in order, got "
            f"{', '.join(letters)}; correct them"
        )
    return question[: found.start()].strip(), plain_options(texts, where, "question")


def letter_in(row: Row, name: str, options: Sequence[str], where: str) -> str | None:
    """The letter that a field holds; None where it is missing, null or empty."""
    if not has_value(row, name) or row[name] == "":
        return None
    return read_answer(row[name], options, where, name)


def letters_of_text(row: Row, options: Sequence[str], where: str) -> str | None:
    """The letters of the options with the text of the answer, "" where none has it; a letter is
    one, too."""
    if not has_value(row, "answer") or row["answer"] == "":
        return None
    said = row["answer"]
    if type(said) not in (str, int, float):
        raise DataError(f"{where}: 'answer' must be the text of an option, got {said!r:.80}")
    text, letters = str(said).strip(), letters_of(options)
    same = [x for x, option in zip(letters, options, strict=True) if option_text(option) == text]
    if same:
        return "".join(same)
    return text if len(text) == 1 and text in letters else ""


def numbered_letter(row: Row, name: str, options: Sequence[str], where: str) -> str | None:
    """The letter of the option whose number (from 0) a field holds; None where it is missing."""
    if not has_value(row, name) or row[name] == "":
        return None
    value = row[name]
    is_text = isinstance(value, str) and value.strip().isdecimal()
    is_whole = isinstance(value, float) and value.is_integer()  # pandas writes 4.0 beside nulls
    number = int(value) if is_text or is_whole else value
    if type(number) is not int or not 0 <= number < len(options):
        raise DataError(
            f"{where}: {name!r} must be the number of an option, 0 to {len(options) - 1}, got "
            f"{value!r:.40}; leave the field out where it is not known"
        )
    return ascii_uppercase[number]


def kinds_of(row: Row, name: str, where: str) -> tuple[str, ...]:
    held = row.get(name)
    if isinstance(held, list) and all(isinstance(kind, str) for kind in held):
        return tuple(dict.fromkeys(held))
    return (field_as(str, row, name, where),) if held not in (None, "") else ()


def duration_of(row: Row, where: str) -> float | None:
    return field_as(Seconds, row, "duration", where) if has_value(row, "duration") else None
