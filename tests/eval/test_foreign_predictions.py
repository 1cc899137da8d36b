"""Predictions as VLMEvalKit and lmms-eval write them, good and bad."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from oncue.errors import ConfigError, DataError
from oncue.eval.streams.foreign import lmms_eval_predictions, vlmevalkit_predictions
from oncue.eval.streams.stream import Item, Prediction, Stream
from oncue.types import Question, TimedReply

ITEMS = [
    Item(Stream(f"v={n}.mp4%Q0", f"v={n}.mp4", (Question(f"What of {n}?"),)), None)
    for n in range(3)
]
ROUNDS = [
    {"video_span": [0, 3], "answerable": "no", "model_response": "Nothing yet."},
    {"video_span": [3, 6], "answerable": "Yes", "model_response": " A cat.\n"},
    {"video_span": [6, 7.5], "answerable": "yes", "model_response": "NO REPLY"},
]
FIRST = Prediction("v=0.mp4%Q0", (TimedReply(6.0, "A cat."),), 7.5, 3, 2)


def table(path: Path, *rows: dict[str, Any]) -> Path:
    """A file as pandas writes it."""
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
        return path
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path: Path) -> list[Prediction]:
    return [said for _, said in vlmevalkit_predictions(path, ITEMS)]


@pytest.mark.parametrize("name", ["m_ProactiveVideoQA.tsv", "m_ProactiveVideoQA.json"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_rounds_of_vlmevalkit(tmp_path: Path, name: str, wrapped: bool) -> None:
    """The reply is at the end of its span; what is not answerable, empty or NO REPLY is silent."""
    value = {"question_id": "v=0.mp4%Q0", "records": ROUNDS} if wrapped else ROUNDS
    row = {"index": 5, "question_id": "v=0.mp4%Q0", "prediction": json.dumps(value)}
    assert read(table(tmp_path / name, row)) == [FIRST]


def test_rows_without_an_id_are_joined_by_their_number(tmp_path: Path) -> None:
    rows = [
        {"index": number, "question": f"What of {number}?", "prediction": str(ROUNDS)}
        for number in (2, 0)
    ]
    assert [p.item_id for p in read(table(tmp_path / "p.tsv", *rows))] == [
        "v=2.mp4%Q0",
        "v=0.mp4%Q0",
    ]
    assert read(table(tmp_path / "p.tsv", *rows))[1] == FIRST  # as Python writes lists, too
    rows[1]["question"] = "What of 1?"
    with pytest.raises(DataError, match=r"p.tsv, row 2: it asks 'What of 1\?', but item 0"):
        read(table(tmp_path / "p.tsv", *rows))
    with pytest.raises(DataError, match=r"'index' is 3, but the annotations have 3 items"):
        read(table(tmp_path / "p.tsv", {"index": "3.0", "prediction": "[]"}))
    with pytest.raises(DataError, match="'index' must be a whole number"):
        read(table(tmp_path / "p.tsv", {"index": "first", "prediction": "[]"}))


def test_failures_of_vlmevalkit_have_no_prediction(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        {"index": n, "prediction": text}
        for n, text in enumerate(["Failed to obtain answer via API.", "", "[]"])
    ]
    assert read(table(tmp_path / "p.tsv", *rows)) == [Prediction("v=2.mp4%Q0")]
    assert "2 rows hold no answer and count as missing" in caplog.text


def test_a_cell_longer_than_csv_takes_by_default(tmp_path: Path) -> None:
    rounds = [{"time": k / 2, "text": "x" * 100} for k in range(2000)]
    path = table(tmp_path / "p.tsv", {"index": 0, "prediction": json.dumps(rounds)})
    assert len(read(path)[0].replies) == 2000


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("The cat sits.", "the answer is text without times, 'The cat sits.'"),
        ("5", "the answer is 5; expected JSON records"),
        ('[{"text": "x"}]', r"record 1 is {'text': 'x'}, without any of time, t, timestamp"),
        ('[{"time": 2}]', "without any of model_response, text, content, response"),
        ('[{"time": "2", "text": "x"}]', "'time' must be a number of seconds"),
        ('[{"time": 2, "text": 5}]', "what was said must be text, got 5"),
        ('[{"video_span": [5, 3], "model_response": "x"}]', "'video_span' ends before it starts"),
        (
            '[{"video_span": [-5, -3], "model_response": "x"}]',
            "'video_span' must not end before 0 s",
        ),
        ("[2, 3]", "record 1 is 2"),
        ('{"question_id": "other", "records": []}', "its answer is that to 'other'"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, value: str, message: str) -> None:
    path = table(tmp_path / "p.json", {"index": 0, "prediction": value})
    with pytest.raises(DataError, match=r"p\.json, row 1") as caught:
        read(path)
    assert message in str(caught.value)


def test_excel_files_are_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "p.xlsx").write_bytes(b"PK")
    with pytest.raises(ConfigError, match=r"neither .tsv nor .json; run VLMEvalKit with PRED_FORM"):
        read(tmp_path / "p.xlsx")
    with pytest.raises(DataError, match="cannot read"):
        read(tmp_path / "nowhere.tsv")
    (tmp_path / "p.tsv").write_bytes(b"index\tprediction\n0\t\xff\xfe\n")
    with pytest.raises(DataError, match="cannot read"):
        read(tmp_path / "p.tsv")


def test_samples_of_lmms_eval(tmp_path: Path) -> None:
    """Lines in any order, joined by number; a single answer comes as a list or bare."""
    replies = json.dumps([{"time": 4, "text": "A cat."}])
    rows = [
        {"doc_id": 1, "target": "", "input": "Watch. What of 1? Speak.", "filtered_resps": replies},
        {"doc_id": 0, "target": "", "filtered_resps": [json.dumps({"replies": []})]},
        {"doc_id": 2, "filtered_resps": [{"t": 3.5, "content": "A dog."}]},
    ]
    path = tmp_path / "x_samples_task.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [said for _, said in lmms_eval_predictions(path, ITEMS)] == [
        Prediction("v=1.mp4%Q0", (TimedReply(4.0, "A cat."),)),
        Prediction("v=0.mp4%Q0"),
        Prediction("v=2.mp4%Q0", (TimedReply(3.5, "A dog."),)),
    ]
    rows[0]["doc_id"] = 2
    path.write_text(json.dumps(rows[0]))
    with pytest.raises(DataError, match=r"line 1: it asks .* but item 2 of the annotations asks"):
        list(lmms_eval_predictions(path, ITEMS))
