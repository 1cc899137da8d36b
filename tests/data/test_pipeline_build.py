"""A whole run: videos of many kinds through a local server, killed and resumed, out of budget, with
other settings."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from oncue.data.pipeline.build import Built, build
from oncue.data.pipeline.estimate import estimate
from oncue.data.pipeline.journal import Journal
from oncue.data.pipeline.outputs import REJECTED, ROWS, SUMMARY, counts_in, write_outputs
from oncue.data.pipeline.prompt_files import Prompts
from oncue.data.pipeline.readers import VideoReaders
from oncue.data.pipeline.runner import run_videos
from oncue.data.pipeline.steps import Models
from oncue.data.pipeline.values import BuildSettings, Outcome, Rejected, SeenVideo
from oncue.data.pipeline.video_reading import read_video
from oncue.data.proactive_rows import read_proactive_rows
from oncue.data.request_limits import Prices
from oncue.data.source_videos import Remark, SourceVideo
from oncue.errors import BackendError, ConfigError, DataError, RunStoppedError
from oncue.types import TimeSpan
from oncue.video.writer import write_video
from openai_server import OpenAIServer
from pipeline_model import SMALL, Listed, model, models_on, moody, one
from server_faults import Status

FILES = (ROWS, REJECTED, SUMMARY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 6 s, a file that is none."""
    folder = tmp_path_factory.mktemp("videos")
    pictures = (np.full((64, 96, 3), 40 * (k // 5), np.uint8) for k in range(30))
    write_video(folder / "clip.mp4", pictures, 5.0)
    (folder / "broken.mp4").write_bytes(b"no video at all")
    return folder


def built(source: Listed, folder: Path, out: Path, models: Models, **more: Any) -> Built:
    settings = more.pop("settings", SMALL)
    return build(source, folder, out, models, settings, num_processes=1, most_at_once=4, **more)


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def test_faults_are_listed_and_the_rest_is_built(folder: Path, tmp_path: Path) -> None:
    source = Listed(
        (
            one(0),
            DataError("list.json, row 9: 'video' must be text"),
            one(1, "absent.mp4"),
            one(2, "broken.mp4"),
            one(3),
            one(3),
            one(4, part=TimeSpan(90, 99)),
            one(5, scenes=(Remark(TimeSpan(50, 99), "y"),)),
        )
    )
    with OpenAIServer(model) as server:
        made = built(source, folder, tmp_path, models_on(server))
    made.check()
    rows = [row for _, row in read_proactive_rows(tmp_path / ROWS)]
    assert [row.video_id for row in rows] == ["v0", "v3"]
    assert all(row.task.duration_s == 6.0 for row in rows)
    lines = [json.loads(line) for line in (tmp_path / REJECTED).read_text().splitlines()]
    assert [(line["video_id"], line["step"], line["kind"]) for line in lines] == [
        ("", "source", "bad_row"),
        ("v1", "video", "missing"),
        ("v2", "video", "corrupt"),
        ("", "source", "bad_row"),
        ("v4", "video", "corrupt"),
        ("v5", "scenes", "none"),
    ]
    assert "another video 'v3'" in lines[3]["reason"]
    summary = json.loads((tmp_path / SUMMARY).read_text())
    assert (summary["num_videos"], summary["num_rows"], summary["num_rejected"]) == (6, 2, 4)
    assert summary["settings"]["captioner"]["model"] == "watcher"
    assert summary["num_requests"] == len(server.bodies)


def test_a_missing_video_is_tried_again_and_the_rest_is_not(folder: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "clip.mp4").symlink_to(folder / "clip.mp4")
    source = Listed((one(0, "late.mp4"), one(1)))
    out = tmp_path / "out"
    with OpenAIServer(model) as server:
        assert built(source, videos, out, models_on(server)).counts.num_rows == 1
        num_sent = len(server.bodies)
        (videos / "late.mp4").symlink_to(folder / "clip.mp4")
        made = built(source, videos, out, models_on(server))
        assert made.counts.num_rows == 2
        num_second = len(server.bodies) - num_sent
    assert 0 < num_second <= num_sent + 3
    assert [row.video_id for _, row in read_proactive_rows(out / ROWS)] == ["v0", "v1"]


def test_a_run_that_is_killed_at_any_point_ends_with_the_same_files(
    folder: Path, tmp_path: Path
) -> None:
    """kill -9 at moments that follow from nothing; the last run is left alone."""
    with OpenAIServer(moody) as server:
        command = [sys.executable, str(Path(__file__).parent.parent / "pipeline_run.py")]
        command += [server.url, str(folder)]
        subprocess.run([*command, str(tmp_path / "whole")], check=True, timeout=120)
        whole = contents(tmp_path / "whole")
        server.received.clear()
        killed, num_kills = tmp_path / "killed", 0
        for num_requests in (3, 12, 25):
            process = subprocess.Popen([*command, str(killed)])
            target = len(server.received) + num_requests
            while process.poll() is None and len(server.received) < target:
                time.sleep(0.005)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                num_kills += 1
            process.wait()
        subprocess.run([*command, str(killed)], check=True, timeout=120)
    assert num_kills >= 2
    assert contents(killed) == whole
    assert len(whole[ROWS].splitlines()) >= 4


def test_other_settings_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    source = Listed((one(0),))
    with OpenAIServer(model) as server:
        built(source, folder, tmp_path, models_on(server))
        for settings, name in (
            (dataclasses.replace(SMALL, seed=1), "another seed: 0, now 1"),
            (dataclasses.replace(SMALL, frames_per_turn=2), "frames_per_turn"),
        ):
            with pytest.raises(ConfigError, match=name):
                built(source, folder, tmp_path, models_on(server), settings=settings)
        more = Listed((one(7), *source.items))
        assert built(more, folder, tmp_path, models_on(server)).counts.num_rows == 2
    assert [row.video_id for _, row in read_proactive_rows(tmp_path / ROWS)] == ["v7", "v0"]


def test_a_spent_budget_stops_the_run_and_a_larger_one_goes_on(
    folder: Path, tmp_path: Path
) -> None:
    source = Listed(tuple(one(number) for number in range(6)))
    cache, out = tmp_path / "answers.sqlite3", tmp_path / "out"
    with OpenAIServer(model) as server:
        made = built(source, folder, out, models_on(server, cache, max_cost=0.015))
        with pytest.raises(RunStoppedError, match=r"budget of 0.015 is spent.*videos are left"):
            made.check()
        journal = Journal(out, json.loads((out / SUMMARY).read_text())["settings"])
        spent = journal.spent()
        journal.close()
        assert 0 < spent[3] <= 0.015
        again = built(source, folder, out, models_on(server, cache, max_cost=0.015))
        assert again.ending.is_budget, "what was spent before counts"
        built(source, folder, out, models_on(server, cache)).check()
        num_sent = len(server.bodies)
        built(source, folder, tmp_path / "whole", models_on(server, cache)).check()
        assert len(server.bodies) == num_sent, "nothing is paid for twice"
    assert contents(out) == contents(tmp_path / "whole")


def test_a_server_that_is_down_ends_the_run_with_what_is_done(folder: Path, tmp_path: Path) -> None:
    source = Listed(tuple(one(number) for number in range(60)))
    with OpenAIServer(model, refuse=lambda _: Status(503)) as server:
        made = built(
            source,
            folder,
            tmp_path,
            models_on(server),
            settings=dataclasses.replace(SMALL, captions="annotated"),
        )
        with pytest.raises(BackendError, match=r"60 videos are left.*HTTP 503.*nothing is paid"):
            made.check()
    assert len(server.bodies) <= 2 * (20 + 4)
    assert (made.counts.num_open, made.counts.num_rows) == (60, 0)


def test_two_processes_do_not_work_in_one_folder(folder: Path, tmp_path: Path) -> None:
    Journal(tmp_path, {}).close()
    at_work = Journal(tmp_path, {})
    with (
        OpenAIServer(model) as server,
        pytest.raises(ConfigError, match="another process is at work"),
    ):
        built(Listed((one(0),)), folder, tmp_path, models_on(server))
    at_work.close()


def test_a_limit_takes_the_first_videos(folder: Path, tmp_path: Path) -> None:
    source = Listed(tuple(one(number) for number in range(5)))
    with OpenAIServer(model) as server:
        assert built(source, folder, tmp_path, models_on(server), limit=2).counts.num_videos == 2
        assert built(source, folder, tmp_path, models_on(server)).counts.num_rows == 5


def dying(video: SourceVideo, folder: Path, settings: BuildSettings) -> SeenVideo | Rejected:
    """Reads videos, but the process dies of one."""
    if video.video_id == "v1":
        os._exit(9)
    return read_video(video, folder, settings)


def test_a_decoder_that_crashes_costs_only_its_video(folder: Path, tmp_path: Path) -> None:
    source = Listed(tuple(one(number) for number in range(3)))
    journal = Journal(tmp_path, {})
    assert journal.plan(source.videos(), None) == 3
    with OpenAIServer(model) as server, VideoReaders(folder, SMALL, 1, dying) as readers:
        asyncio.run(run_videos(source, journal, readers, models_on(server), SMALL, 2))
    found = {entry.video_id: entry.outcome for entry in journal.entries()}
    assert [number for number, o in found.items() if o is not None and o.row] == ["v0", "v2"]
    assert found["v1"] is not None
    assert "died" in found["v1"].rejected[0].reason


def test_scenes_of_sentences_are_seen_with_what_is_said(folder: Path) -> None:
    sentences = tuple(Remark(TimeSpan(k * 2.0, k * 2.0 + 1.9), f"Line {k}.") for k in range(3))
    seen = read_video(one(0, scenes=(), sentences=sentences), folder, SMALL)
    assert isinstance(seen, SeenVideo)
    assert seen.found_by == "sentences"
    assert " ".join(scene.subtitle for scene in seen.scenes) == "Line 0. Line 1. Line 2."
    assert all(len(scene.jpegs) == 2 and not scene.note for scene in seen.scenes)


def test_frames_are_those_of_the_scene_and_of_the_part(folder: Path) -> None:
    scenes = (Remark(TimeSpan(0.2, 0.8), "a"), Remark(TimeSpan(2.2, 2.8), "b"))
    seen = read_video(one(0, scenes=scenes, part=TimeSpan(1, 5)), folder, SMALL)
    assert isinstance(seen, SeenVideo)
    assert seen.duration_s == 4.0
    greys = [
        round(float(np.asarray(Image.open(io.BytesIO(jpeg))).mean()) / 40)
        for scene in seen.scenes
        for jpeg in scene.jpegs
    ]
    assert greys == [1, 1, 3, 3]  # seconds 1 to 2 and 3 to 4 of the file


def test_an_estimate_names_what_is_missing_and_is_measured_once_some_are_done(
    folder: Path, tmp_path: Path
) -> None:
    source = Listed((one(0), one(1, "absent.mp4"), DataError("bad"), one(2, duration_s=6.0)))
    found = estimate(source.videos(), folder, SMALL, Prompts.read())
    assert (found.num_videos, found.num_found, found.num_missing) == (3, 2, 1)
    assert (found.missing, found.faults) == (["absent.mp4"], ["bad"])
    assert found.steps["caption"].num_requests == 18
    assert found.steps["questions"].num_requests == 3
    assert found.cost(Prices.read(("m=1,1",)), dict.fromkeys(found.steps, "other")) is None
    assert found.seconds(16, 2, None) > found.seconds(16, 20, None)
    with OpenAIServer(model) as server:
        built(source, folder, tmp_path, models_on(server), limit=1)
        counts = counts_in(tmp_path)
    assert counts is not None
    found.scale_to(counts)
    assert found.is_measured
    total = sum(step.num_requests for step in found.steps.values())
    assert total == 3 * len(server.bodies)
    (tmp_path / SUMMARY).write_text("[1]")
    with pytest.raises(DataError, match="summary of oncue data build"):
        counts_in(tmp_path)


@dataclasses.dataclass(frozen=True)
class Many:
    """So many videos. What json leaves in cycles is collected now and then: it is no growth."""

    num: int

    def videos(self) -> Iterator[SourceVideo]:
        for number in range(self.num):
            if number % 20 == 0:
                gc.collect()
            yield one(number)


def peak_bytes(out: Path, num: int) -> int:
    """Of Python's memory, while so many videos are planned, noted and written."""
    out.mkdir()
    journal = Journal(out, {})
    tracemalloc.start()
    try:
        assert journal.plan(Many(num).videos(), None) == num
        for video in Many(num).videos():
            assert journal.is_due(video)
            journal.note(video, Outcome(None, (Rejected("scenes", "none", "x" * 500),)))
        assert write_outputs(out, journal.entries(), {}).num_rejected == num
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        journal.close()


def test_memory_does_not_grow_with_the_number_of_videos(tmp_path: Path) -> None:
    gc.freeze()
    try:
        few, many = (peak_bytes(tmp_path / str(num), num) for num in (100, 400))
    finally:
        gc.unfreeze()
    assert many - few < 300 * 200  # less than half of the shortest line of each


def test_no_key_of_ours_ends_in_the_files(folder: Path, tmp_path: Path) -> None:
    with OpenAIServer(model) as server:
        built(Listed((one(0),)), folder, tmp_path, models_on(server))
        assert not re.search(re.escape(server.url).encode(), b"".join(contents(tmp_path).values()))


class Changing:
    """A source that says something else each time it is read; `num_read` counts what it gave."""

    def __init__(self, *items: SourceVideo, changes: bool) -> None:
        self.items, self.changes, self.num_passes, self.num_read = items, changes, 0, 0

    def videos(self) -> Iterator[SourceVideo | DataError]:
        self.num_passes += 1
        for video in self.items:
            self.num_read += 1
            scenes = (Remark(TimeSpan(0, 1), f"pass {self.num_passes}"),)
            yield dataclasses.replace(video, scenes=scenes) if self.changes else video


def test_a_source_that_changes_under_the_run_is_said(folder: Path, tmp_path: Path) -> None:
    with OpenAIServer(model) as server:
        source = Changing(one(0), one(1), changes=True)
        made = built(source, folder, tmp_path, models_on(server))  # type: ignore[arg-type]
    with pytest.raises(RunStoppedError, match="2 videos have no outcome"):
        made.check()


def test_no_more_of_a_source_is_read_than_is_planned(folder: Path, tmp_path: Path) -> None:
    """Reading may mean to transcribe."""
    source = Changing(*map(one, range(6)), changes=False)
    with OpenAIServer(model) as server:
        made = built(source, folder, tmp_path, models_on(server), limit=2)  # type: ignore[arg-type]
    assert made.counts.num_rows == 2
    assert (source.num_passes, source.num_read) == (2, 4)


def test_missing_videos_do_not_hide_that_the_server_is_down(folder: Path, tmp_path: Path) -> None:
    with OpenAIServer(lambda _body: Status(500)) as server:
        videos = (one(i, "absent.mp4" if i % 2 else "clip.mp4") for i in range(80))
        made = built(Listed(tuple(videos)), folder, tmp_path, models_on(server))
    assert 20 <= made.ending.num_failed < 30
    with pytest.raises(BackendError):
        made.check()


def test_what_the_server_refused_is_asked_again_by_the_next_run(
    folder: Path, tmp_path: Path
) -> None:
    with OpenAIServer(lambda _body: Status(400)) as server:
        made = built(Listed((one(0),)), folder, tmp_path, models_on(server))
        assert made.counts.num_rows == 0
    with OpenAIServer(model) as server:
        assert built(Listed((one(0),)), folder, tmp_path, models_on(server)).counts.num_rows == 1


def test_a_setting_that_is_wrong_in_a_task_is_one_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any) -> Any:
        raise ConfigError("install scenedetect-headless")

    monkeypatch.setattr(VideoReaders, "seen", refuse)
    with OpenAIServer(model) as server, pytest.raises(ConfigError, match="install"):
        built(Listed((one(0), one(1))), folder, tmp_path, models_on(server))
