"""A small benchmark to run: three short clips, and four items about them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from oncue.eval.benchmarks.omnimmi import OmniMmi
from oncue.eval.streams.policies import Contender
from oncue.eval.streams.running import StreamRun, Watching
from oncue.eval.streams.stream import Item, Stream
from oncue.eval.videos import choose_items
from oncue.types import Question
from oncue.video.writer import write_video

SECONDS = {"one.mp4": 4, "two.mp4": 6, "three.mp4": 5}
ROWS = [
    {"video": "one.mp4", "question": "Tell me when it is light.", "answer": [2, 3]},
    {"video": "two.mp4", "question": "Tell me when it is dark.", "answer": [1, 2]},
    {"video": "three.mp4", "question": "Tell me when it ends.", "answer": [4, 5]},
    {"video": "two.mp4", "question": "Tell me when it is light.", "answer": [3, 4]},
]


def make_benchmark(folder: Path) -> tuple[Path, Path]:
    """The annotation file and the folder of its videos; each second of a video is a shade of its
    own."""
    videos = folder / "videos"
    (videos / "more").mkdir(parents=True)
    for number, (name, seconds) in enumerate(SECONDS.items()):
        shades = (40 * (k // 5) + number for k in range(5 * seconds))
        place = videos / "more" / name if number else videos / name
        write_video(place, (np.full((64, 96, 3), s, np.uint8) for s in shades), 5.0)
    annotations = folder / "alerts.json"
    annotations.write_text(json.dumps(ROWS))
    return annotations, videos


def plan(annotations: Path, videos: Path, contender: Contender, **watching) -> StreamRun:
    """All items of it."""
    benchmark = OmniMmi()
    items = benchmark.items([annotations])
    chosen = choose_items(items, lambda item: item.stream.video, videos)
    shown = Watching(at_once=2, **watching)
    return StreamRun(benchmark, (annotations,), chosen, len(items), contender, shown)


def stretched(run: StreamRun, asked_s: float, start_s: float, end_s: float | None) -> StreamRun:
    """The first item alone, as a stretch."""
    item = run.chosen.items[0]
    question = Question(item.stream.questions[0].text, asked_s)
    stream: Stream = replace(item.stream, questions=(question,), start_s=start_s, end_s=end_s)
    items = (Item(stream, item.gold),)
    return replace(run, chosen=replace(run.chosen, items=items))
