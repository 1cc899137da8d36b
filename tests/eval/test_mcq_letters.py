"""Which option a text names that does not keep to the form of actions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncue.eval.benchmarks.mcq_letters import named_letter

SIX = ("A. red", "B. blue", "C. sleeps", "D. grey", "E. a cup", "F. dog")


@pytest.mark.parametrize(
    ("text", "letter"),
    [  # the first answers of each kind are those that the parsers of lmms-eval were run on
        ("B", "B"),
        ("B.", "B"),
        ("(B)", "B"),
        ("The answer is B.", "B"),
        ("Answer: C", "C"),
        ("Best option: (D)", "D"),
        ("E", "E"),
        ("(F)", "F"),
        ("Based on the video, C", "C"),
        ("b", "B"),
        ("C) sleeps", "C"),
        ("<answer>B. blue</answer>", "B"),
        ("<think>A or D?</think><answer>(C)</answer>", "C"),
        ("<think>A</think>\nI choose option D, the last one.", "D"),
        ("blue", "B"),
        ("Dog.", "F"),
        ("<answer>E", "E"),
        ("A is wrong, so <answer>C</answer>", "C"),
        ("(A) red", "A"),
        ("I am sure the answer is A", "A"),
    ],
)
def test_what_is_clear(text, letter):
    assert named_letter(text, SIX) == letter


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I think it is D because A is wrong",
        "Both A and C",
        "A red car and a blue cup",
        "A man walks in",
        "It is a blue one",
        "The answer is unclear",
        "The answer is A or B",
        "G",
        "The answer is Z.",
        "I",
        "<think>B",
        "<retrieve>1,2</retrieve>",
        "I don't know; that is what I see",
    ],
)
def test_what_is_not_clear(text):
    assert named_letter(text, SIX) is None


def test_a_text_that_two_options_have_names_neither():
    assert named_letter("red", ("A. red", "B. red")) is None


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.text(alphabet="ABCDGI ab().:<>/answerthink'\n", max_size=30))
def test_any_text_names_an_option_or_none(text):
    assert named_letter(text, SIX) in (None, *"ABCDEF")
