"""Files of rollouts and of judgements: what was written is read back, and what is wrong is told by
its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oncue.errors import DataError
from oncue.records.judgements import judgement_lines, num_strays, read_judgements
from oncue.records.rollouts import StoredRollout, read_rollouts, rollout_line
from oncue.rewards.proactive import Judgements, Rollout
from oncue.scoring.score import Unscored
from oncue.types import GoldTurn, TimeSpan
from score_support import SAID, episode, judgements, write_lines

GOLD = GoldTurn("one", TimeSpan(4, 12), "?")


def test_a_rollout_is_read_as_it_was_written(tmp_path: Path) -> None:
    turns = ((1.0, None), (2.1, "It's “here”.\n"), (3.3000000000000003, "é"))
    stored = [
        StoredRollout("a/0", Rollout((GOLD,), turns, ("Before.",))),
        StoredRollout("a/1", Rollout((), (), ())),
    ]
    assert read_rollouts(write_lines(tmp_path / "e.jsonl", map(rollout_line, stored))) == stored


def test_silence_is_the_text_of_the_format_and_other_fields_are_ignored(tmp_path: Path) -> None:
    line = {**episode(), "group": 7}
    line["turns"][0]["text"] = "  NO REPLY\n"
    line["turns"][2]["text"] = ""  # malformed: nothing was said
    line["turns"][7]["text"] = "NO REPLY yet"
    del line["previous_replies"]
    path = tmp_path / "e.jsonl"
    path.write_text("\ufeff" + json.dumps(line) + "\n\n", encoding="utf-8")
    (stored,) = read_rollouts(path)
    assert [reply.time_s for reply in stored.rollout.replies] == [*SAID, 32.0]
    assert stored.rollout.previous == ()


def changed(path: str, value: Any) -> dict[str, Any]:
    """The example with the value at `path` replaced, or removed where `value` is `...`."""
    line = episode()
    *parents, last = path.split(".")
    place: Any = line
    for name in parents:
        place = place[int(name) if name.isdigit() else name]
    if value is ...:
        del place[last]
    else:
        place[int(last) if last.isdigit() else last] = value
    return line


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "not JSON"),
        ("[1]", "expected a stored rollout"),
        ("[" * 100_000, "not JSON"),
        ('{"episode_id": ' + "1" * 5000 + "}", "not JSON"),
        (changed("episode_id", ...), "'episode_id' is missing"),
        (changed("episode_id", 7), "'episode_id' must be non-empty text"),
        (changed("episode_id", "first"), "is in .*line 1 too"),
        (changed("gold", {}), "'gold' must be a list"),
        (changed("gold.1.content", ...), "gold 2: field 'content' is missing"),
        (changed("gold.1.question", None), "gold 2: 'question' must be text"),
        (
            changed("gold.0.reply_timespan", [4]),
            r"gold 1: 'reply_timespan' must be \[start, end\]",
        ),
        (changed("gold.0.reply_timespan", [12, 4]), "ends before it starts"),
        (changed("gold.0.reply_timespan", [4, 4]), "no width"),
        (changed("gold.0.reply_timespan", [4, float("nan")]), "in seconds"),
        (changed("turns", ...), "'turns' is missing"),
        (changed("turns.2.time", "12"), "turn 3: 'time' must be a number of seconds"),
        (changed("turns.2.time", 10**400), "turn 3: 'time' must be a number of seconds"),
        (changed("turns.2.time", 8), "turn 3: its time 8 s is not after"),
        (changed("turns.2.text", None), "turn 3: 'text' must be text"),
        (changed("turns.2", 5), "turn 3: expected an object"),
        (changed("previous_replies", ["a", 1]), "'previous_replies' 2 must be text"),
        (changed("previous_replies", "a"), "'previous_replies' must be a list"),
    ],
)
def test_a_bad_rollout_is_told_by_its_line(line: Any, told: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "e.jsonl", [episode("first")])
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" + (line if isinstance(line, str) else json.dumps(line)) + "\n")
    with pytest.raises(DataError, match=rf"e\.jsonl, line 3.*{told}"):
        read_rollouts(path)


def test_files_that_hold_nothing_or_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "latin.jsonl").write_bytes(b'{"episode_id": "\xe9"}\n')
    for name, told in (
        ("empty.jsonl", "holds no line"),
        ("latin.jsonl", "line 1 is not UTF-8"),
        ("none.jsonl", "cannot read"),
        ("", "cannot read"),
    ):
        with pytest.raises(DataError, match=told):
            read_rollouts(tmp_path / name)


def test_judgements_are_read_as_they_were_written(tmp_path: Path) -> None:
    decided = Judgements({(0, 8.0): 4, (1, 8.25): 0}, {8.0: False, 8.25: True})
    undecided = Judgements(
        {**decided.coverage, (1, 9.0): Unscored("down")},
        {**decided.repeated, 9.0: Unscored("down")},
    )
    lines = [*judgement_lines("a", undecided), *judgement_lines("b", Judgements())]
    read = read_judgements(write_lines(tmp_path / "r.jsonl", [*lines, *lines]))
    assert read == {"a": decided}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": "other"}, "'kind' must be 'coverage' or 'repetition', got 'other'"),
        ({"level": 0}, "'level' must be a whole number from 1 to 5"),
        ({"level": 6}, "'level' must be a whole number from 1 to 5"),
        ({"level": 4.5}, "'level' must be a whole number"),
        ({"level": True}, "'level' must be a whole number"),
        ({"gold_index": -1}, "'gold_index' must be a whole number"),
        ({"time": None}, "'time' must be a number"),
        ({"level": 1}, "contradicts an earlier line"),
        ({"kind": "repetition", "repeated": "no"}, "'repeated' must be true or false"),
        ({"kind": "repetition"}, "'repeated' is missing"),
    ],
)
def test_a_bad_judgement_is_told_by_its_line(
    change: dict[str, Any], told: str, tmp_path: Path
) -> None:
    first = judgements()[0]
    path = write_lines(tmp_path / "r.jsonl", [first, {**first, **change}])
    with pytest.raises(DataError, match=rf"r\.jsonl, line 2.*{told}"):
        read_judgements(path)


def test_judgements_of_other_replies_are_strays() -> None:
    stored = StoredRollout("a", Rollout((GOLD,), ((4.0, None), (8.0, "Here."))))
    assert num_strays(stored, Judgements({(0, 8.0): 4}, {8.0: False})) == 0
    assert (
        num_strays(
            stored, Judgements({(1, 8.0): 4, (0, 4.0): 4, (0, 8.1): 4}, {4.0: False, 8.1: True})
        )
        == 5
    )


def test_a_mark_for_a_reply_outside_the_span_is_a_stray() -> None:
    stored = StoredRollout("a", Rollout((GOLD,), ((8.0, "Here."), (13.0, "Gone."))))
    assert (
        num_strays(stored, Judgements({(0, 8.0): 4, (0, 13.0): 4}, {8.0: False, 13.0: False})) == 1
    )
