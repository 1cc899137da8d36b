"""ESTP-Bench by timing: the spans, both precisions, the rows of its files."""

from __future__ import annotations

import json

import pytest
from interaction_support import blind_figures, figures_of, row_of, said_to, write

from oncue import cli
from oncue.errors import ConfigError, DataError
from oncue.eval.benchmarks.estp import Estp
from oncue.types import TimeSpan


def answer(start_s, end_s, text="it is there"):
    return {"role": "assistant", "content": text, "start_time": start_s, "end_time": end_s}


def clip_row(*spans, **fields):
    return {
        "clip_start_time": 0,
        "clip_end_time": 60,
        "Task Type": "Object Recognition ",
        "question": "Where is the cup?",
        "conversation": [answer(*span) for span in spans],
        **fields,
    }


def items_of(tmp_path, *rows, clip="c1"):
    return Estp().items((write(tmp_path / "estp.json", {"v1": {clip: list(rows)}}),))


@pytest.mark.parametrize(
    ("spans", "times_s", "counts", "f1"),
    [
        ([(10.2, 12.1), (20, 21)], [11], (1, 0, 1), 66.67),
        ([(10.2, 12.1)], [9.5], (1, 0, 0), 100.0),  # both ends are rounded up to frames
        ([(10.2, 12.1)], [9.4], (0, 1, 1), 0.0),
        ([(10.2, 12.1)], [14.5], (1, 0, 0), 100.0),
        ([(10.2, 12.1)], [14.6], (0, 1, 1), 0.0),
        ([(10, 12), (20, 21)], [10, 10.5, 11, 12, 30], (1, 1, 1), 50.0),
        ([(10, 12), (13, 15)], [12.5], (2, 0, 0), 100.0),  # one reply hits two spans
        ([(10, 12)], [], (0, 0, 1), 0.0),
    ],
)
def test_the_known_cases(tmp_path, spans, times_s, counts, f1):
    (item,) = items_of(tmp_path, clip_row(*spans))
    overall = figures_of(Estp(), item, *((t, "x") for t in times_s))["overall"]
    assert (overall["num_hit"], overall["num_false"], overall["num_missed"]) == counts
    assert overall["f1"] == f1


def test_precision_over_all_replies(tmp_path):
    (item,) = items_of(tmp_path, clip_row((10, 12), (20, 21)))
    replies = [(t, "x") for t in (10, 10.5, 11, 12, 30)]
    assert figures_of(Estp("replies"), item, *replies)["overall"]["f1"] == 28.57
    (item,) = items_of(tmp_path, clip_row((10, 12), (13, 15)))
    overall = figures_of(Estp("replies"), item, (12.5, "x"))["overall"]
    assert overall["pooled_precision"] == 200.0  # it can exceed 1: a known defect


def test_f1_is_the_mean_over_questions_not_pooled(tmp_path):
    items = items_of(tmp_path, clip_row((10, 12)), clip_row((10, 12), (20, 21), (30, 31)))
    row = row_of(Estp(), items, [said_to("v1/c1/0", (11, "x"))])
    assert row.figures["overall"]["f1"] == 50.0
    assert row.figures["overall"]["pooled_f1"] == 40.0
    assert row.figures["subsets"]["Object Recognition"]["n"] == 2
    assert row.num_missing == 1


def test_a_span_does_not_pass_the_end_of_its_clip(tmp_path):
    (item,) = items_of(tmp_path, clip_row((8.2, 12), clip_end_time=9.3))
    assert item.gold == (TimeSpan(8.5, 9.3),)


def test_rows_of_goal_steps(tmp_path):
    row = {
        "start_time": 2.0,
        "end_time": 40.0,
        "conversation": [
            {"role": "User", "content": "Guide me.", "time": 3.0},
            answer(10, 12),
        ],
    }
    (item,) = items_of(tmp_path, row, clip="goalstep")
    stream = item.stream
    assert (stream.item_id, stream.start_s, stream.end_s) == ("v1/goalstep/0", 2.0, 40.0)
    assert [(q.text, q.time_s) for q in stream.questions] == [("Guide me.", 3.0)]
    assert stream.subset == "Task Understanding"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (clip_row((12, 10)), "'v1/c1', row 1, turn 1: it ends at 10 s"),
        ({"conversation": []}, "field 'start_time' is missing"),
        (clip_row(**{"Task Type": 3}), "row 1: 'Task Type' must be text, got 3"),
        (clip_row(clip_start_time=70), "ends at 60 s, before its start"),
    ],
)
def test_bad_rows_are_named(tmp_path, row, complaint):
    with pytest.raises(DataError, match=complaint):
        items_of(tmp_path, row)


def test_bad_files_are_named(tmp_path):
    with pytest.raises(DataError, match="'v': expected an object with named fields, got"):
        Estp().items((write(tmp_path / "a.json", {"v": []}),))
    with pytest.raises(DataError, match="expected annotations of ESTP-Bench"):
        Estp().items((write(tmp_path / "a.json", []),))
    with pytest.raises(ConfigError, match="no official output format"):
        Estp().official(tmp_path / "a.json")


def test_policies_without_frames(tmp_path):
    blind = blind_figures(Estp(), items_of(tmp_path, clip_row((10, 12), (30, 31))))
    assert blind["silence"]["overall"]["f1"] == 0.0
    assert blind["every 1 s"]["overall"]["pooled_recall"] == 100.0
    # 60 replies, 6 and 5 of them in the two windows (9 to 14, 29 to 33)
    assert blind["every 1 s"]["overall"]["num_false"] == 60 - 6 - 5


def test_the_command(tmp_path, capsys):
    rows = write(tmp_path / "estp.json", {"v1": {"c1": [clip_row((10, 12), (20, 21))]}})
    said = tmp_path / "said.jsonl"
    replies = [{"time": t, "text": "x"} for t in (10, 10.5, 11, 12, 30)]
    said.write_text(json.dumps({"question_id": "v1/c1/0", "replies": replies}) + "\n")
    words = ["eval", "estp", "--annotations", str(rows), "--predictions", str(said), "--json"]
    assert cli.main([*words, "--precision", "replies"]) == 0
    out = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (out["overall"]["f1"], out["options"]) == (28.57, {"precision": "replies"})
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["overall"]["f1"] == 50.0
