"""What an annotation file knows about the video that is watched."""

from __future__ import annotations

import re
from pathlib import Path

from oncue.errors import DataError
from oncue.eval.gold import load_gold
from oncue.types import Task
from oncue.video.opening import is_url, source_name


def annotated_task(annotations: Path, source: str) -> Task:
    """One task of all rows about the video `source`: their questions, each once, and due replies in order of time.

    Of an address the last part of its path is the name of the video.

    Raises DataError where no row is about it, and what `load_gold` raises.
    """
    name = Path(re.split(r"[?#]", source_name(source))[0] if is_url(source) else source).name
    samples = load_gold(annotations)
    tasks = [s.task for s in samples if Path(s.video).name == name or s.task.task_id == Path(name).stem]
    if not tasks:
        raise DataError(f"{annotations} says nothing about {name}; it is about {samples[0].video} and the like")
    questions = dict.fromkeys(question for task in tasks for question in task.questions)
    gold = [turn for task in tasks for turn in task.gold]
    return Task(
        tasks[0].task_id,
        tuple(sorted(questions, key=lambda question: question.time_s)),
        tuple(sorted(gold, key=lambda turn: (turn.span.start_s, turn.span.end_s))),
        tasks[0].duration_s,
    )
