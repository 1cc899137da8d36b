"""Law 4 for Video-MTR's grammar: reading what was written gives the same action, everything that an
instruction shows can be read, and whatever else was written is a value with a reason."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncue.errors import ConfigError
from oncue.render.markup import STRUCTURAL_MARKS
from oncue.render.options import LETTERS
from oncue.render.retrieval_format import RetrievalFormat, Thinking, Unit
from oncue.types import Action, Answer, Malformed, Reply, Retrieve, Silence

CHOICE = RetrievalFormat(63, letters="ABCD")
OPEN = RetrievalFormat(63)
SECONDS = RetrievalFormat(150.07, "seconds", "ABCD")
SOUND = "<think>A man enters.</think><retrieve>12,33</retrieve>"

frame_formats = st.builds(
    RetrievalFormat,
    st.integers(0, 10**6),
    st.just("frames"),
    st.integers(0, 26).map(lambda n: LETTERS[:n]),
    st.sampled_from(get_args(Thinking)),
    st.integers(1, 60),
)
second_formats = st.builds(
    RetrievalFormat,
    st.floats(0, 1e7, allow_subnormal=False),
    st.just("seconds"),
    st.integers(0, 26).map(lambda n: LETTERS[:n]),
    st.sampled_from(get_args(Thinking)),
    st.integers(1, 60),
)
formats = frame_formats | second_formats


def reason(grammar: RetrievalFormat, text: str, truncated: bool = False) -> str:
    """Why `text` is no action."""
    read = grammar.read(text, truncated)
    assert isinstance(read, Malformed), read
    assert read.text == text
    return read.reason


@st.composite
def written(draw: st.DrawFn) -> tuple[RetrievalFormat, Action]:
    """A grammar, and an action that it has."""
    grammar = draw(formats)
    if draw(st.booleans()):
        numbers = st.integers(0, int(grammar.last)).map(float)
        if grammar.unit == "seconds":
            numbers = st.floats(0, grammar.last, allow_subnormal=True)
        start, end = sorted((draw(numbers), draw(numbers)))
        return grammar, Retrieve(start, end)
    if grammar.letters:
        return grammar, Answer(draw(st.sampled_from(grammar.letters)))
    words = st.text(st.characters(exclude_characters="<"), max_size=grammar.max_answer_characters)
    return grammar, Answer(draw(words.map(str.strip).filter(bool)))


@settings(deadline=None, max_examples=100)
@given(case=written(), truncated=st.booleans())
def test_reading_a_written_action_gives_it_back(
    case: tuple[RetrievalFormat, Action], truncated: bool
) -> None:
    grammar, action = case
    assert grammar.read(grammar.write(action), truncated) == action
    bare = grammar.write(action).removeprefix("<think></think>")
    thought = f"<think>{bare}, I think.</think>\n"  # a draft within it is no action
    assert grammar.read(thought + bare + "\n", truncated) == action


@settings(deadline=None, max_examples=100)
@given(grammar=formats)
def test_every_example_of_an_instruction_is_read_as_the_action_it_names(
    grammar: RetrievalFormat,
) -> None:
    look, answer = examples(grammar.instruction)
    (only,) = examples(grammar.answer_instruction)
    assert isinstance(grammar.read(look), Retrieve)
    assert isinstance(grammar.read(answer), Answer)
    assert only == answer
    assert "retrieve" not in grammar.answer_instruction
    asked = grammar.thinking != "off"
    for text in (grammar.instruction, grammar.answer_instruction):
        assert set(re.findall(r"</?(\w+)>", text)) <= {"think", "retrieve", "answer"}
        assert ("think" in text) == asked
    (largest,) = re.findall(r"from 0 to ([\d.]+),", grammar.instruction)
    bare = f"<retrieve>0,{largest}</retrieve>"
    assert grammar.read(f"<think></think>{bare}") == Retrieve(0, float(largest))
    for letter in grammar.letters:
        assert grammar.read(f"<think></think><answer>{letter}</answer>") == Answer(letter)


def examples(instruction: str) -> list[str]:
    return re.findall(r"^<.*>$", instruction, re.MULTILINE)


def test_what_the_released_prompt_says_is_no_action() -> None:
    """Its sentences spell the tag `<retrive>`."""
    assert isinstance(CHOICE.read("<think>a</think><retrieve>2,5</retrieve>"), Retrieve)
    assert "exactly one action" in reason(CHOICE, "<think>a</think><retrive>2,5</retrive>")


@pytest.mark.parametrize(
    ("text", "action"),
    [
        (SOUND, Retrieve(12, 33)),
        ("A man enters.</think><retrieve>12,33</retrieve>", Retrieve(12, 33)),  # opened by template
        ("<think>\n\n</think>\n\n<answer>B</answer>", Answer("B")),
        ("\n <think>a</think> <answer>\nb </answer>\n", Answer("B")),
        ("<retrieve> 7 ,\n 7 </retrieve>", Retrieve(7, 7)),
        ("<retrieve>0,63</retrieve>", Retrieve(0, 63)),
        ("<retrieve>007,08</retrieve>", Retrieve(7, 8)),
        ("<think>Is it <answer>A</answer>?</think><answer>d</answer>", Answer("D")),
    ],
)
def test_what_is_an_action(text: str, action: Action) -> None:
    assert CHOICE.read(text) == action


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "exactly one action"),
        (" \n", "exactly one action"),
        ("B", "exactly one action"),
        ("<think>a</think>", "exactly one action"),
        ("I look. <answer>B</answer>", "exactly one action"),
        ("<answer>B</answer> I think.", "exactly one action"),
        ("<think>a</think> so <answer>B</answer>", "exactly one action"),
        ("<answer>A</answer><answer>B</answer>", "exactly one action"),
        ("<retrieve>1,2</retrieve><answer>B</answer>", "exactly one action"),
        ("<retrieve>1,2</retrieve>\n<retrieve>3,4</retrieve>", "exactly one action"),
        ("<retrieve>1,2</answer>", "exactly one action"),
        ("<retrieve>1,2", "exactly one action"),
        ("<answer>B", "exactly one action"),
        ("answer>B</answer>", "exactly one action"),
        ("<Answer>B</Answer>", "exactly one action"),
        ("<answer ><B</answer>", "exactly one action"),
        ("<retrieve><answer>1,2</answer></retrieve>", "exactly one action"),
        ("<think>a", "ends within a thought"),
        ("<answer>B</answer><think>", "ends within a thought"),
        ("<think>a</think><think>b", "ends within a thought"),
        ("I look.<think>a</think><answer>B</answer>", "one thought, and nothing before it"),
        ("<think>a<think>b</think><answer>B</answer>", "one thought"),
        ("<think>a</think>b</think><answer>B</answer>", "one thought"),
        ("<think>a</think><think>b</think><answer>B</answer>", "one thought"),
        ("<retrieve>33,12</retrieve>", "ends before it starts"),
        ("<retrieve>0,64</retrieve>", "within 0 and 63"),
        (f"<retrieve>0,{'9' * 400}</retrieve>", "within 0 and 63"),
        (f"<retrieve>{'9' * 5000},{'9' * 5000}</retrieve>", "within 0 and 63"),
        ("<retrieve>-1,5</retrieve>", "two whole frame numbers"),
        ("<retrieve>1.5,3</retrieve>", "two whole frame numbers"),
        ("<retrieve>1.0,3</retrieve>", "two whole frame numbers"),
        ("<retrieve>1e1,30</retrieve>", "two whole frame numbers"),
        ("<retrieve>5</retrieve>", "two whole frame numbers"),
        ("<retrieve>1,2,3</retrieve>", "two whole frame numbers"),
        ("<retrieve>1-2</retrieve>", "two whole frame numbers"),
        ("<retrieve>frame 1, frame 2</retrieve>", "two whole frame numbers"),
        ("<retrieve>[1,2]</retrieve>", "two whole frame numbers"),
        ("<retrieve></retrieve>", "two whole frame numbers"),
        ("<retrieve>\u0661,\u0662</retrieve>", "two whole frame numbers"),  # arabic digits
        ("<retrieve>1,\u00b2</retrieve>", "two whole frame numbers"),
        ("<retrieve>1_0,20</retrieve>", "two whole frame numbers"),
        ("<answer></answer>", "one letter: A, B, C, D"),
        ("<answer>E</answer>", "one letter"),
        ("<answer>AB</answer>", "one letter"),
        ("<answer>B.</answer>", "one letter"),
        ("<answer>a red car</answer>", "one letter"),
        ("<answer>1</answer>", "one letter"),
        ("<answer>\uff22</answer>", "one letter"),  # a wide B
        ("<answer>B\u0300</answer>", "one letter"),
    ],
)
def test_everything_else_is_malformed_with_a_reason(text: str, why: str) -> None:
    assert why in reason(CHOICE, text)


def test_letters_beyond_ascii_are_none_of_the_options() -> None:
    """Their capitals would be."""
    grammar = RetrievalFormat(63, letters=LETTERS)
    for text in ("\u0131", "\u017f"):
        assert text.upper() in LETTERS
        assert "one letter" in reason(grammar, f"<answer>{text}</answer>")


def test_ranges_in_seconds() -> None:
    assert SECONDS.read("<retrieve>1.5,150.07</retrieve>") == Retrieve(1.5, 150.07)
    assert SECONDS.read("<retrieve>0, 12</retrieve>") == Retrieve(0, 12)
    assert SECONDS.write(Retrieve(0.00001, 150)) == "<retrieve>0.00001,150</retrieve>"
    for body in ("1.,2", ".5,2", "1e1,20", "0:10,0:20", "1 s, 2 s", "-1,2", "nan,inf"):
        assert "two times in seconds" in reason(SECONDS, f"<retrieve>{body}</retrieve>")
    assert "within 0 and 150" in reason(SECONDS, "<retrieve>1,150.08</retrieve>")
    assert "from 0 to 150," in SECONDS.instruction  # rounded down
    assert "in seconds" in SECONDS.instruction
    assert "second" not in CHOICE.instruction
    assert "frame" in CHOICE.instruction


def test_answers_in_own_words() -> None:
    assert OPEN.read("<answer> A man,\n in red. </answer>") == Answer("A man,\n in red.")
    assert OPEN.read(f"<answer>{'x' * 50}</answer>") == Answer("x" * 50)
    assert "at most 50 characters, got 51" in reason(OPEN, f"<answer>{'x' * 51}</answer>")
    assert "empty" in reason(OPEN, "<answer> \n</answer>")
    assert OPEN.read("<answer>b</answer>") == Answer("b")  # no letter, so as it was written
    assert "at most 50 characters" in OPEN.instruction
    for text in ("", " a", "a<b", "x" * 51):
        with pytest.raises(ValueError, match="cannot be written"):
            OPEN.write(Answer(text))


@pytest.mark.parametrize("mark", ["<think>a</think>", "a</think>", "<think></think>"])
def test_a_thought_may_be_required(mark: str) -> None:
    required = RetrievalFormat(63, letters="AB", thinking="required")
    assert required.read(f"{mark}<answer>A</answer>") == Answer("A")
    assert "there is no thought" in reason(required, "<answer>A</answer>")
    assert "there is no thought" in reason(required, "A man. <answer>A</answer>")
    for thinking in ("asked", "off"):
        assert RetrievalFormat(63, letters="AB", thinking=thinking).read(
            "<answer>A</answer>"
        ) == Answer("A")


@pytest.mark.parametrize(
    "text",
    ["", "<think>A man", "<think>a</think><retr", "<answer>B", "A man</think>", "<retrieve>1,2"],
)
def test_what_the_limit_cut_off_says_so(text: str) -> None:
    assert reason(CHOICE, text, truncated=True) == (
        "it was too long and was cut off; allow more tokens (--max-new-tokens)"
    )
    assert "token" not in reason(CHOICE, text)
    required = RetrievalFormat(63, letters="AB", thinking="required")
    assert "cut off" in reason(required, text, truncated=True)


def test_a_turn_is_whole_unless_said_otherwise() -> None:
    assert CHOICE.read("<think>a") == Malformed("<think>a", "it ends within a thought")


def test_what_was_whole_at_the_limit_counts() -> None:
    assert CHOICE.read(SOUND, truncated=True) == Retrieve(12, 33)
    assert "ends before" in reason(CHOICE, "<retrieve>3,2</retrieve>", truncated=True)


@settings(deadline=None, max_examples=100)
@given(
    grammar=formats,
    pieces=st.lists(
        st.sampled_from(
            ["<think>", "</think>", "<retrieve>", "</retrieve>", "<answer>", "</answer>", "1,2"]
        )
        | st.text(max_size=8),
        max_size=8,
    ),
    truncated=st.booleans(),
)
def test_whatever_is_read_is_a_value(
    grammar: RetrievalFormat, pieces: list[str], truncated: bool
) -> None:
    text = "".join(pieces)
    read = grammar.read(text, truncated)
    assert isinstance(read, Retrieve | Answer | Malformed)
    if isinstance(read, Malformed):
        assert read.text == text
    else:
        assert grammar.read(grammar.write(read)) == read


@pytest.mark.parametrize("mark", [*STRUCTURAL_MARKS, "zebra", "<retrieve>", "7341"])
@pytest.mark.parametrize(
    "shape",
    ["{}", "<think>{}", "<retrieve>{}</retrieve>", "<answer>{}</answer>", "{}<think>a</think>"],
)
def test_a_reason_quotes_nothing_of_what_was_said(mark: str, shape: str) -> None:
    """It is shown to the policy: a chat server would refuse its own marks."""
    for grammar in (CHOICE, SECONDS, RetrievalFormat(9, letters="A", thinking="required")):
        for truncated in (False, True):
            assert mark not in reason(grammar, shape.format(mark), truncated)


def test_why_a_range_cannot_be_shown() -> None:
    for grammar, start, end, why in (
        (CHOICE, 0, 63, ""),
        (CHOICE, 7, 7, ""),
        (CHOICE, 8, 7, "ends before"),
        (CHOICE, -1, 7, "within 0 and 63"),
        (CHOICE, 0, 64, "within 0 and 63"),
        (CHOICE, 0.5, 7, "whole"),
        (CHOICE, 0, 7.5, "whole"),
        (SECONDS, 0.5, 7.5, ""),
        (SECONDS, 0, 150.07, ""),
        (SECONDS, 0, 150.08, "within 0 and 150"),
        (SECONDS, -0.5, 7, "within 0 and 150"),
    ):
        found = grammar.why_not(start, end)
        assert (why in found) == bool(found) or not why, (grammar, start, end, found)
        assert bool(found) == bool(why)


def test_what_the_grammar_does_not_have_cannot_be_written() -> None:
    assert CHOICE.silence_text is None
    for action in (Silence(), Reply("A man.")):
        with pytest.raises(ValueError, match=f"not {type(action).__name__}"):
            CHOICE.write(action)
    for action in (Retrieve(0, 64), Retrieve(0.5, 2), Retrieve(-1, 2), Answer("E"), Answer("a")):
        with pytest.raises(ValueError, match="cannot be written"):
            CHOICE.write(action)
    assert CHOICE.write(Malformed("<answer>", "unclosed")) == "<answer>"


@pytest.mark.parametrize(
    "bad",
    [
        {"last": -1},
        {"last": 63.5},
        {"last": float("nan")},
        {"last": float("inf")},
        {"last": float("inf"), "unit": "seconds"},
        {"unit": "minutes"},
        {"thinking": "never"},
        {"letters": "abc"},
        {"letters": "ACB"},
        {"letters": LETTERS + "A"},
        {"max_answer_characters": 0},
    ],
)
def test_a_grammar_that_cannot_be_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=re.escape(repr(next(iter(bad.values()))))):
        RetrievalFormat(**{"last": 63, **bad})
    assert RetrievalFormat(0, max_answer_characters=1).instruction
    assert set(get_args(Unit)) == {"frames", "seconds"}
