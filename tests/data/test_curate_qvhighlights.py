"""QVHighlights becomes rows: what is kept, what a model is asked, what its answers become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from question_model import model

from oncue import cli
from oncue.data.curate.question_prompt import Outcome, Rejected, WrittenQuestion
from oncue.data.curate.qvhighlights import Query, read_queries, rows_of
from oncue.data.curate.sieve import Dropped, Sieve, sift
from oncue.data.retrieval_rows import RetrievalRow, read_rows
from oncue.errors import DataError
from oncue.types import TimeSpan
from openai_server import OpenAIServer, Status

REAL = Path(__file__).parents[3] / "shared" / "data" / "annotations" / "QVHighlights"
ROW: dict[str, Any] = {
    "qid": 5,
    "query": "A girl cooks rice.",
    "duration": 150,
    "vid": "abc_60.0_210.0",
    "relevant_windows": [[0, 30], [100, 144]],
    "relevant_clip_ids": [0],
    "saliency_scores": [[1, 1, 2]],
}


def annotations(folder: Path, *rows: Any) -> Path:
    path = folder / "highlight_val.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(number: int, **changes: Any) -> dict[str, Any]:
    return ROW | {"qid": number, "query": f"Sentence {number}."} | changes


def query(number: int, sentence: str | None = None) -> Query:
    sentence = f"Sentence {number}." if sentence is None else sentence
    return Query(str(number), sentence, "v.mp4", 150.0, (TimeSpan(0.0, 30.0),))


def test_queries_and_what_is_kept(tmp_path: Path) -> None:
    half = row(6, relevant_windows=[[0, 75]])
    rows = read_queries([annotations(tmp_path, ROW, half, row(7, duration=29))])
    queries = [one for one in rows if isinstance(one, Query)]
    assert queries[0] == Query(
        "qvhighlights_5",
        "A girl cooks rice.",
        "abc_60.0_210.0.mp4",
        150.0,
        (TimeSpan(0.0, 30.0), TimeSpan(100.0, 144.0)),
    )
    kept, counts = sift(queries, Sieve())
    assert kept == queries[:1]
    assert (counts.num_videos, counts.num_questions, counts.num_segments) == (1, 3, 5)
    assert counts.dropped == {Dropped.OUTSIDE: 1, Dropped.TOO_COVERED: 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"relevant_windows": None}, "'relevant_windows' must be a list"),
        ({"relevant_windows": [[3, 2]]}, "ends before it starts"),
        ({"duration": 0}, "seconds, more than 0"),
        ({"query": ""}, "'query' must be non-empty"),
    ],
)
def test_a_query_that_cannot_be_used(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    _, fault = read_queries([annotations(tmp_path, ROW, ROW | change)])
    assert "highlight_val.jsonl, line 2: " in str(fault)
    assert said in str(fault)


def test_a_file_without_windows_or_queries(tmp_path: Path) -> None:
    test_split = {key: value for key, value in ROW.items() if key != "relevant_windows"}
    (fault,) = read_queries([annotations(tmp_path, test_split)])
    assert "field 'relevant_windows' is missing" in str(fault)
    with pytest.raises(DataError, match="no query"):
        read_queries([annotations(tmp_path)])


def test_rows_are_in_the_order_of_the_queries() -> None:
    queries = [query(1), query(2), query(3, "Sentence 1."), query(4)]
    question = WrittenQuestion("What?", ("a", "b", "c", "d"), 3)
    outcomes: dict[str, Outcome] = {
        "Sentence 1.": question,
        "Sentence 2.": Rejected("unsuitable", "it is"),
        "Sentence 4.": question,
    }
    rows = rows_of(queries, outcomes, seed=3)
    assert [one.row_id for one in rows] == ["1", "3", "4"]
    assert all(one.options["ABCD".index(one.answer)][3:] == "d" for one in rows)
    row = Sieve(pool=10).finished(rows[0], "qvh")
    assert (row.frames, row.num_frames, row.video) == (frozenset({0, 1}), 10, "qvh/v.mp4")
    assert row.source == "QVHighlights"


def curate(*words: object) -> int:
    return cli.main(["data", "curate", "qvhighlights", *map(str, words)])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row(number) for number in range(8)]
    rows += [row(8, query="A short one."), row(9, query="Very odd: a very odd one.")]
    path = annotations(tmp_path, *rows, row(10, relevant_windows=[[0, 75]]))
    out, cache = tmp_path / "rows.jsonl", tmp_path / "answers.sqlite3"
    with OpenAIServer(model) as server:
        words = [path, "--writer", f"openai:watcher@{server.url}", "--cache", cache]
        assert curate(*words, "--dry-run", "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["num_kept"], told["num_to_ask"], told["num_kept_answers"]) == (10, 10, 0)
        assert not server.bodies
        assert not cache.exists()
        assert curate(*words, "--out", out, "--json") == 0
        captured = capsys.readouterr()
        summary = json.loads(captured.out)
        assert summary["rejected"] == {"malformed": 1, "unsuitable": 1}
        assert summary["right_letters"] == {"A": 2, "B": 2, "C": 2, "D": 2}
        assert (summary["num_rows"], summary["dropped"]) == (8, {"too_much_covered": 1})
        assert "watcher: 11 questions, 0 with a kept answer" in captured.err
        num_asked = len(server.bodies)
        assert curate(*words, "--dry-run") == 0
        assert "0 sentences to ask about" in capsys.readouterr().out
        made = out.read_bytes()
        assert curate(*words, "--out", out) == 0
        assert "its sentence gave no question (unsuitable)" in capsys.readouterr().out
        assert (len(server.bodies), out.read_bytes()) == (num_asked, made)
        assert curate(*words, "--out", out, "--limit", 3, "--seed", 1) == 0
        assert len(read_rows(out)) == 3
    rejected = [json.loads(line) for line in (tmp_path / "rows.rejected.jsonl").open()]
    assert rejected == []  # of the first three


def test_rejected_sentences_are_kept_with_their_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = annotations(tmp_path, ROW, row(8, query="A short one."))
    out = tmp_path / "rows.json"
    with OpenAIServer(model) as server:
        words = ["--writer", f"openai:watcher@{server.url}", "--cache", tmp_path / "c.sqlite3"]
        assert curate(path, *words, "--out", out) == 0
    (rejected,) = [json.loads(line) for line in (tmp_path / "rows.rejected.jsonl").open()]
    assert rejected["problem_id"] == "qvhighlights_8"
    assert (rejected["query"], rejected["kind"]) == ("A short one.", "unsuitable")
    assert "is not suitable" in rejected["reason"]
    (one,) = read_rows(out)
    assert isinstance(one, RetrievalRow)
    assert (one.row_id, one.video, one.num_frames) == ("qvhighlights_5", "abc_60.0_210.0.mp4", 128)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "rows.jsonl"], "--writer is missing"),
        (["--writer", "m@http://x", "--out", "rows.jsonl"], "--writer must be openai:MODEL@URL"),
        (["--writer", "openai:m@http://x"], "--out is missing"),
        (["--dry-run", "--limit", "0"], "--limit must be at least 1"),
        (["--dry-run", "--min-duration-s", "200"], "no question is kept"),
        (["--writer", "openai:m@http://x", "--dry-run", "--request-fields", "["], "is not JSON"),
    ],
)
def test_what_a_user_can_correct(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert curate(annotations(tmp_path, ROW), *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_model_that_rejects_all_is_an_error_with_the_reasons_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, cache = tmp_path / "rows.jsonl", tmp_path / "c.sqlite3"
    path = annotations(tmp_path, ROW | {"query": "A short one."})
    with OpenAIServer(model) as server:
        words = [path, "--writer", f"openai:watcher@{server.url}", "--cache", cache]
        assert curate(*words, "--out", out) == 2
        assert "no sentence became a question" in capsys.readouterr().err.splitlines()[-1]
        assert curate(*words, "--out", cache) == 2
        assert "is a file that is read" in capsys.readouterr().err
    assert not out.exists()
    assert len((tmp_path / "rows.rejected.jsonl").read_text().splitlines()) == 1


def test_a_server_that_is_down_is_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.jsonl"
    with OpenAIServer(model, refuse=lambda _: Status(401)) as server:
        words = ["--writer", f"openai:watcher@{server.url}", "--cache", tmp_path / "c.sqlite3"]
        assert curate(annotations(tmp_path, ROW), *words, "--out", out) == 1
    assert "OPENAI_API_KEY" in capsys.readouterr().err.splitlines()[-1]
    assert not out.exists()


def test_the_counts_of_the_real_split() -> None:
    path = REAL / "highlight_val_release.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is not here; it is local test data, not part of the repository")
    queries = [one for one in read_queries([path]) if isinstance(one, Query)]
    kept, counts = sift(queries, Sieve())
    assert (counts.num_questions, len(kept)) == (1550, 1362)
