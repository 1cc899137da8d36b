"""Gold files in the format of ProactiveVideoQA, good and bad."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from oncue.data.gold import load_gold
from oncue.errors import DataError
from oncue.types import Question, TimeSpan
from oncue.world.clip import make_clip
from oncue.world.make import annotation

ROW = {
    "video": "a=b.mp4",
    "question_id": "a=b.mp4%Q1",
    "duration": 27.5,
    "conversation": [
        {"role": "user", "content": "Where is she?", "time": 0},
        {"role": "user", "content": "Subtitle: No.", "time": 22.307},
    ],
    "answer": [
        {
            "role": "assistant",
            "content": "By the door.",
            "related_timespan": [0.0, 6.5],
            "reply_timespan": [0.0, 7.5],
        },
        {
            "role": "assistant",
            "content": "Outside.",
            "reply_timespan": [26.0, 27.5],
            "type": "step",
        },
    ],
    "frame": "ignored",
}


def write(tmp_path: Path, rows: object) -> Path:
    path = tmp_path / "anno.json"
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows), encoding="utf-8")
    return path


def test_a_row_becomes_a_task(tmp_path):
    (sample,) = load_gold(write(tmp_path, [ROW]))
    task = sample.task
    assert (sample.video, task.task_id, task.duration_s) == ("a=b.mp4", "a=b.mp4%Q1", 27.5)
    assert task.questions == (Question("Where is she?", 0.0), Question("Subtitle: No.", 22.307))
    first, second = task.gold
    assert (first.content, first.span, first.related_span) == (
        "By the door.",
        TimeSpan(0, 7.5),
        TimeSpan(0, 6.5),
    )
    assert (second.question, second.related_span, second.visible_s) == ("Where is she?", None, None)


def test_questions_are_in_order_of_time_and_an_empty_field_is_none(tmp_path):
    late, early = ROW["conversation"][::-1]
    answer = {**ROW["answer"][0], "related_timespan": None, "question": None, "visible_s": None}
    (sample,) = load_gold(
        write(tmp_path, [{**ROW, "conversation": [late, early], "answer": [answer]}])
    )
    assert [question.time_s for question in sample.task.questions] == [0.0, 22.307]
    (gold,) = sample.task.gold
    assert (gold.question, gold.related_span, gold.visible_s) == ("Where is she?", None, None)


def test_a_byte_order_mark_in_front_is_no_matter(tmp_path):
    path = write(tmp_path, [ROW])
    plain = load_gold(path)
    path.write_text(path.read_text(), "utf-8-sig")
    assert load_gold(path) == plain


def test_an_answer_may_name_its_question_and_when_its_event_is_visible(tmp_path):
    row = copy.deepcopy(ROW)
    row["answer"][1] |= {"question": "And now?", "visible_s": 26.5}
    second = load_gold(write(tmp_path, [row]))[0].task.gold[1]
    assert (second.question, second.visible_s) == ("And now?", 26.5)


def test_what_world_make_writes_reads_back_as_it_was(tmp_path):
    clips = [make_clip("shapes", "test", index) for index in range(40)]
    assert any(len(clip.task.questions) == 2 and clip.task.gold for clip in clips)
    path = write(tmp_path, [annotation(clip) for clip in clips])
    assert [sample.task for sample in load_gold(path)] == [clip.task for clip in clips]


def changed(path: str, value: object) -> dict:
    """ROW with the field at `path` ("answer.0.content") replaced, or removed where the value is
    Ellipsis."""
    row = copy.deepcopy(ROW)
    *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    target = row
    for parent in parents:
        target = target[parent]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return row


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("video", ..., "'video' is missing"),
        ("question_id", "", "'question_id' must be non-empty"),
        ("duration", ..., "'duration' is missing"),
        ("duration", "27", "number of seconds"),
        ("duration", 0, "more than 0"),
        ("duration", True, "number of seconds"),
        ("duration", float("nan"), "number of seconds"),
        ("conversation", [], "needs a question"),
        ("conversation", {}, "must be a list"),
        ("conversation.0.time", -1, "conversation 1: 'time'"),
        ("answer", ..., "'answer' is missing"),
        ("answer.1", "text", "answer 2: expected an object"),
        ("answer.1.content", ..., "answer 2: field 'content' is missing"),
        ("answer.0.reply_timespan", ..., "answer 1: field 'reply_timespan' is missing"),
        ("answer.0.reply_timespan", [7.5, 0.0], "ends before it starts"),
        ("answer.0.reply_timespan", [5.0, 5.0], "no width"),
        ("answer.0.reply_timespan", [5.0], r"\[start, end\]"),
        ("answer.0.reply_timespan", [5.0, None], r"\[start, end\]"),
        ("answer.1.reply_timespan", [26.0, 28.0], "outside the video of 27.5 s"),
        ("answer.0.reply_timespan", [-1.0, 5.0], "outside the video"),
        ("answer.0.related_timespan", [6.5, 0.0], "'related_timespan' ends before"),
    ],
)
def test_bad_rows_are_named(tmp_path, path, value, told):
    good = {**ROW, "question_id": "another"}
    with pytest.raises(DataError, match=f"row 2.*{told}"):
        load_gold(write(tmp_path, [good, changed(path, value)]))


@pytest.mark.parametrize(
    ("content", "told"),
    [("{", "not JSON"), ("{}", "list of rows, got dict"), ("[]", "non-empty list")],
)
def test_bad_files(tmp_path, content, told):
    with pytest.raises(DataError, match=told):
        load_gold(write(tmp_path, content))
    with pytest.raises(DataError, match="cannot read"):
        load_gold(tmp_path / "missing.json")


def test_a_question_id_twice(tmp_path):
    with pytest.raises(DataError, match=r"row 2: question_id .* row 1 too"):
        load_gold(write(tmp_path, [ROW, ROW]))


ANNOTATIONS = Path(__file__).parents[2].parent / "shared" / "data" / "annotations"


@pytest.mark.parametrize(
    ("name", "num_samples", "num_turns"),
    [
        ("real_clips_gold.json", 5, 25),
        ("ProactiveVideoQA/WEB_anno.json", 2, 4),
        ("ProactiveVideoQA/TV_anno.json", 2, 2),
    ],
)
def test_real_files(name, num_samples, num_turns):
    path = ANNOTATIONS / name
    if not path.exists():
        pytest.skip(f"{name} is not on this machine")
    samples = load_gold(path)
    assert (len(samples), sum(len(s.task.gold) for s in samples)) == (num_samples, num_turns)
