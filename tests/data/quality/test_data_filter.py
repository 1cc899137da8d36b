"""Rows that filters leave out, and those they keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from quality_rows import SOUND, Json, changed, numbered, write

from oncue import cli
from oncue.data.proactive_rows import read_proactive_row
from oncue.data.quality.leaks import Support, support_of
from openai_server import OpenAIServer

TURNS = ("--frame-interval-s", "1", "--frames-per-turn", "2")


def with_gold(number: int, **more: Any) -> Json:
    return changed(lambda row: row["gold"][number].update(more))


def kept(
    folder: Path, capsys: pytest.CaptureFixture[str], rows: list[Json], *flags: object
) -> tuple[list[str], list[tuple[str, str]]]:
    """The ids that are kept, and (id, filter) of those that are not."""
    path, out = write(folder / "rows.jsonl", numbered(*rows)), folder / "kept.jsonl"
    words = ["data", "filter", str(path), "--out", str(out), *map(str, flags), *TURNS, "--json"]
    assert cli.main(words) == 0
    summary = json.loads(capsys.readouterr().out)
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    left = [json.loads(line) for line in (folder / "kept.dropped.jsonl").open(encoding="utf-8")]
    assert summary["num_kept"] == len(lines)
    assert summary["num_read"] == len(lines) + len(left) == len(rows)
    assert sum(summary["dropped"].values()) == len(left)
    originals = {row["row_id"]: row for row in numbered(*rows)}
    assert all(line == originals[line["row_id"]] for line in lines)  # unchanged
    assert all(one["reason"] and one["where"].startswith(str(path)) for one in left)
    return [line["row_id"] for line in lines], [(one["row_id"], one["filter"]) for one in left]


SAME = with_gold(1, content="An onion.")
NEARLY = with_gold(1, content="the ONION!")


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        (["--duplicates", "exact"], [("a-2", "duplicate_answers")]),
        (["--duplicates", "near"], [("a-2", "duplicate_answers"), ("a-3", "duplicate_answers")]),
        (["--min-span-s", "3.6"], [(f"a-{n}", "short_span") for n in (1, 2, 3, 4)]),
        (["--max-span-s", "5"], [("a-4", "long_span")]),
        (["--min-answers", "4"], [(f"a-{n}", "few_answers") for n in (1, 2, 3, 4)]),
        (["--min-answers", "3"], []),
        (["--max-silence", "0.62"], [(f"a-{n}", "silence") for n in (1, 2, 3, 4)]),
        (["--min-silence", "0.62", "--max-silence", "0.63"], []),
        (
            ["--duplicates", "exact", "--max-span-s", "5"],
            [("a-2", "duplicate_answers"), ("a-4", "long_span")],
        ),
    ],
)
def test_each_filter_leaves_out_what_it_names(flags, left, tmp_path, capsys) -> None:
    rows = [SOUND, SAME, NEARLY, with_gold(2, reply_timespan=[9.0, 14.5])]
    ids, found = kept(tmp_path, capsys, rows, *flags)
    assert found == left
    assert ids == [f"a-{n}" for n in (1, 2, 3, 4) if f"a-{n}" not in dict(left)]


def test_an_answer_that_only_a_later_scene_supports_leaks(tmp_path, capsys) -> None:
    early = with_gold(0, content="A man in a red coat comes.")
    ids, left = kept(tmp_path, capsys, [SOUND, early], "--leaks", "lexical")
    assert (ids, left) == (["a-1"], [("a-2", "leak")])


def test_support_is_counted_as_documented() -> None:
    row = read_proactive_row(with_gold(0, content="A man cuts an onion."), "here")
    # man, onion: cut is in the question
    assert support_of(row, row.task.gold[0]) == Support(so_far=0.5, later=0.5)
    assert not Support(0.5, 0.5).leaks
    assert Support(0.25, 0.75).leaks
    last = row.task.gold[2]
    assert support_of(row, last) is None  # nothing comes later
    bare = read_proactive_row({**SOUND, "scenes": []}, "here")
    assert support_of(bare, bare.task.gold[0]) is None


def test_a_model_finds_leaks_and_is_asked_once(tmp_path, capsys) -> None:
    def script(messages: Any) -> list[str]:
        answer = messages[-1]["content"].split("answer: ")[1].splitlines()[0]
        return ["yes" if "red coat" in answer else "no"]

    early = with_gold(0, content="A man in a red coat comes.")
    with OpenAIServer(script) as server:
        spec = f"openai:watcher@{server.url}"
        flags = ("--leaks", spec, "--judge-server.cache", tmp_path / "cache")
        assert kept(tmp_path, capsys, [SOUND, early], *flags)[1] == [("a-2", "leak")]
        num_asked = len(server.received)
        assert num_asked == 3  # the last reply has no later scene, and one is in both rows
        kept(tmp_path, capsys, [SOUND, early], *flags)
        assert len(server.received) == num_asked


def test_a_question_answered_blind_is_left_out(tmp_path, capsys) -> None:
    """The model knows who comes in half of its attempts, and never what is cut."""
    numbers: dict[str, int] = {}

    def script(messages: Any) -> list[str]:
        question = messages[-1]["content"]
        number = numbers[question] = numbers.get(question, -1) + 1
        knows = question.startswith("Who") and number % 2 == 0
        return ["<think>hm</think> A man in a red coat." if knows else "A dog."]

    alone = changed(lambda row: (row["questions"].pop(), row["gold"].pop()))
    with OpenAIServer(script) as server:
        spec = f"openai:watcher@{server.url}"
        flags = ("--blind", spec, "--blind-samples", "4", "--blind-cache", tmp_path / "cache")
        ids, left = kept(tmp_path, capsys, [SOUND, alone], *flags)
        assert (ids, left) == (["a-2"], [("a-1", "blind")])
        num_asked = len(server.received)
        assert kept(tmp_path, capsys, [SOUND, alone], *flags)[1] == left
        assert len(server.received) == num_asked
        assert {one.body["temperature"] for one in server.received} == {1.0}
        assert not any("onion" in str(one.body) for one in server.received)  # the question alone


@pytest.mark.parametrize("flag", ["--leaks", "--blind"])
def test_a_server_that_fails_writes_nothing(flag, tmp_path, capsys) -> None:
    path, out = write(tmp_path / "rows.jsonl", [SOUND]), tmp_path / "kept.jsonl"
    words = ["data", "filter", str(path), "--out", str(out), flag, "openai:m@http://127.0.0.1:9"]
    cache = "--blind-cache" if flag == "--blind" else "--judge-server.cache"
    words += [cache, str(tmp_path / "cache")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oncue.chat_client.Retries.wait_s", lambda *_: None)
        assert cli.main([*words, *TURNS]) == 1
    assert "oncue: " in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "no filter is set"),
        (["--min-span-s", "3", "--max-span-s", "2"], "min_span_s 3 and max_span_s 2"),
        (["--min-answers", "0"], "--min-answers must be at least 1"),
        (["--blind", "gpt"], "--blind must be openai:MODEL@URL"),
        (["--leaks", "words"], "--leaks must be lexical, or openai:MODEL@URL"),
        (["--min-answers", "1", "--judge", "exact"], "are for --blind"),
        (["--min-answers", "1", "--judge-server.max-tokens", "9"], "--judge-server.max-tokens"),
        (["--min-answers", "1", "--out", "rows.jsonl"], "is a file that is read"),
    ],
)
def test_wrong_flags_are_one_line(flags, said, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rows.jsonl", [SOUND])
    out = [] if "--out" in flags else ["--out", "kept.jsonl"]
    assert cli.main(["data", "filter", "rows.jsonl", *out, *flags, *TURNS]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not Path("kept.jsonl").exists()
