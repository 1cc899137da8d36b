"""StreamPro-Bench by the text of its paper: windows, timing, best score of each answer."""

from __future__ import annotations

import json

import pytest
from interaction_support import KnownGrades, blind_figures, figures_of, row_of, said_to, write

from oncue import cli
from oncue.errors import ConfigError, DataError
from oncue.eval.benchmarks.streampro import StreamPro, overlap_of, timeliness
from oncue.eval.benchmarks.streampro_items import TIMINGS
from oncue.types import TimeSpan

FREE = StreamPro("none")


def row(task, *times, item_id="a", **fields):
    answers = [{"time": t, "content": "it"} for t in times]
    return {"id": item_id, "video": "v", "task": task, "question": "Say it.", "answers": answers,
            **fields}  # fmt: skip


def items_of(tmp_path, *rows):
    return FREE.items((write(tmp_path / "rows.json", list(rows)),))


@pytest.mark.parametrize(
    ("task", "times", "replies", "precision", "recall", "f1"),
    [
        ("object", [10, 20], [(11, 1.0), (20, 0.5), (40, 1.0)], 41.67, 62.5, 50.0),
        ("event", [[10, 15]], [(12, 0.8), (17, 1.0)], 40.0, 80.0, 53.33),
        ("planning", [10], [(10.5, 1.0)], 0.0, 0.0, 0.0),
        ("risk", [10], [(9.5, 1.0), (12, 1.0)], 37.5, 75.0, 50.0),
    ],
)
def test_the_known_cases(tmp_path, task, times, replies, precision, recall, f1):
    (item,) = items_of(tmp_path, row(task, *times))
    grades = {f"at {t}": round(10 * accuracy) for t, accuracy in replies}
    said = [(t, f"at {t}") for t, _ in replies]
    found = figures_of(StreamPro(), item, *said, grader=KnownGrades(grades))["overall"]
    assert (found["pooled_precision"], found["pooled_recall"]) == (precision, recall)
    assert found["f1"] == found["pooled_f1"] == f1


@pytest.mark.parametrize(
    ("task", "inside", "outside"),
    [
        ("event", [(10, 1), (15, 1), (18, 0.25)], [9.99, 18.01]),
        ("temporal", [(10, 1), (18, 0.25)], [9.99, 18.01]),
        ("object", [(7, 0.25), (18, 0.25)], [6.99, 18.01]),
        ("anomaly", [(10, 1), (20, 1 / 6)], [9.99, 20.01]),
        ("planning", [(7, 0.25), (15, 1)], [6.99, 15.01]),
        ("risk", [(9, 0.5), (18, 0.25)], [8.99, 18.01]),
    ],
)
def test_windows_and_timing(tmp_path, task, inside, outside):
    (item,) = items_of(tmp_path, row(task, [10, 15]))
    for time_s, worth in inside:
        assert figures_of(FREE, item, (time_s, "x"))["overall"]["f1"] == pytest.approx(
            100 * worth, abs=0.01
        )
        assert timeliness(time_s, TimeSpan(10, 15), TIMINGS[task]) == pytest.approx(worth)
    for time_s in outside:
        assert figures_of(FREE, item, (time_s, "x"))["overall"]["f1"] == 0.0


def test_a_reply_takes_the_first_window_that_holds_it(tmp_path):
    (item,) = items_of(tmp_path, row("object", 14, 10))
    found = figures_of(FREE, item, (13, "x"))["overall"]
    assert found["pooled_recall"] == 12.5  # 0.25 of the answer at 10, nothing of that at 14


def test_a_stretch_is_named_in_seconds(tmp_path):
    asked = row("grounding")
    asked["answers"] = [{"span": [10, 20]}]
    (item,) = items_of(tmp_path, asked)
    grader = KnownGrades()
    found = figures_of(StreamPro(), item, (21, "from 12 s to 24.0 s"), grader=grader)["overall"]
    assert found["f1"] == pytest.approx(100 * 0.75 * 8 / 14, abs=0.01)
    assert not grader.asked
    assert overlap_of(TimeSpan(10, 20), "it is over") == 0.0


def test_unscored_replies_earn_nothing_and_are_counted(tmp_path):
    (item,) = items_of(tmp_path, row("object", 10))
    found = figures_of(StreamPro(), item, (10, "lost"), grader=KnownGrades({}))["overall"]
    assert (found["f1"], found["num_unscored"]) == (0.0, 1)


def test_mean_over_questions_and_pooled(tmp_path):
    items = items_of(tmp_path, row("object", 10), row("risk", 10, 20, 30, item_id="b"))
    found = row_of(FREE, items, [said_to("a", (10, "x"))]).figures
    assert (found["overall"]["f1"], found["overall"]["pooled_f1"]) == (50.0, 40.0)
    assert found["subsets"]["risk"]["f1"] == 0.0
    assert "no code was released" in FREE.card.title


def test_policies_without_frames(tmp_path):
    items = items_of(tmp_path, row("object", 10, duration=60))
    blind = blind_figures(FREE, items)
    assert blind["silence"]["overall"]["f1"] == 0.0
    assert blind["every 1 s"]["overall"]["pooled_recall"] == 100.0
    assert blind["every 1 s"]["overall"]["num_replies"] == 60


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (row("humour", 3), "row 1: unknown task 'humour'; expected one of event"),
        (row("object", "ten"), "answer 1: 'time' must be a number of seconds"),
        (row("grounding", 3), "answer 1: field 'span' is missing"),
    ],
)
def test_bad_rows_are_named(tmp_path, asked, complaint):
    with pytest.raises(DataError, match=complaint):
        items_of(tmp_path, asked)


def test_there_is_no_official_format(tmp_path):
    with pytest.raises(ConfigError, match="no official output format"):
        FREE.official(tmp_path)


def test_the_command(tmp_path, capsys):
    rows = write(tmp_path / "rows.json", [row("object", 10)])
    said = tmp_path / "said.jsonl"
    replies = [{"time": 11, "text": "x"}]
    said.write_text(json.dumps({"question_id": "a", "replies": replies}) + "\n")
    words = ["eval", "streampro", "--annotations", str(rows), "--predictions", str(said)]
    assert cli.main([*words, "--grading", "none", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["overall"]["f1"] == 75.0
    assert "no code was released" in captured.err


def test_figures_of_nothing():
    assert StreamPro().remarks(StreamPro().figures({})) == []
