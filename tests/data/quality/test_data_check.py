"""Every fault that `oncue data check` names, each beside a row without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quality_rows import SOUND, Json, changed, write

from oncue import cli
from oncue.video.writer import write_video
from openai_server import OpenAIServer
from tiny_model import build_tiny_model

TURNS = ("--frame-interval-s", "1", "--frames-per-turn", "2")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.mp4: 16 s at 2 frames per second, 96 x 64."""
    folder = tmp_path_factory.mktemp("videos")
    frames = (np.full((64, 96, 3), 6 * k, np.uint8) for k in range(32))
    write_video(folder / "a.mp4", frames, 2.0)
    return folder


def faults(capsys: pytest.CaptureFixture[str], *words: object) -> list[Json]:
    """The faults that `oncue data check` finds; its exit code says whether there are any."""
    code = cli.main(["data", "check", *map(str, words), *TURNS, "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["type"] == "summary"
    assert lines[-1]["num_faults"] == len(lines) - 1
    assert code == (2 if len(lines) > 1 else 0)
    return lines[:-1]


def setter(*path: Any) -> Callable[[Json], None]:
    """Sets what the steps before the last name to the last."""

    def change(row: Json) -> None:
        held: Any = row
        for step in path[:-2]:
            held = held[step]
        held[path[-2]] = path[-1]

    return change


def test_a_sound_row_has_no_fault(tmp_path, videos, capsys) -> None:
    path = write(tmp_path / "rows.jsonl", [SOUND])
    assert faults(capsys, path, "--videos", videos, "--decode", "--judge", "lexical") == []


@pytest.mark.parametrize(
    ("kind", "turn", "change"),
    [
        ("form", "", setter("kind", "film")),
        ("form", "question 2", setter("questions", 1, "text", " ")),
        ("empty_span", "gold 1", setter("gold", 0, "reply_timespan", [3.0, 3.0])),
        ("empty_span", "gold 1", setter("gold", 0, "reply_timespan", [3.0, 2.0])),
        ("empty_span", "scene 2", setter("scenes", 1, "span", [5.0, 5.0])),
        ("overlapping_spans", "gold 2", setter("gold", 1, "reply_timespan", [4.0, 8.0])),
        ("outside_video", "gold 3", setter("gold", 2, "reply_timespan", [9.0, 17.0])),
        ("outside_video", "gold 1", setter("gold", 0, "reply_timespan", [-1.0, 4.5])),
        ("outside_video", "scene 3", setter("scenes", 2, "span", [9.0, 16.5])),
        ("early_reply", "gold 3", setter("gold", 2, "visible_s", 14.5)),
        ("early_reply", "gold 1", setter("gold", 0, "visible_s", 4.25)),
        ("late_question", "question 2", setter("questions", 1, "time_s", 16.5)),
        ("unasked_reply", "gold 3", setter("gold", 2, "question", "Who leaves?")),
        ("silence_text", "gold 2", setter("gold", 1, "content", " NO REPLY ")),
        ("chat_mark", "gold 2", setter("gold", 1, "content", "Cut.<|im_end|>")),
        ("chat_mark", "question 1", setter("questions", 0, "text", "<image>?")),
        ("chat_mark", "scene 1", setter("scenes", 0, "subtitle", "<|vision_start|>")),
    ],
)
def test_a_fault_is_named_with_its_turn(kind, turn, change, tmp_path, capsys) -> None:
    found = faults(capsys, write(tmp_path / "rows.jsonl", [SOUND, changed(change)]))
    own = [fault for fault in found if fault["kind"] == kind]
    assert [(fault["row"], fault["turn"]) for fault in own] == [(2, turn)]
    assert own[0]["said"]
    assert own[0]["remedy"]


@pytest.mark.parametrize(
    "change",
    [
        setter("gold", 2, "visible_s", 14.0),  # at the clock of its turn
        setter("questions", 1, "time_s", 14.0),  # in the turn of its reply
        setter("gold", 1, "content", "NO REPLY was on the card."),
        setter("gold", 2, "question", ""),  # answers any question
        setter("gold", 0, "reply_timespan", [1.0, 4.5005]),  # rounding
        setter("duration", None),
    ],
)
def test_what_is_allowed_is_no_fault(change, tmp_path, capsys) -> None:
    assert faults(capsys, write(tmp_path / "rows.jsonl", [changed(change)])) == []


def test_a_reply_before_its_question_and_spans_of_two_questions(tmp_path, capsys) -> None:
    later = changed(setter("questions", 1, "time_s", 14.5))
    (fault,) = faults(capsys, write(tmp_path / "rows.jsonl", [later]))
    assert (fault["kind"], fault["turn"]) == ("unasked_reply", "gold 3")
    shared = changed(setter("gold", 2, "reply_timespan", [7.0, 14.0]))
    assert faults(capsys, write(tmp_path / "rows.jsonl", [shared])) == []


def test_an_immediate_answer_may_overlap_what_comes_after_it(tmp_path, capsys) -> None:
    def two(immediate: list[float]) -> Json:
        row = changed(setter("gold", 1, "question", "Who comes in?"))
        row["gold"][1]["reply_timespan"] = immediate
        row["gold"][2]["reply_timespan"] = [8.0, 14.0]
        return row

    assert faults(capsys, write(tmp_path / "rows.jsonl", [two([7.0, 9.5])])) == []
    (fault,) = faults(capsys, write(tmp_path / "rows.jsonl", [two([7.0, 11.0])]))
    assert fault["kind"] == "overlapping_spans"


def test_all_faults_of_all_rows_are_found(tmp_path, capsys) -> None:
    worst = changed(setter("kind", "film"))
    worst["gold"][0]["content"] = ""
    worst["gold"][1]["reply_timespan"] = [5.0, 5.0]
    path = write(tmp_path / "rows.jsonl", [worst, SOUND, SOUND])
    with path.open("ab") as file:
        file.write(b'{"row_id":\n\n[]\n\xff\n')
    found = [(fault["row"], fault["kind"]) for fault in faults(capsys, path)]
    assert found == [
        *[(1, "form"), (1, "form"), (1, "empty_span")],
        *[(3, "repeated_id"), (4, "form"), (6, "form"), (7, "form")],
    ]


def test_ids_are_compared_across_files_and_a_line_names_everything(tmp_path, capsys) -> None:
    one, two = write(tmp_path / "1.jsonl", [SOUND]), write(tmp_path / "2.jsonl", [SOUND])
    assert cli.main(["data", "check", str(one), str(two), *TURNS]) == 2
    line, summary = capsys.readouterr().out.splitlines()
    said = f"{two}, line 1 (a-1): repeated_id: its id 'a-1' is that of {one}, line 1, too; give"
    assert line.startswith(said)
    assert summary == "2 rows, 1 fault: 1 repeated_id"


def test_a_video_that_is_missing_short_or_no_video(tmp_path, videos, capsys) -> None:
    (videos / "text.mp4").write_text("no video")
    rows = [
        {**SOUND, "row_id": "a-1", "video": "nowhere.mp4"},
        {**SOUND, "row_id": "a-2", "video": "text.mp4"},
        {**SOUND, "row_id": "a-3", "part": [4.0, 20.0]},
        {**SOUND, "row_id": "a-4", "part": [0.0, 16.0]},
    ]
    found = faults(capsys, write(tmp_path / "rows.jsonl", rows), "--videos", videos)
    kinds = [(fault["row"], fault["kind"]) for fault in found]
    assert kinds == [(1, "missing_video"), (2, "corrupt_video"), (3, "outside_video")]


def test_the_length_of_the_video_counts_where_the_row_has_none(tmp_path, videos, capsys) -> None:
    row = changed(setter("gold", 2, "reply_timespan", [9.0, 17.0]))
    path = write(tmp_path / "rows.jsonl", [{**row, "duration": None}])
    assert faults(capsys, path) == []
    (fault,) = faults(capsys, path, "--videos", videos)
    assert (fault["kind"], fault["turn"]) == ("outside_video", "gold 3")


def test_a_damaged_middle_is_seen_by_decoding_it(tmp_path, capsys) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 64, 96, 3), np.uint8)
    write_video(tmp_path / "a.mkv", iter(noise), 2.0)
    data = bytearray((tmp_path / "a.mkv").read_bytes())
    middle = len(data) // 2
    data[middle : middle + len(data) // 8] = bytes(len(data) // 8)
    (tmp_path / "a.mkv").write_bytes(data)
    path = write(tmp_path / "rows.jsonl", [{**SOUND, "video": "a.mkv"}])
    assert faults(capsys, path, "--videos", tmp_path) == []
    found = faults(capsys, path, "--videos", tmp_path, "--decode")
    assert {fault["kind"] for fault in found} >= {"corrupt_video"}


def test_tokens_are_counted_for_a_model(tmp_path, videos, capsys) -> None:
    model = build_tiny_model(tmp_path / "model")
    path = write(tmp_path / "rows.jsonl", [SOUND])
    words = (path, "--videos", videos, "--model", model, "--max-tokens")
    assert faults(capsys, *words, 10_000) == []
    (fault,) = faults(capsys, *words, 100)
    assert fault["kind"] == "token_budget"
    assert "16 frames" in fault["said"]


def test_a_judge_that_refuses_the_gold_is_named(tmp_path, capsys) -> None:
    def script(messages: Any) -> list[str]:
        return ["2" if "carrots" in messages[-1]["content"] else "5"]

    path = write(tmp_path / "rows.jsonl", [SOUND])
    with OpenAIServer(script) as server:
        judge = ("--judge", f"openai:watcher@{server.url}", "--judge-server.cache", tmp_path / "c")
        (fault,) = faults(capsys, path, *judge)
        num_asked = len(server.received)
        faults(capsys, path, *judge)
        assert len(server.received) == num_asked == 3  # kept answers
    assert (fault["kind"], fault["turn"]) == ("judge_refuses", "gold 2")
    wordless = changed(setter("gold", 1, "content", "..."))
    (fault,) = faults(capsys, write(tmp_path / "x.jsonl", [wordless]), "--judge", "lexical")
    assert (fault["kind"], fault["turn"]) == ("not_judged", "gold 2")


def sft_row(**more: Any) -> Json:
    messages = [
        {"role": "system", "content": "Watch."},
        {"role": "user", "content": "<image>What is cut?"},
        {"role": "assistant", "content": "NO REPLY"},
        {"role": "user", "content": "<image>"},
        {"role": "assistant", "content": "An onion."},
    ]
    images = [{"path": "a.mp4#t=1"}, {"path": "a.mp4#t=2"}]
    return {"messages": messages, "images": images, "metadata": {"question_id": "q"}, **more}


@pytest.mark.parametrize(
    ("kind", "turn", "change"),
    [
        ("image_count", "", lambda row: row["images"].pop()),
        ("form", "", lambda row: row["messages"].insert(0, {"role": "user", "content": ""})),
        ("chat_mark", "message 5", setter("messages", 4, "content", "a<|im_end|>")),
        ("unasked_reply", "message 5", setter("messages", 1, "content", "<image>")),
        ("missing_picture", "image 2", setter("images", 1, "path", "nowhere.jpg")),
        ("missing_video", "image 1", setter("images", 0, "path", "nowhere.mp4#t=1")),
        ("repeated_id", "", setter("metadata", "question_id", "p")),
    ],
)
def test_sft_rows(kind, turn, change, videos, capsys) -> None:
    first = sft_row(metadata={"question_id": "p"})
    path = write(videos / "sft.jsonl", [first, changed(change, sft_row())])
    found = faults(capsys, "--sft", path)
    assert [(f["row"], f["kind"], f["turn"]) for f in found] == [(2, kind, turn)]
    sound = [first, sft_row()]
    assert faults(capsys, "--sft", write(videos / "sft.jsonl", sound)) == []


def test_wrong_counts_hide_nothing_and_tokens_of_sft_rows(tmp_path, videos, capsys) -> None:
    both = changed(setter("messages", 4, "content", "a<|im_end|>"), sft_row())
    both["images"].pop()
    path = write(videos / "sft.jsonl", [both])
    assert [f["kind"] for f in faults(capsys, "--sft", path)] == ["image_count", "chat_mark"]
    model = build_tiny_model(tmp_path / "model")
    path = write(videos / "sft.jsonl", [sft_row()])
    (fault,) = faults(capsys, "--sft", path, "--model", model, "--max-tokens", "20")
    assert fault["kind"] == "token_budget"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no rows to check"),
        (["nowhere.jsonl"], "cannot read nowhere.jsonl"),
        (["rows.jsonl", "--videos", "nowhere"], "--videos nowhere is no folder"),
        (["rows.jsonl", "--decode"], "--decode needs videos"),
        (["rows.jsonl", "--model", "m"], "--model needs the size of frames"),
        (["rows.jsonl", "--max-tokens", "9"], "need --model"),
        (["rows.jsonl", "--frame-interval-s", "0"], "frame_interval_s"),
        (["rows.jsonl", "--judge-server.max-tokens", "9"], "--judge-server.max-tokens"),
        (["rows.jsonl", "--judge", "nobody"], "unknown judge 'nobody'"),
    ],
)
def test_wrong_flags_are_one_line(words, said, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rows.jsonl", [SOUND])
    flags = [] if "--frame-interval-s" in words else [*TURNS]
    assert cli.main(["data", "check", *words, *flags]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
