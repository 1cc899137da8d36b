"""Comparing two runs: what differs, what must not, and the command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from oncue import cli
from oncue.errors import ConfigError, DataError
from oncue.eval.benchmarks import known, stored_run
from oncue.eval.benchmarks.stored_run import open_run
from oncue.eval.streams.comparison import Comparison, compare_runs
from oncue.types import GoldTurn, TimeSpan
from tones import ITEMS, Tones, item, said, scored

WORSE = said([[6.0], [1.0, 12.0], [], [6.0, 15.0]])
BETTER = said([[6.0], [6.5], [5.5], [9.0], [7.0]])


@pytest.fixture(autouse=True)
def tones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(known.KNOWN, "tones", ("tones", "Tones"))


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    a, b = tmp_path / "a", tmp_path / "b"
    scored(WORSE, a, name="old")
    scored(BETTER, b, name="new", protocol={"model": "new", "fps": 2})
    return a, b


def compared(a: Path, b: Path, num_shown: int = 20) -> Comparison:
    return compare_runs(open_run(a), open_run(b), num_shown)


def test_figures_and_items_that_changed(runs: tuple[Path, Path]) -> None:
    found = compared(*runs)
    assert (found.num_items, found.num_videos) == (12, 6)
    headline = found.headlines[0]
    assert (headline.name, headline.first, headline.second) == ("found", 16.67, 33.33)
    assert headline.difference == pytest.approx(16.66)
    assert headline.interval[0] < 16.66 < headline.interval[1]
    assert 0 < headline.p_value <= 1
    changed = [(i.item_id, i.first, i.second) for i in found.changed]
    assert changed == [("t1", 0.0, 1.0), ("t2", 0.0, 1.0), ("t3", 1.0, 0.0), ("t4", 0.0, 1.0)]
    rates = {each.name: (each.first, each.second) for each in found.behaviour}
    assert rates["hit_spans"] == (16.67, 33.33)
    assert rates["first_reply_delay_s"] == (1.0, 1.25)
    shown = compared(*runs, num_shown=1)
    assert (len(shown.changed), shown.num_changed) == (1, 4)


def test_a_run_does_not_differ_from_itself(runs: tuple[Path, Path]) -> None:
    found = compared(runs[0], runs[0] / "scores.json")
    assert {each.difference for each in (*found.headlines, *found.behaviour)} == {0.0}
    assert not found.changed
    assert found.headlines[0].p_value == 1.0


def test_both_protocols_are_printed_and_what_differs_is_named(runs: tuple[Path, Path]) -> None:
    remarks = compared(*runs).remarks()
    assert "protocol: model old, fps 1" in remarks[0]
    assert "protocol: model new, fps 2" in remarks[1]
    assert remarks[2] == "the protocols differ in fps"
    assert "all 64 swaps" in remarks[-1]
    assert "differ" not in " ".join(compared(runs[0], runs[0]).remarks())


def test_runs_that_are_scored_otherwise_are_refused(runs: tuple[Path, Path], tmp_path) -> None:
    other = tmp_path / "other"
    scored(BETTER, other, benchmark=Tones(which="first"))
    with pytest.raises(ConfigError, match=r"which 'any'.*has 'first'"):
        compared(runs[0], other)
    scored(BETTER, other, judge="lexical")
    with pytest.raises(ConfigError, match=r"judge None.*has 'lexical'"):
        compared(runs[0], other)


def test_a_judge_is_the_same_whatever_file_it_was_recorded_in(runs: tuple[Path, Path]) -> None:
    first, second = runs
    scored(WORSE, first, judge="gpt-4.1 (prompts 2), recorded in old.jsonl")
    scored(BETTER, second, judge="gpt-4.1 (prompts 2), recorded in new.jsonl")
    assert compared(first, second).headlines
    scored(BETTER, second, judge="gpt-4.1 (prompts 2)")
    assert compared(first, second).headlines
    scored(BETTER, second, judge="gpt-4.1 (prompts 1), recorded in old.jsonl")
    with pytest.raises(ConfigError, match=r"judge 'gpt-4.1 \(prompts 2\)'.*\(prompts 1\)"):
        compared(first, second)


def test_runs_of_other_items_are_refused(runs: tuple[Path, Path], tmp_path) -> None:
    other = tmp_path / "other"
    scored(BETTER, other, items=ITEMS[:-1])
    with pytest.raises(DataError, match=r"a/items.jsonl has 1 items that .*other.* \('t11'\)"):
        compared(runs[0], other)
    with pytest.raises(DataError, match=r"a/items.jsonl has 1 items that"):
        compared(other, runs[0])
    later = GoldTurn("a tone", TimeSpan(5.0, 9.0))
    changed = replace(ITEMS[0], stream=replace(ITEMS[0].stream, due=(later,)))
    scored(BETTER, other, items=(changed, *ITEMS[1:]))
    with pytest.raises(DataError, match=r"item 't0' is not the same"):
        compared(runs[0], other)
    scored(BETTER, other, items=(*ITEMS[:-1], item(40)))
    with pytest.raises(DataError, match=r"'t11'"):
        compared(runs[0], other)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"benchmark": "videomme", "modes": {}}, "is of oncue eval mcq, whose runs cannot be"),
        ({"benchmark": "shapes"}, "is of shapes; runs can be compared of"),
        ({"benchmark": None}, "'benchmark' must be non-empty text"),
        ({"options": {"which": "last"}}, "option which of tones cannot be read"),
    ],
)
def test_odd_scores_are_named(runs: tuple[Path, Path], change, told, capsys) -> None:
    path = runs[1] / "scores.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert cli.main(["eval", "compare", *map(str, runs)]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_run_without_items_is_named(runs: tuple[Path, Path], capsys) -> None:
    (runs[1] / stored_run.ITEMS_FILE).unlink()
    assert cli.main(["eval", "compare", *map(str, runs)]) == 2
    assert "b/items.jsonl is missing" in capsys.readouterr().err
    assert cli.main(["eval", "compare", str(runs[0]), "nowhere"]) == 2
    assert "cannot read nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 13 is not JSON"),
        ('{"id": "t0"}', "line 13: field 'terms' is missing"),
        ('{"id": "t99", "video": "v", "due": [], "terms": {"n": "1"}}', "an object of numbers"),
        ('{"id": "t9", "video": "v", "due": [], "terms": {}, "worth": "1"}', "'worth' must be"),
        ('{"id": "t0", "video": "v", "due": [], "terms": {}}', "item 't0' is there twice"),
    ],
)
def test_broken_items_are_named(runs: tuple[Path, Path], line, told) -> None:
    with (runs[0] / "items.jsonl").open("a") as file:
        file.write(line)
    with pytest.raises(DataError, match=told):
        compared(*runs)


def test_items_of_another_version_are_named(runs: tuple[Path, Path]) -> None:
    for run in runs:
        path = run / "items.jsonl"
        path.write_text(path.read_text().replace('"found"', '"seen"'))
    with pytest.raises(DataError, match="have no term 'found'"):
        compared(*runs)
    for run in runs:
        (run / "items.jsonl").write_text("")
    with pytest.raises(DataError, match="or there is no item"):
        compared(*runs)


def test_the_command_says_all_in_one_object(runs: tuple[Path, Path], tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert cli.main(["eval", "compare", *map(str, runs), "--json", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    row = json.loads(captured.out)
    assert row["figures"]["found"]["difference"] == 16.66
    assert row["options"] == {"which": "any", "slack_s": 0.0}
    assert row["protocol_differences"] == ["fps"]
    assert row["changed"][0] == {"id": "t1", "a": 0.0, "b": 1.0}
    assert row == json.loads((out / "comparison.json").read_text())
    assert "Items that changed most (4 of 4)" in captured.err
    assert re.search(
        r"found +16.67 +33.33 +\+16.66 +-?\+?\S+ to \+\S+ +[01]\.\d{4}\n", captured.err
    )


def test_no_items_file_is_left_by_a_run_that_fails(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no item is called 't7'"):
        scored(said([[6.0]] * 8), tmp_path, items=ITEMS[:7])
    assert list(tmp_path.iterdir()) == []
