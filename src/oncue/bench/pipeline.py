"""What the pipeline from videos to dialogues costs by itself: model and decoding left out, decoding
alone, and many videos in little memory."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from oncue.aio import completed
from oncue.bench.scoring import peak_mib
from oncue.chat_client import ChatClient, Message
from oncue.chat_stream import Completion
from oncue.data.chat_writer import ChatWriter, WriterOptions
from oncue.data.pipeline.journal import Journal
from oncue.data.pipeline.outputs import ROWS, write_outputs
from oncue.data.pipeline.prompt_files import Prompts
from oncue.data.pipeline.runner import run_videos
from oncue.data.pipeline.steps import Models
from oncue.data.pipeline.values import BuildSettings, SeenScene, SeenVideo
from oncue.data.proactive_rows import read_proactive_rows
from oncue.data.source_videos import Remark, SourceVideo
from oncue.types import TimeSpan
from oncue.video.source import FileSource, frames_of
from oncue.video.writer import write_video

NUM_VIDEOS, FEW_VIDEOS = 10_000, 1_000
NUM_STEPS, CLIP_S = 3, 20
_VIDEO_S, _SCENE_S = 92.0, 11.5  # as the web videos of MMDuet2 (Table 1: 92.7 s)
_TURN_S = 4.0
_RATE, _HEIGHT_PX, _WIDTH_PX = 30, 720, 1280
_JPEG = bytes(30_000)  # as large as a frame of a scene


def measure_pipeline(
    step: Callable[[], None] = lambda: None,
    num_videos: int = NUM_VIDEOS,
    few: int = FEW_VIDEOS,
    clip_s: int = CLIP_S,
) -> dict[str, float]:
    """Milliseconds of a processor per turn of a video; how many times faster than real time frames
    are decoded, and what that takes of a processor; and the peak of Python's memory for few and
    many videos.

    `overhead_ms_per_turn` holds all steps, with answers at once: requests are made, but not sent.
    """
    figures = _overhead(few)
    step()
    figures |= _decoding(clip_s)
    step()
    for num in (few, num_videos):
        with tempfile.TemporaryDirectory() as folder:
            figures[f"peak_mib_{num}_videos"] = peak_mib(partial(_build, Path(folder), num))
    step()
    return figures


def _overhead(num_videos: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        started, started_cpu = time.perf_counter(), time.process_time()
        num_rows = _build(Path(folder), num_videos)
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    num_turns = num_videos * _VIDEO_S / _TURN_S
    return {
        "num_rows": num_rows,
        "overhead_ms_per_turn": cpu_s * 1000 / num_turns,
        "overhead_wall_ms_per_turn": seconds * 1000 / num_turns,
        "videos_per_s": num_videos / seconds,
    }


def _decoding(clip_s: int) -> dict[str, float]:
    """Of every frame of a generated clip, of which one in two seconds is shown."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, _pictures(clip_s), _RATE)
        started, started_cpu = time.perf_counter(), time.process_time()
        num_frames = sum(1 for _ in frames_of(FileSource(path, 2.0)))
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    return {
        "num_frames_shown": num_frames,
        "decode_times_real_time": clip_s / seconds,
        "decode_cpu_s_per_video_s": cpu_s / clip_s,
    }


def _pictures(clip_s: int) -> Iterator[np.ndarray]:
    """A bright square that moves over noise which stays."""
    ground = np.random.default_rng(0).integers(0, 90, (_HEIGHT_PX, _WIDTH_PX, 3), np.uint8)
    for k in range(clip_s * _RATE):
        pixels = ground.copy()
        x = 2 * k % (_WIDTH_PX - 100)
        pixels[300:400, x : x + 100] = 230
        yield pixels


def _build(out: Path, num_videos: int) -> int:
    """Plans, runs, writes and reads back; gives the number of rows."""
    options = WriterOptions(cache=out / "answers.sqlite3")
    client = _Ready("http://localhost:1")
    writer = ChatWriter(client.url, "made up", options, keep_cut=True, client=client)
    models = Models(writer, writer, Prompts.read())
    journal = Journal(out, {})
    source = _Source(num_videos)
    try:
        journal.plan(source.videos(), None)
        completed(run_videos(source, journal, _Readers(), models, BuildSettings(), 16))
        write_outputs(out, journal.entries(), {})
    finally:
        journal.close()
        writer.close()
    return sum(1 for _ in read_proactive_rows(out / ROWS))


@dataclass(frozen=True, slots=True)
class _Source:
    """So many made-up videos with annotated scenes."""

    num_videos: int

    def videos(self) -> Iterator[SourceVideo]:
        spans = _spans()
        for number in range(self.num_videos):
            scenes = tuple(Remark(span, f"event {i} of {number}") for i, span in enumerate(spans))
            where = f"made up, row {number}"
            yield SourceVideo(f"v{number}", f"v{number}.mp4", "made up", where, scenes=scenes)


class _Readers:
    """Videos that are read at once."""

    async def seen(self, video: SourceVideo) -> SeenVideo:
        scenes = (SeenScene(scene.span, "said", scene.text, (_JPEG,) * 4) for scene in video.scenes)
        return SeenVideo(_VIDEO_S, tuple(scenes), "annotations")


class _Ready(ChatClient):
    """A server that answers at once, by rules."""

    async def complete(
        self, model: str, messages: Sequence[Message], max_tokens: int, extra: Mapping[str, Any]
    ) -> Completion:
        del model, max_tokens, extra
        rules, asked = messages[0]["content"], messages[1]["content"]
        if isinstance(asked, list):
            answer: object = {"caption": f"A caption as long as one mostly is. {asked[-1]['text']}"}
        elif '{"questions"' in rules:
            num, num_scenes = (int(n) for n in re.findall(r"number of \w+: (\d+)", asked))
            scenes = range(1, num_scenes + 1)
            answers = [{"scene": i, "answer": f"Something new {i}."} for i in scenes]
            questions = [{"question": f"What of {k}?", "answers": answers} for k in range(num)]
            answer = {"questions": questions}
        else:
            answer = {"answer": "All of it in one."}
        return Completion(json.dumps(answer), False, tokens=(1000, 100))


def _spans() -> list[TimeSpan]:
    num = round(_VIDEO_S / _SCENE_S)
    return [TimeSpan(k * _SCENE_S, (k + 1) * _SCENE_S - 0.5) for k in range(num)]
