"""Tables and JSON: percent, N, judge, and no headline from too few marks."""

from __future__ import annotations

import asyncio
import io
import json

import pytest
from rich.console import Console

from oncue.eval.table import proactive_json, proactive_table, timing_json, timing_table
from oncue.eval.timing import TimingCount
from oncue.scoring.judge import ExactJudge
from oncue.scoring.metrics import Transcript, score_proactive
from oncue.scoring.score import Unscored
from oncue.types import GoldTurn, Task, TimedReply, TimeSpan


class NoJudge:
    name, max_score = "none", 2

    async def coverage(self, *_: object) -> Unscored:
        return Unscored("down")

    async def repeats(self, *_: object) -> Unscored:
        return Unscored("down")


def result(*replies: tuple[float, str], judge=None, turns=2):
    gold = tuple(GoldTurn("g", TimeSpan(20.0 * i, 20.0 * i + 10)) for i in range(turns))
    said = tuple(TimedReply(*r) for r in replies)
    transcript = Transcript(
        Task("t", (), gold, 60.0), said, 60.0, num_turns=60, num_silent=60 - len(said)
    )
    return asyncio.run(
        score_proactive([transcript], judge or ExactJudge(lambda g, r: 2 * (g == r)))
    )


def test_json_is_in_percent_and_survives_dumps():
    numbers = proactive_json(result((5, "g"), (15, "x")))
    assert numbers == json.loads(json.dumps(numbers, allow_nan=False))
    expected = {
        "n_samples": 1,
        "n_gold_turns": 2,
        "judge": "exact",
        "pauc_omega_0": 43.75,
        "pauc_omega_0.5": 53.12,
        "pauc_omega_1": 62.5,
        "duplicates": None,
        "hit_turns": 50.0,
        "first_reply_delay_s": 5.0,
        "false_replies_per_min": 1.0,
        "false_replies_per_quiet_min": 1.5,
        "n_replies": 2,
        "silence_rate": 96.67,
        "n_unscored": 0,
    }
    assert {key: numbers[key] for key in expected} == expected


def test_no_headline_when_too_many_marks_are_missing():
    numbers = proactive_json(result((5, "g"), judge=NoJudge()))
    assert (numbers["pauc_omega_0.5"], numbers["n_unscored"]) == (None, 1)
    assert (
        proactive_json(result((5, "g"), judge=NoJudge()), max_unscored_share=1.0)["pauc_omega_0.5"]
        == 25.0
    )


def test_tables_name_n_judge_and_omega():
    table = proactive_table({"silence": result(), "model": result((5, "g"))}, "Shapes")
    plain = table.plain()
    assert "Shapes (N = 1 samples, 2 gold turns; judge exact, marks 0 to 2)" in plain
    assert "PAUC w=0.5" in plain
    lines = plain.splitlines()
    assert lines[2].split()[:4] == ["silence", "25.00", "25.00", "25.00"]
    assert lines[3].split()[:4] == ["model", "43.75", "53.12", "62.50"]
    stream = io.StringIO()
    Console(file=stream, width=160).print(table.rich())
    assert "53.12" in stream.getvalue()


def test_a_share_of_duplicates_stands_beside_what_it_is_a_share_of():
    said = {
        "one of two": result((3, "g"), (5, "g"), (7, "x")),
        "none of none": result((3, "g"), (25, "g")),
    }
    table = proactive_table(said)
    share = table.header.index("dup %")
    assert table.header[share + 1] == "of replies"
    assert [row[share : share + 2] for row in table.rows] == [("50.00", "1 of 2"), ("-", "-")]


def test_results_of_different_samples_do_not_share_a_table():
    with pytest.raises(ValueError, match="share samples"):
        proactive_table({"a": result(), "b": result(turns=1)})


def test_timing():
    counts = [TimingCount(1, 1, 0), TimingCount(0, 0, 1)]
    assert timing_json(counts) == {
        "n_clips": 2,
        "n_hit": 1,
        "n_false": 1,
        "n_missed": 1,
        "precision": 50.0,
        "recall": 50.0,
        "f1": 50.0,
        "mean_f1": 33.33,
    }
    assert "33.33" in timing_table({"model": counts}).plain()
