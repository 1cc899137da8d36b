"""Real clips with hand-made gold: which videos are watched, what is asked, and whether both fit
together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from oncue.data.gold import GoldSample
from oncue.env.streaming import check_questions
from oncue.errors import DataError, InputError
from oncue.fields import Must, NonEmptyText, read_as
from oncue.json_files import json_file
from oncue.types import Question, Task, TimeSpan
from oncue.video.probe import probe

_ASKS = 'one object of the form {"question_id": "question for the model", ...}'
_Asks = Annotated[dict[str, NonEmptyText], Must(_ASKS)]


@dataclass(frozen=True, slots=True)
class Item:
    """A gold item, the video file it is about, and what the model is asked (`task.questions`) for
    it.

    `asked_anew` where that is not the gold file's own question. `gold_question` is that one.
    """

    path: Path
    task: Task
    gold_question: str
    asked_anew: bool = False

    @property
    def spans(self) -> tuple[TimeSpan, ...]:
        return tuple(gold.span for gold in self.task.gold)


def find_items(
    samples: Sequence[GoldSample],
    videos: Path,
    ask: str | None = None,
    asks: Mapping[str, str] | None = None,
) -> list[Item]:
    """The items to watch. `asks` (by question_id) and, for the rest, `ask` take the place of the
    gold questions, asked at the time of the first of them.

    Raises DataError for a video that is not in `videos`, or an id in `asks` that is not in the gold
    file.
    """
    asks = asks or {}
    unknown = sorted(set(asks) - {sample.task.task_id for sample in samples})
    if unknown:
        raise DataError(
            f"the gold file has no question_id {unknown[0]!r}; it has {samples[0].task.task_id!r}, "
            "..."
        )
    items = []
    for sample in samples:
        path = videos / sample.video
        if not path.is_file():
            raise DataError(
                f"{path} is missing; the gold file is about {sample.video}: give its folder with "
                "--videos"
            )
        own, text = sample.task.questions, asks.get(sample.task.task_id, ask)
        questions = own if text is None else (Question(text, own[0].time_s),)
        items.append(
            Item(path, replace(sample.task, questions=questions), own[0].text, text is not None)
        )
    return items


def check_items(items: Sequence[Item]) -> None:
    """Opens each video once, so that what cannot be watched is reported before the first is.

    Raises VideoError for a video that cannot be opened, DataError for a question, or a gold span,
    past the end of its video: that is another video, or a cut one, and nobody could be right about
    it.
    """
    durations_s = {
        path: probe(path).duration_s for path in dict.fromkeys(item.path for item in items)
    }
    for item in items:
        try:
            check_questions(item.task.questions, durations_s[item.path])
        except InputError as error:
            raise DataError(f"{item.path.name}, {item.task.task_id!r}: {error}") from error
        duration_s = durations_s[item.path]
        late = [
            gold.span.start_s
            for gold in item.task.gold
            if duration_s is not None and gold.span.start_s > duration_s
        ]
        if late:
            raise DataError(
                f"{item.path.name}, {item.task.task_id!r}: gold begins at {late[0]:g} s, but the "
                "video ends at "
                f"{duration_s:g} s; give the whole video, or leave that row out"
            )


def read_asks(path: Path) -> dict[str, str]:
    """A JSON object from question_id to the question for the model. Raises DataError for anything
    else."""
    return read_as(_Asks, json_file(path, _ASKS), str(path))
