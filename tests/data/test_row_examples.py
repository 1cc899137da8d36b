"""Laws of examples from files: history is answered, nothing is shown ahead of the clock, bad lines
are named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oncue.clock import Clock
from oncue.config import from_plain, to_plain
from oncue.data.row_examples import RowExamples, check_held_out, unusual_segments
from oncue.data.token_budget import check_token_budget, longest_rollout
from oncue.errors import ConfigError, DataError
from oncue.model.loading import LoadedModel
from oncue.train.rl.settings import GrpoConfig
from oncue.types import Reply, Silence
from oncue.video.writer import write_video

CLOCK = Clock(1.0)
LINE: dict[str, Any] = {
    "example_id": "one",
    "video": "clip.mp4",
    "segment": [8, 14],
    "questions": [{"time_s": 0, "text": "What changes?"}, {"time_s": 9, "text": "And now?"}],
    "gold": [
        {
            "question": "What changes?",
            "content": "It began.",
            "reply_timespan": [1, 3],
            "visible_s": None,
        },
        {
            "question": "What changes?",
            "content": "It went on.",
            "reply_timespan": [5, 6.5],
            "visible_s": 4.5,
        },
        {"question": "And now?", "content": "It ended.", "reply_timespan": [10, 12]},
        {"question": "And now?", "content": "Later.", "reply_timespan": [16, 18]},
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a video of 18 s whose picture at t has the grey level 10 t."""
    made = tmp_path_factory.mktemp("rows")
    write_video(made / "clip.mp4", (np.full((64, 64, 3), 10 * t, np.uint8) for t in range(18)), 1.0)
    return made


def examples(folder: Path, *lines: dict[str, Any], **options: Any) -> RowExamples:
    number = len(list(folder.glob("*.jsonl")))
    path = folder / f"rows{number}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines or (LINE,)))
    return RowExamples((path,), **options)


def test_history_is_answered_and_the_segment_is_due(folder: Path) -> None:
    example = examples(folder).item(0, 0, CLOCK, 2)
    assert [turn.clock_s for turn, _ in example.history] == [2, 4, 6, 8]
    assert [turn.clock_s for turn in example.turns] == [10, 12, 14]
    assert [action for _, action in example.history] == [
        Reply("It began."),
        Silence(),
        Reply("It went on."),
        Silence(),
    ]
    assert [gold.content for gold in example.task.gold] == [
        "It ended."
    ]  # not what begins after the segment
    assert [turn.text for turn, _ in example.history] == ["What changes?", "", "", ""]
    assert [turn.text for turn in example.turns] == ["And now?", "", ""]


@pytest.mark.parametrize("frames_per_turn", [1, 2, 3])
def test_no_frame_is_shown_before_its_time(folder: Path, frames_per_turn: int) -> None:
    example = examples(folder, {**LINE, "segment": [8, 15]}).item(0, 0, CLOCK, frames_per_turn)
    turns = [*(turn for turn, _ in example.history), *example.turns]
    assert sum(len(turn.frames) for turn in turns) == 15
    for turn in turns:
        assert all(turn.frames.pts_s <= turn.clock_s)
        shown_s = [pixels.mean() / 10 for pixels in turn.frames.pixels]
        assert shown_s == pytest.approx(list(turn.frames.pts_s), abs=0.2)


def test_the_oldest_turns_are_left_out_and_their_question_is_kept(folder: Path) -> None:
    whole = examples(folder).item(0, 0, CLOCK, 2)
    for few in (examples(folder, max_history_turns=2), examples(folder, max_frames=10)):
        example = few.item(0, 0, CLOCK, 2)
        assert [turn.clock_s for turn, _ in example.history] == [6, 8]
        assert [action for _, action in example.history] == [Reply("It went on."), Silence()]
        assert example.history[0][0].text == "What changes?"
        assert example.task == whole.task
        assert all(
            np.array_equal(a.frames.pixels, b.frames.pixels)
            for a, b in zip(example.turns, whole.turns, strict=True)
        )
    with pytest.raises(
        DataError, match="line 1: its segment has 6 frames, more than max_frames = 5"
    ):
        examples(folder, max_frames=5).item(0, 0, CLOCK, 2)


def test_a_video_that_ends_early_ends_the_segment(folder: Path) -> None:
    late = examples(folder, {**LINE, "segment": [14, 40]}).item(0, 0, CLOCK, 1)
    assert late.turns[-1].clock_s == 18
    with pytest.raises(DataError, match="nothing of"):
        examples(folder, {**LINE, "segment": [30, 50]}).item(0, 0, CLOCK, 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"segment": [9, 9]}, "segment"),
        ({"segment": "8-14"}, "segment"),
        ({"video": "none.mp4"}, "no video"),
        ({"questions": []}, "no question"),
        ({"questions": [{"time_s": -1, "text": "x"}]}, "question 1: 'time_s'"),
        (
            {"gold": [{"question": "q", "content": "", "reply_timespan": [1, 2]}]},
            "gold 1: 'content'",
        ),
        ({"gold": [3]}, "gold 1"),
        ({"example_id": "zero"}, "is in .* too"),
    ],
)
def test_a_bad_line_is_named(folder: Path, change: dict[str, Any], told: str) -> None:
    given = examples(folder, {**LINE, "example_id": "zero"}, {**LINE, **change})
    with pytest.raises(DataError, match=told) as caught:
        given.rows()
    assert f"{given.paths[0]}, line 2" in str(caught.value)


def test_the_token_budget_is_checked_beforehand(folder: Path, tiny_loaded: LoadedModel) -> None:
    example = examples(folder).item(0, 0, CLOCK, 2)
    needed = longest_rollout(example, tiny_loaded.renderer, 10)
    check_token_budget(example, tiny_loaded.renderer, 10, needed)
    with pytest.raises(
        DataError,
        match=rf"'one' may need {needed:,} tokens .* max_tokens = {needed - 1:,}; show fewer",
    ):
        check_token_budget(example, tiny_loaded.renderer, 10, needed - 1)
    assert longest_rollout(example, tiny_loaded.renderer, 11) == needed + len(example.turns)


def test_videos_that_were_trained_on_are_refused(folder: Path) -> None:
    given = examples(folder).rows()
    rows = folder / "sft.json_lines"
    for row in (
        {"messages": [], "metadata": {"video_id": "clip"}},
        {"messages": [], "images": [{"path": "else/clip.mp4#t=3"}]},
        {"messages": [], "images": ["clip/000001.jpg"]},
    ):
        rows.write_text(json.dumps(row) + "\n")
        with pytest.raises(DataError, match=r"example 'one' shows the video 'clip'.*line 1"):
            check_held_out(given, [rows])
    rows.write_text(
        json.dumps({"messages": [], "metadata": {"video_id": "clip2"}, "images": ["a/clip.jpg"]})
        + "\n"
    )
    check_held_out(given, [rows])


def test_unusual_lengths_are_told_of(folder: Path) -> None:
    usual = {**LINE, "segment": [0, 20]}
    assert unusual_segments(examples(folder, usual).rows()) is None
    told = unusual_segments(examples(folder, usual, {**LINE, "example_id": "two"}).rows())
    assert told is not None
    assert "1 of 2" in told
    assert "line 2 (6 s)" in told
    assert "short ones" in told
    assert "long ones" not in told
    long = {**LINE, "example_id": "two", "segment": [0, 61]}
    told = unusual_segments(examples(folder, usual, long).rows())
    assert told is not None
    assert "long ones have too sparse a reward" in told
    assert "short ones" not in told


def test_settings_come_back_from_their_file(folder: Path) -> None:
    config = GrpoConfig(model="mini", examples=examples(folder, max_frames=30), judge="lexical")
    assert from_plain(GrpoConfig, to_plain(config)) == config
    made_up = GrpoConfig(model="mini")
    assert from_plain(GrpoConfig, to_plain(made_up)) == made_up
    with pytest.raises(ConfigError, match="judge must be lexical"):
        replace(config, judge="exact")
