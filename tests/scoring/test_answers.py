"""Which answers are right, and which cannot be checked."""

from __future__ import annotations

from string import ascii_uppercase

import pytest

from oncue.scoring.answers import is_right, is_well_formed
from oncue.scoring.score import Unscored

COLOURS = ("A. red", "B. blue", "C. green")


@pytest.mark.parametrize(
    "said", ["B", "b", " b ", "B.", "(b)", "(B", "b)", "B:", "blue", "Blue.", "B. blue", "(b) BLUE"]
)
def test_an_option_is_named_by_letter_or_text(said: str) -> None:
    for options in (COLOURS, ("(A) red", "(B) blue", "(C) green"), ("red", "blue", "green")):
        for gold in ("B", "b", "blue", "B. blue", "(B) Blue"):
            assert is_right(said, gold, options) is True
            assert is_right(said, "C", options) is False
        assert is_well_formed(said, None, options)


@pytest.mark.parametrize("said", ["D", "d", "", " ", "A or B", "AB", "B. red", "bluish", "2", "?"])
def test_what_names_no_option_is_wrong_and_has_no_form(said: str) -> None:
    assert is_right(said, "B", COLOURS) is False
    assert not is_well_formed(said, "B", COLOURS)


def test_letters_reach_from_a_to_z() -> None:
    options = [f"thing {k}" for k in range(27)]
    for k, letter in enumerate(ascii_uppercase):
        assert is_right(letter.lower(), f"thing {k}", options) is True
    assert is_right("thing 26", "THING 26", options) is True
    assert is_right("Z", "thing 26", options) is False
    assert is_right("Z", "Y", [*options[:25], "the last"]) is False


def test_letters_go_by_place() -> None:
    initials = ("J. Smith", "P. Jones")
    assert is_right("B", "P. Jones", initials) is True
    assert is_right("J", "A", initials) is False
    assert is_right("A", "B. blue", ("B. blue", "A. red")) is True
    assert is_right("A. red", "A", ("A. red", "blue")) is True  # not all state theirs: a text
    assert is_right("red", "A", ("A. red", "blue")) is False
    films = ("A.I. the film", "B.B. King")
    for k, name in enumerate(films):
        assert is_right(name, "AB"[k], films) is True
        assert is_right(name, "BA"[k], films) is False


def test_a_letter_comes_before_a_text_that_is_one() -> None:
    assert is_right("A", "B", ("B", "A")) is False
    assert is_right("x", "X", ("x", "y")) is True  # no option has the letter X


def test_options_with_the_same_text_are_both_named_by_it() -> None:
    assert is_right("red", "B", ("red", "red", "blue")) is True
    assert is_right("A", "B", ("red", "red", "blue")) is False


@pytest.mark.parametrize(
    ("said", "gold", "ours", "release"),
    [
        ("3", "3", True, True),
        ("3.0", "3", True, False),
        ("3", "3.00", True, False),
        ("3,5", "3.5", True, True),
        ("1,500", "1500", True, False),
        ("1,500.25", "1500.251", True, True),
        ("2.004", "2.00", True, True),
        ("2.006", "2.00", False, False),
        ("-.5", "-0.5", True, True),
        ("+4.", " 4 ", True, True),
        ("four", "4", False, False),
        ("", "4", False, False),
        ("nan", "4", False, False),
        ("9" * 400, "4", False, False),
    ],
)
def test_numbers(said: str, gold: str, ours: bool, release: bool) -> None:
    assert is_right(said, gold) is ours
    assert is_right(said, gold, same_decimals=True) is release
    assert is_well_formed(said, gold) is (said[:1] not in ("f", "n", "") and len(said) < 99)


def test_words_are_compared_without_case_spacing_and_end_marks() -> None:
    for said in ('"The  kitchen."', "the kitchen .", "THE KITCHEN !"):
        assert is_right(said, "the kitchen ") is True
    assert is_right("kitchen", "the kitchen") is False
    assert is_right("", "the kitchen") is False
    assert is_right("?", "!") is False
    assert is_well_formed("x" * 99, "the kitchen")
    assert not is_well_formed("  ", "the kitchen")
    assert is_well_formed("anything", None)


@pytest.mark.parametrize(
    ("gold", "options", "why"),
    [
        (None, COLOURS, "not known"),
        (None, (), "not known"),
        ("  ", COLOURS, "not known"),
        ("F", COLOURS, "'F' is none of the 3 options"),
    ],
)
def test_without_a_right_answer_nothing_is_scored(
    gold: str | None, options: tuple[str, ...], why: str
) -> None:
    verdict = is_right("A", gold, options)
    assert isinstance(verdict, Unscored)
    assert why in verdict.reason
