"""Proactive dialogues from one format to another and back: the same rows, the same bytes, the same
token ids; what is wrong is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncue.clock import Clock
from oncue.data.formats.converting import changed, convert
from oncue.data.formats.frame_names import frame_names, track_of
from oncue.data.formats.layout import Layout
from oncue.data.formats.registry import FORMATS, Holds, to_read, to_write
from oncue.data.formats.rl import turns_file
from oncue.data.formats.segments import segments_of, turns_of
from oncue.data.formats.written_rows import LineStyle, from_proactive, to_proactive, written_row
from oncue.data.gold import load_gold
from oncue.data.proactive_rows import (
    DialogueKind,
    ProactiveRow,
    read_proactive_rows,
    write_proactive_rows,
)
from oncue.data.source_videos import VideoKind
from oncue.dialogue.frames import load_frames
from oncue.dialogue.write import Placement, write_dialogue
from oncue.errors import ConfigError, DataError
from oncue.render.markup import PROACTIVE_SYSTEM
from oncue.types import GoldTurn, Question, Task, TimeSpan
from oncue.video.source import FileSource, frames_of
from oncue.video.writer import write_video

LAYOUT = Layout(Clock(2.0), 2, segment_s=20.0, max_frames=90)
ROW = ProactiveRow(
    Task(
        "a-1",
        (Question("What is cut?", 4.0), Question("Wer kommt – ä?", 24.0)),
        (
            GoldTurn("An onion.", TimeSpan(7.0, 13.0), "What is cut?"),
            GoldTurn("A man.", TimeSpan(26.0, 33.0), "Wer kommt – ä?"),
        ),
        50.5,
    ),
    "clips/a.mp4",
    "a",
    "live",
    VideoKind.WEB,
    DialogueKind.MANY_QUESTIONS,
)


def run(
    path: Path, out: Path, layout: Layout = LAYOUT, to: str | None = None, **more: Any
) -> list[DataError]:
    """Converts, and gives what was wrong with rows."""
    faults: list[DataError] = []
    source = to_read(more.get("from_format"), path)
    convert(path, out, source, to_write(to, out), layout, faults.append)
    return faults


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    part = TimeSpan(10.0, 50.0)
    task = replace(ROW.task, task_id="b", duration_s=40.0)
    write_proactive_rows(path, [ROW, replace(ROW, task=task, video_id="b", part=part)])
    return path


def test_our_rows_are_the_same_from_parquet(rows, tmp_path) -> None:
    run(rows, tmp_path / "x.parquet")
    run(tmp_path / "x.parquet", tmp_path / "back.jsonl")
    assert (tmp_path / "back.jsonl").read_bytes() == rows.read_bytes()


def test_parquet_holds_no_bytes_and_names_what_it_lacks(rows, tmp_path) -> None:
    import pyarrow
    import pyarrow.parquet

    run(rows, tmp_path / "x.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "x.parquet")
    assert "binary" not in str(table.schema)
    pyarrow.parquet.write_table(table.drop(["gold", "video"]), tmp_path / "y.parquet")
    with pytest.raises(DataError, match="lacks the columns video, gold"):
        run(tmp_path / "y.parquet", tmp_path / "z.jsonl")
    (tmp_path / "w.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        run(tmp_path / "w.parquet", tmp_path / "z.jsonl")
    assert not (tmp_path / "z.jsonl").exists()


@settings(max_examples=60, deadline=None)
@given(
    interval_s=st.sampled_from([0.5, 1.0, 2.0]),
    per_turn=st.integers(1, 3),
    num_frames=st.integers(2, 40),
    cut_s=st.sampled_from([0.0, 0.25]),
    start_s=st.sampled_from([0.0, 12.5]),
    turns=st.lists(st.integers(0, 12), max_size=4, unique=True),
    placement=st.sampled_from(Placement),
)
def test_turns_that_are_read_and_written_are_the_same(
    interval_s, per_turn, num_frames, cut_s, start_s, turns, placement
) -> None:
    layout = replace(LAYOUT, clock=Clock(interval_s), frames_per_turn=per_turn, placement=placement)
    turn_s, duration_s = layout.turn_s, num_frames * interval_s - cut_s
    gold = tuple(
        GoldTurn(f"Reply {k}.", TimeSpan(k * turn_s + 0.1, (k + 1) * turn_s)) for k in turns
    )
    row = replace(
        ROW,
        task=Task("r", (Question("What?"),), gold, duration_s),
        part=TimeSpan(start_s, start_s + duration_s) if start_s else None,
    )
    written = from_proactive(row, layout)
    back = to_proactive(written, layout)
    assert (back.part, back.task.duration_s, back.video) == (row.part, duration_s, row.video)
    assert from_proactive(back, layout).line == written.line


LINES = [
    '{"messages": [{"role": "user", "content": "<image>Wer – ä?"}, {"role": "assistant", '
    '"content": "NO REPLY"}], "images": [{"path": "./d/000001.jpg", "w": 3}], '
    '"metadata": {"video_id": 7, "z": 1.0}, "more": null}',
    '{"metadata":{"question_id":"q"},"images":["d/000001.jpg"],"messages":[{"content":'
    '"<image>Wer \\u2013 \\u00e4?","role":"user"},{"role":"assistant",'
    '"content":"Ann","loss":true}]}',
]


def test_official_rows_are_the_same_bytes(tmp_path) -> None:
    path = tmp_path / "sft.jsonl"
    path.write_text("\n".join(LINES) + "\n", "utf-8")
    assert not run(path, tmp_path / "out.jsonl", to="sft")
    assert (tmp_path / "out.jsonl").read_bytes() == path.read_bytes()
    path.write_text('{"messages":   [' + LINES[0][14:] + "\n", "utf-8")  # other blanks: same value
    run(path, tmp_path / "out.jsonl", to="sft")
    assert json.loads((tmp_path / "out.jsonl").read_bytes()) == json.loads(path.read_bytes())
    assert (tmp_path / "out.jsonl").read_bytes() != path.read_bytes()


def test_official_rows_by_pictures_come_back_through_our_rows(tmp_path) -> None:
    path = tmp_path / "sft.jsonl"
    written = from_proactive(ROW, replace(LAYOUT, frames=Path("data/web")))
    path.write_text(written.line.replace("data/web", "./data/web") + "\n", "utf-8")
    run(path, tmp_path / "rows.jsonl")
    ((_, row),) = read_proactive_rows(tmp_path / "rows.jsonl")
    assert (row.video, row.video_id) == ("./data/web/a/%06d.jpg", "a")
    assert [q.time_s for q in row.task.questions] == [4.0, 24.0]
    assert [g.span for g in row.task.gold] == [TimeSpan(9.0, 12.0), TimeSpan(29.0, 32.0)]
    run(tmp_path / "rows.jsonl", tmp_path / "back.jsonl", to="sft")
    assert (tmp_path / "back.jsonl").read_bytes() == path.read_bytes()


def test_an_official_row_has_the_token_ids_of_our_rendering() -> None:
    from oncue.hub import resolve_model
    from oncue.render.qwen_vl import QwenVLRenderer

    renderer = QwenVLRenderer.from_pretrained(resolve_model("mini"))
    pixels = np.random.default_rng(0).integers(0, 256, (26, 56, 84, 3), np.uint8)
    frames = [renderer.frame_processor(frame) for frame in pixels]
    ours = write_dialogue(
        ROW.task,
        26,
        LAYOUT.clock,
        system=PROACTIVE_SYSTEM,
        silence="NO REPLY",
        frames_per_turn=2,
    )
    line = from_proactive(ROW, LAYOUT).line
    official = written_row(json.loads(line), "row").dialogue
    mine, theirs = (renderer.dialogue(each, frames).whole for each in (ours, official))
    assert np.array_equal(mine.token_ids, theirs.token_ids)
    assert np.array_equal(mine.loss_mask, theirs.loss_mask)
    other = written_row(json.loads(line.replace("onion", "apple")), "row").dialogue
    assert not np.array_equal(renderer.dialogue(other, frames).whole.token_ids, mine.token_ids)


def test_segments_have_the_history_with_its_replies() -> None:
    segments = list(segments_of(ROW, LAYOUT))
    assert [s.span for s in segments] == [
        TimeSpan(0, 20),
        TimeSpan(20, 40),
        TimeSpan(40, 52),
    ]
    turns = turns_of(segments[1], LAYOUT)
    assert turns.times_s == (24, 28, 32, 36, 40)
    assert [t for _, t in turns.prompt] == [0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24]
    assert (turns.said, [gold.content for gold in turns.due]) == (("An onion.",), ["A man."])
    short = turns_of(segments[1], replace(LAYOUT, max_frames=14))  # 2 turns of history
    assert [t for _, t in short.prompt] == [0, 16, 16, 20, 20, 24]
    assert short.prompt[1][0].text == "What is cut?"
    assert (short.said, short.images[0]) == ((), "clips/a.mp4#t=14")


def test_rl_files_are_those_of_verl_and_come_back(rows, tmp_path) -> None:
    import pyarrow.parquet

    out = tmp_path / "rl.parquet"
    run(rows, out, to="rl")
    row = pyarrow.parquet.read_table(out).to_pylist()[1]
    truth = row["reward_model"]["ground_truth"]
    assert truth["model_pred_timestamps"] == [24, 28, 32, 36, 40]
    assert truth["prev_assistant_replies"] == ["An onion."]
    assert truth["answer"][0]["reply_timespan"] == [26, 33]
    assert row["prompt"][-1]["role"] == "user"
    assert row["prompt"][-1]["last_image_time"] == 24
    marks = sum(message["content"].count("<image>") for message in row["prompt"])
    assert marks == len(row["images"]) == row["extra_info"]["num_images"] == 12
    users = json.loads(turns_file(out).read_text("utf-8"))[truth["question_id"]]
    assert len(users) == 10
    assert users[6]["content"][0] == {"type": "image", "image": "clips/a.mp4#t=26"}
    run(out, tmp_path / "again.parquet", to="rl")
    assert turns_file(tmp_path / "again.parquet").read_bytes() == turns_file(out).read_bytes()
    again = pyarrow.parquet.read_table(tmp_path / "again.parquet")
    assert again.equals(pyarrow.parquet.read_table(out))


def test_examples_of_grpo_are_made_of_rows_and_of_rl_files(rows, tmp_path) -> None:
    faults = run(rows, tmp_path / "examples.jsonl", to="examples")
    assert len(faults) == 2  # both segments of the row about a later part
    assert "from 10 s" in str(faults[0])
    lines = (tmp_path / "examples.jsonl").read_text("utf-8").splitlines()
    first = json.loads(lines[1])
    assert (first["segment"], first["video"]) == ([20, 40], "clips/a.mp4")
    run(tmp_path / "examples.jsonl", tmp_path / "again.jsonl", to="examples")
    assert (tmp_path / "again.jsonl").read_text("utf-8").splitlines() == lines
    run(tmp_path / "examples.jsonl", tmp_path / "rl.parquet", to="rl")
    run(tmp_path / "rl.parquet", tmp_path / "back.jsonl", to="examples")
    back = json.loads((tmp_path / "back.jsonl").read_text("utf-8").splitlines()[1])
    assert (back["segment"], back["video"]) == ([20, 40], "clips/a.mp4")
    assert back["gold"][0]["reply_timespan"] == [9, 12]  # of the history: its turn


def test_evaluation_input_and_gold(rows, tmp_path) -> None:
    run(rows, tmp_path / "set", to="eval")
    shown = json.loads((tmp_path / "set-frame_input_format.json").read_text("utf-8"))
    assert shown[1]["question_id"] == "b"
    assert shown[1]["conversation"][0] == {
        "role": "user",
        "content": [
            {"type": "image", "image": "clips/a.mp4#t=12"},
            {"type": "image", "image": "clips/a.mp4#t=14"},
            {"type": "text", "text": "What is cut?"},
        ],
    }
    gold = tmp_path / "set-proactivevideoqa_format.json"
    assert load_gold(gold)[0].task == ROW.task
    late = replace(ROW, task=replace(ROW.task, duration_s=30.0))
    write_proactive_rows(tmp_path / "late.jsonl", [ROW, late])
    (fault,) = run(tmp_path / "late.jsonl", tmp_path / "late", to="eval")
    assert "ends at 33 s" in str(fault)
    run(gold, tmp_path / "back.jsonl", replace(LAYOUT, kind=VideoKind.WEB))
    (_, first), (_, second) = read_proactive_rows(tmp_path / "back.jsonl")
    assert (first.task, first.kind, second.part) == (ROW.task, VideoKind.WEB, TimeSpan(10, 50))


@pytest.mark.parametrize("name", ["swift", "trl", "llama-factory", "swift-grpo", "trl-grpo"])
def test_rows_of_trainers_have_a_mark_for_each_picture(name, rows, tmp_path) -> None:
    with pytest.raises(ConfigError, match="--frames"):
        run(rows, tmp_path / "out.jsonl", to=name)
    run(rows, tmp_path / "out.jsonl", replace(LAYOUT, frames=Path("/d")), to=name)
    for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        turns = json.dumps([row.get(key) for key in ("messages", "prompt", "conversations")])
        marks = turns.count("<image>") + turns.count('{"type": "image"}')
        assert marks == len(row["images"]) > 0
        assert row["images"][0] == f"/d/{'a' if 'a-1' in line else row['images'][0][3]}/000001.jpg"
        if name.endswith("grpo"):
            assert (row.get("messages") or row["prompt"])[-1]["role"] == "user"
            later = json.loads(row["user_turns"])
            assert all(turn["content"][0]["type"] == "image" for turn in later)
            times_s = json.loads(row["ground_truth"])["model_pred_timestamps"]
            assert len(times_s) == 1 + len(later)


@pytest.mark.parametrize("name", ["swift", "trl"])
def test_rows_of_trainers_come_back_as_official_rows(name, rows, tmp_path) -> None:
    layout = replace(LAYOUT, frames=Path("/d"))
    run(rows, tmp_path / "sft.jsonl", layout, to="sft")
    run(tmp_path / "sft.jsonl", tmp_path / "out.jsonl", to=name)
    run(tmp_path / "out.jsonl", tmp_path / "back.jsonl", to="sft")
    for line, back in zip(
        (tmp_path / "sft.jsonl").read_text("utf-8").splitlines(),
        (tmp_path / "back.jsonl").read_text("utf-8").splitlines(),
        strict=True,
    ):
        first, second = (written_row(json.loads(text), "row") for text in (line, back))
        assert first.dialogue == second.dialogue
        assert first.images == second.images


def write_json(path: Path, *values: Any) -> Path:
    path.write_text("\n".join(map(json.dumps, values)), "utf-8")
    return path


def test_streamo_counts_seconds_from_1(tmp_path) -> None:
    raw = {
        "video_path": "v/y.mp4",
        "question": [{"content": "Who?", "time": "5"}],
        "response": [
            {"content": "Ann.", "st_time": 5.0, "end_time": 6.0, "time": ""},
            {"content": "Bob.", "st_time": "", "end_time": "", "time": "9"},
        ],
    }
    run(write_json(tmp_path / "raw.jsonl", raw), tmp_path / "out.jsonl")
    ((_, row),) = read_proactive_rows(tmp_path / "out.jsonl")
    assert row.task.questions == (Question("Who?", 5.0),)
    assert [g.span for g in row.task.gold] == [TimeSpan(6, 7), TimeSpan(8.5, 9)]
    messages = [("user", "Who?\n<0s-1s>\n<stream>"), ("assistant", "</Silence>")]
    messages += [("user", "Who?\n<1s-2s>\n<stream>"), ("assistant", "</Standby>")]
    messages += [("user", "<2s-3s>\n<stream>"), ("assistant", "</Response> Ann.")]
    stream = {"messages": [{"role": r, "content": c} for r, c in messages], "videos": ["v/y.mp4"]}
    run(write_json(tmp_path / "stream.jsonl", stream), tmp_path / "out.jsonl")
    ((_, row),) = read_proactive_rows(tmp_path / "out.jsonl")
    assert row.task.questions == (Question("Who?", 2.0),)
    assert row.task.gold == (GoldTurn("Ann.", TimeSpan(2.5, 3), "Who?"),)
    assert row.task.duration_s == 3


SFT = json.loads(LINES[0])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (SFT | {"images": []}, "line 2: 1 <image> marks, but 0 images"),
        (SFT | {"images": ["a.mp4#t=3"]}, "line 2"),
        (SFT | {"messages": [{"role": "user", "content": "<image>"}]}, "line 2: nothing is asked"),
        (SFT | {"images": [{"path": "d/000002.jpg"}]}, "line 2, image 1: 'd/000002.jpg' is not"),
        ({"messages": 3}, "line 2"),
    ],
)
def test_what_is_wrong_with_a_row_is_named_and_the_others_are_kept(value, said, tmp_path) -> None:
    path = write_json(tmp_path / "sft.jsonl", SFT, value, SFT)
    if value.get("images") == ["a.mp4#t=3"]:  # a part of the video from 1 s on: nothing is wrong
        assert not run(path, tmp_path / "out.jsonl")
        return
    (fault,) = run(path, tmp_path / "out.jsonl")
    assert said in str(fault)
    assert len(list(read_proactive_rows(tmp_path / "out.jsonl"))) == 2


def test_frames_of_another_interval_are_refused() -> None:
    names = ["a.mp4#t=1", "a.mp4#t=2", "a.mp4#t=3"]
    assert track_of(names, Clock(1.0), "row").duration_s == 3
    with pytest.raises(DataError, match="--frame-interval-s"):
        track_of(names, Clock(2.0), "row")
    with pytest.raises(DataError, match="image 2"):
        track_of(["a.mp4#t=1", "b.mp4#t=2"], Clock(1.0), "row")


@pytest.mark.parametrize("name", ["..", "../x", "/x"])
def test_an_id_does_not_lead_out_of_the_folder_of_frames(name) -> None:
    layout = replace(LAYOUT, frames=Path("d"))
    with pytest.raises(DataError, match="video_id"):
        frame_names(replace(ROW, video_id=name), 2, layout)


def test_pictures_are_written_once_and_go_on_where_they_stopped(tmp_path) -> None:
    video = tmp_path / "clip.mp4"
    shades = np.linspace(0, 240, 12).astype(np.uint8)[:, None, None, None]
    write_video(video, np.broadcast_to(shades, (12, 48, 64, 3)).copy(), 2.0)
    task = Task("r", (Question("What?"),), (), None)
    row = replace(ROW, task=task, video="clip.mp4", video_id="c")
    path = tmp_path / "rows.jsonl"
    write_proactive_rows(path, [row])
    layout = Layout(
        Clock(1.0), 2, 20.0, 90, frames=tmp_path / "f", write_frames=True, videos=tmp_path
    )
    run(path, tmp_path / "sft.jsonl", layout, to="sft")
    names = written_row(json.loads((tmp_path / "sft.jsonl").read_bytes()), "row").images
    assert len(names) == 6
    source = FileSource(video, 1.0)
    grid = [batch.pixels[0].mean() for batch in frames_of(source)]
    source.close()
    assert np.allclose([f.mean() for f in load_frames(names)], grid, atol=3)
    Path(names[3]).unlink()
    before = Path(names[0]).stat().st_mtime_ns
    run(path, tmp_path / "sft.jsonl", layout, to="sft")
    assert Path(names[3]).is_file()
    assert Path(names[0]).stat().st_mtime_ns == before
    (fault,) = _faults_only(path, tmp_path, replace(layout, clock=Clock(2.0)))
    assert "holds the frames of" in str(fault)


def _faults_only(path: Path, folder: Path, layout: Layout) -> list[DataError]:
    faults: list[DataError] = []
    source, target = to_read(None, path), to_write("sft", folder / "x")
    with pytest.raises(DataError, match="no row"):
        convert(path, folder / "x", source, target, layout, faults.append)
    return faults


def test_a_format_is_found_or_asked_for(rows, tmp_path) -> None:
    assert to_read(None, rows).name == "rows"
    with pytest.raises(ConfigError, match="--to: rows, parquet"):
        to_write(None, tmp_path / "x.txt")
    with pytest.raises(ConfigError, match="--from must be one of rows"):
        to_read("eval", rows)
    with pytest.raises(DataError, match="has a, b; name it with --from"):
        to_read(None, write_json(tmp_path / "x.jsonl", {"a": 1, "b": 2}))
    assert len({found.name for found in FORMATS}) == len(FORMATS)


@pytest.mark.parametrize("style", [LineStyle(a, c) for a in (False, True) for c in (False, True)])
def test_the_style_of_a_line_is_found(style) -> None:
    value = {"ä": [1, "–"], "b": None}
    assert LineStyle.of(style.text(value).encode() + b"\r\n", value) == style


def test_changed_leaves_rows_of_one_kind_alone() -> None:
    rows: Callable[[], Any] = lambda: iter([ROW])  # noqa: E731
    assert list(changed(rows(), Holds.DIALOGUES, Holds.DIALOGUES, LAYOUT)) == [ROW]


def test_two_rows_of_one_id_are_no_rl_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    other = replace(ROW, video="other.mp4")
    write_proactive_rows(path, [ROW, other])
    with pytest.raises(DataError, match="comes twice"):
        run(path, tmp_path / "rl.parquet", to="rl")
