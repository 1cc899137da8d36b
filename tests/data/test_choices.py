"""Options and answers in the forms that public files have them in."""

from __future__ import annotations

from typing import Any

import pytest

from oncue.data.choices import labelled, marked_answer, read_answer, read_options
from oncue.errors import DataError

XY = ("A. x", "B. y")


@pytest.mark.parametrize(
    "value",
    [
        ["A. x", "B. y"],
        ["(A) x", "(B) y"],
        ["(a) x", "(b) y"],
        ["A) x", "B) y"],
        ["A: x", "B: y"],
        ["A.x", " B.  y "],
        ["x", "y"],
        {"A": "x", "B": "y"},
        {"B": "y", "A": "x"},
    ],
    ids=str,
)
def test_options_of_every_form(value: Any) -> None:
    assert read_options(value, "f, row 1") == XY


def test_no_options() -> None:
    assert read_options(None, "f, row 1") == read_options([], "f, row 1") == ()


@pytest.mark.parametrize(
    "texts",
    [["A dog", "B movies"], ["I. Newton", "someone else"], ["1) one", "2) two"], ["yes", "yes"]],
    ids=str,
)
def test_texts_that_have_no_labels_stay_whole(texts: list[str]) -> None:
    assert read_options(texts, "f, row 1") == labelled(texts)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (["B. x", "A. y"], "in order, or none, got B, A"),
        (["A. x", "y"], "in order, or none, got A, none"),
        (["(A) x", "(C) y"], "got A, C"),
        (["only one"], "2 to 26"),
        ([str(number) for number in range(27)], "got 27"),
        (["x", " "], "must be texts"),
        (["A. x", "B."], "must be texts"),
        ("A. x", "must be a list of texts"),
        ([1, 2], "must be a list of texts"),
        (["x", "\ud800"], "half of a character"),
    ],
    ids=str,
)
def test_options_that_are_none(value: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"f, row 1: .*{said}"):
        read_options(value, "f, row 1")


@pytest.mark.parametrize(
    "value",
    [
        *("B", "b", "(B)", "B.", "B. y", "(B) y", "b) Y", "y", "<answer>B</answer>"),
        *(marked_answer("y"), "<think>A?</think> <answer> B </answer>"),
    ],
)
def test_answers_of_every_form(value: str) -> None:
    assert read_answer(value, XY, "f, row 1", "solution") == "B"


def test_a_text_of_one_letter_is_an_option_where_no_letter_is_meant() -> None:
    assert read_answer("Z", ("A. y", "B. z"), "f", "solution") == "B"
    assert read_answer("A", ("A. B", "B. A"), "f", "solution") == "A"


@pytest.mark.parametrize("value", ["C", "C. y", "B. x", "", " ", "<answer></answer>", "xy", None])
def test_answers_that_name_no_option(value: Any) -> None:
    with pytest.raises(DataError, match="f, row 1: 'solution' must be"):
        read_answer(value, XY, "f, row 1", "solution")


def test_an_answer_that_two_options_give_is_not_guessed() -> None:
    same = ("A. yes", "B. yes")
    with pytest.raises(DataError, match="text of one option"):
        read_answer("yes", same, "f", "solution")
    assert read_answer("B. yes", same, "f", "solution") == "B"


@pytest.mark.parametrize(
    ("value", "text"), [("a cup", "a cup"), (2, "2"), (2.5, "2.5"), ("B", "B")]
)
def test_free_answers(value: Any, text: str) -> None:
    assert read_answer(value, (), "f", "solution") == text
