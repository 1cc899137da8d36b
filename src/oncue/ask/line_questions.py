"""Questions and answers as JSON lines, so that a program in another environment can ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from oncue.data.choices import letters_of, read_options
from oncue.errors import DataError
from oncue.eval.benchmarks.mcq_letters import named_letter
from oncue.fields import NonEmptyText, field_as, has_value
from oncue.json_files import json_object
from oncue.types import Answer, Episode, Malformed, Question, Retrieve, Task

EXPECTED = 'a question such as {"id": 1, "question": "Which cup?", "video": "cups.mp4"}'
FIELDS = ("id", "question", "options", "prompt", "video", "images")
Ending = Literal[
    "answered",
    "named",  # the last turn is not in the form of an answer, but clearly names an option
    "malformed",
    "kept looking",  # the last turn asked for frames
]


@dataclass(frozen=True, slots=True)
class LineQuestion:
    """A question about `video` (a file, or an address with an end) or about `images`, files in the
    order of time.

    `options` have the form "A. ...". `prompt`: what a model without retrieval reads in place of
    question and options, word for word; "" for those. `line_id` is given back with the answer.
    """

    line_id: str | int
    question: str
    options: tuple[str, ...] = ()
    prompt: str = ""
    video: str = ""
    images: tuple[Path, ...] = ()

    @property
    def source(self) -> str | tuple[Path, ...]:
        """What is looked at: questions about the same can share its frames."""
        return self.video or self.images

    def task(self) -> Task:
        """What a policy is asked."""
        return Task(str(self.line_id), (Question(self.question),), options=self.options)


def read_line_id(line: bytes, where: str) -> tuple[Mapping[str, Any], str | int]:
    """The object of a line and its id. Raises DataError, which begins with `where`."""
    row = json_object(line, where, EXPECTED)
    line_id = field_as(Any, row, "id", where)
    if type(line_id) is not int and not (isinstance(line_id, str) and line_id):
        raise DataError(f"{where}: 'id' must be text or a whole number, got {line_id!r:.60}")
    return row, line_id


def read_line_question(row: Mapping[str, Any], line_id: str | int, where: str) -> LineQuestion:
    """The question of a line. Raises DataError, which begins with `where`."""
    if unknown := sorted(set(row) - set(FIELDS)):
        raise DataError(
            f"{where}: unknown fields {', '.join(unknown)!s:.200}; expected {', '.join(FIELDS)}"
        )
    if has_value(row, "video") == has_value(row, "images"):
        raise DataError(f"{where}: expected 'video' or 'images', one of the two")
    images: tuple[Path, ...] = ()
    if has_value(row, "images"):
        named = {
            str(k): name for k, name in enumerate(field_as(list[Any], row, "images", where), 1)
        }
        if not named:
            raise DataError(f"{where}: 'images' is empty; name one image or more")
        images = tuple(Path(field_as(NonEmptyText, named, k, f"{where}, 'images'")) for k in named)
    return LineQuestion(
        line_id,
        field_as(NonEmptyText, row, "question", where),
        read_options(row.get("options"), where),
        field_as(NonEmptyText, row, "prompt", where) if has_value(row, "prompt") else "",
        field_as(NonEmptyText, row, "video", where) if has_value(row, "video") else "",
        images,
    )


def answer_values(line_id: str | int, episode: Episode) -> dict[str, object]:
    """The line that answers: "answer" is one letter where there are options, null where there is
    none, and "text" what the model wrote last."""
    last = episode.exchanges[-1].acted.action
    options = episode.task.options
    answer, ending = None, "malformed"
    if isinstance(last, Answer):
        answer, ending = last.text, "answered"
        if options and not (len(answer) == 1 and answer in letters_of(options)):
            answer = named_letter(last.text, options)
            ending = "malformed" if answer is None else ending
    elif isinstance(last, Malformed) and options:
        answer = named_letter(last.text, options)
        ending = "malformed" if answer is None else "named"
    elif isinstance(last, Retrieve):
        ending = "kept looking"
    batches = [batch for exchange in episode.exchanges for batch in exchange.observed.batches]
    return {
        "id": line_id,
        "answer": answer,
        "ending": ending,
        "text": last.text if isinstance(last, Answer | Malformed) else "",
        "num_turns": len(episode.exchanges),
        "num_frames": sum(map(len, batches)),
        "latency_ms": round(sum(e.acted.latency_ms for e in episode.exchanges), 1),
    }
