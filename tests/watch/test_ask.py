"""The grammar of --ask."""

from __future__ import annotations

import re

import pytest

from oncue.errors import InputError
from oncue.types import Question
from oncue.watch.questions import check_untimed, parse_question, parse_questions


@pytest.mark.parametrize(
    ("written", "time_s", "text"),
    [
        ("Tell me when it boils.", 0.0, "Tell me when it boils."),
        ("12.5: What is it?", 12.5, "What is it?"),
        ("12.5:What is it?", 12.5, "What is it?"),
        (".5: Now?", 0.5, "Now?"),
        ("90s: Now?", 90.0, "Now?"),
        ("1:30: Now?", 90.0, "Now?"),
        ("1:59.9: Now?", 119.9, "Now?"),
        ("60: Now?", 60.0, "Now?"),
        ("75:59: Now?", 4559.0, "Now?"),
        ("1:02:03.5: Now?", 3723.5, "Now?"),
        ("3: things", 3.0, "things"),
        ("0: 3: things", 0.0, "3: things"),
        (
            "10:30 is on the clock, tell me when it is 10:31",
            0.0,
            "10:30 is on the clock, tell me when it is 10:31",
        ),
        ("2 people: who are they?", 0.0, "2 people: who are they?"),
        ("5: one\ntwo", 5.0, "one\ntwo"),
        ("0: 1,5: how much is that?", 0.0, "1,5: how much is that?"),
        ("...: what is that?", 0.0, "...: what is that?"),
        ("e1: what is that?", 0.0, "e1: what is that?"),
        ("1,5 or more: who?", 0.0, "1,5 or more: who?"),
    ],
)
def test_time_and_text(written: str, time_s: float, text: str) -> None:
    assert parse_question(written) == Question(text, time_s)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "   ",
        "12:",
        "12.5:  ",
        "-3: hello",
        "1:75: hello",
        "1:60: hello",
        "1:60:00: hello",
        "1:00:60: hello",
    ],
)
def test_what_cannot_be_asked(written: str) -> None:
    with pytest.raises(InputError):
        parse_question(written)


@pytest.mark.parametrize(
    "number", ["1,5", "1e0", "1.5E+1", "+5", "5.", "1.5.2", "1:2:3:4", "1:30,5", "-1,5", "\u22125"]
)
def test_a_number_with_a_colon_is_a_time_or_refused(number: str) -> None:
    for written in (f"{number}: hello", f" {number} s : hello", f"{number}:hello"):
        with pytest.raises(
            InputError, match=f"begins with '{re.escape(number)}', which is no time"
        ):
            parse_question(written)


def test_where_no_time_is_meant_none_is_taken() -> None:
    for written in ("5: hello", ".5: hello", "1,5: hello", "0: 3: things"):
        with pytest.raises(InputError, match="leave it out here"):
            check_untimed(written)
    check_untimed("10:30 is on the clock")


def test_questions_come_in_order_of_time_and_at_least_one_is_needed() -> None:
    assert [q.text for q in parse_questions(["9: c", "a", "3: b", "0: d"])] == ["a", "d", "b", "c"]
    with pytest.raises(InputError, match=r"--ask"):
        parse_questions([])
