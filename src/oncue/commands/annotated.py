"""What an annotation file knows about the video that is watched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from oncue.data.gold import GoldSample, load_gold
from oncue.errors import DataError
from oncue.types import Task
from oncue.video.opening import is_url, source_name


def annotated_task(annotations: Path, source: str) -> Task:
    """One task of all rows about the video `source`: their questions, each once, and due replies in
    order of time.

    Of an address the last part of its path is the name of the video. Where no row names the video,
    that whose `question_id` is its name counts.

    Raises DataError where no row is about it, or rows of several videos might be, and what
    `load_gold` raises.
    """
    parts = (
        Path(re.split(r"[?#]", source_name(source))[0]).parts
        if is_url(source)
        else Path(source).absolute().parts
    )
    samples = load_gold(annotations)
    tasks = [s.task for s in _of_video(samples, parts)] or [
        s.task for s in samples if s.task.task_id == Path(parts[-1]).stem
    ]
    if not tasks:
        raise DataError(
            f"{annotations} says nothing about {parts[-1]}; its videos are named like "
            f"{samples[0].video}"
        )
    questions = dict.fromkeys(question for task in tasks for question in task.questions)
    gold = [turn for task in tasks for turn in task.gold]
    return Task(
        tasks[0].task_id,
        tuple(sorted(questions, key=lambda question: question.time_s)),
        tuple(sorted(gold, key=lambda turn: (turn.span.start_s, turn.span.end_s))),
        tasks[0].duration_s,
    )


def _of_video(samples: Sequence[GoldSample], parts: tuple[str, ...]) -> list[GoldSample]:
    """The samples of the video at the path `parts`: those that name it by the longest end of that
    path, else by its name alone, in whatever folder. Raises DataError where these are of different
    videos."""
    named = [s for s in samples if Path(s.video).name == parts[-1]]
    whole = [s for s in named if parts[-len(Path(s.video).parts) :] == Path(s.video).parts]
    longest = max((len(Path(s.video).parts) for s in whole), default=0)
    found = [s for s in whole if len(Path(s.video).parts) == longest] or named
    videos = sorted({s.video for s in found})
    if len(videos) > 1:
        raise DataError(
            f"{' and '.join(videos[:2])} are both called {parts[-1]}, and neither is the end of "
            f"{'/'.join(parts)}; "
            "give rows of one video, or watch it by a path that ends so"
        )
    return found
