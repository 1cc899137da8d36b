"""Law 4: reading what was written gives the same action, and what an instruction names can be
read."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncue.render.actions import TextFormat
from oncue.render.markup import PROACTIVE_SYSTEM
from oncue.types import Action, Answer, Malformed, Reply, Retrieve, Silence

FORMAT = TextFormat()


@settings(deadline=None)
@given(text=st.text(), truncated=st.booleans())
def test_reading_a_written_reply_gives_it_back(text: str, truncated: bool) -> None:
    action = Reply(text, truncated)
    if isinstance(FORMAT.read(text, truncated), Reply):
        assert FORMAT.read(FORMAT.write(action), truncated) == action
    else:
        with pytest.raises(ValueError, match="words of its own"):
            FORMAT.write(action)


def test_reading_written_silence_gives_silence() -> None:
    assert FORMAT.write(Silence()) == "NO REPLY"
    assert FORMAT.read(FORMAT.write(Silence())) == Silence()


@pytest.mark.parametrize("text", ["NO REPLY", " NO REPLY\n", "\tNO REPLY"])
def test_silence_is_equality_of_the_stripped_text(text: str) -> None:
    assert FORMAT.read(text) == Silence()


@pytest.mark.parametrize(
    "text", ["NO", "No reply", "NO REPLY.", "NOTE the door", "NO one is here", "NO  REPLY"]
)
def test_silence_is_no_prefix_and_no_likeness(text: str) -> None:
    assert FORMAT.read(text) == Reply(text)


@pytest.mark.parametrize("text", ["N", "NO", " NO ", "NO REPL"])
def test_what_the_limit_cut_off_within_silence_is_no_reply(text: str) -> None:
    read = FORMAT.read(text, truncated=True)
    assert isinstance(read, Malformed)
    assert (read.text, "allow more tokens" in read.reason) == (text, True)
    assert FORMAT.read(text) == Reply(text)  # control: a turn that ends like that says it
    assert FORMAT.read("NO REPLY", truncated=True) == Silence()
    assert FORMAT.read(text + "w", truncated=True) == Reply(text + "w", truncated=True)


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_turn_is_malformed_not_silent(text: str) -> None:
    assert FORMAT.read(text) == Malformed(text, "the turn is empty")


def test_a_malformed_turn_is_written_as_it_was_sampled() -> None:
    assert FORMAT.write(Malformed(" ", "the turn is empty")) == " "


@pytest.mark.parametrize(
    "thought",
    [
        "<think>\n\n</think>\n\n",
        "<think>Is it NO REPLY?</think>",
        "I see nothing.\n</think>\n",
        "<think>a</think>b</think>",
    ],
)
def test_an_answer_is_read_behind_the_thoughts(thought: str) -> None:
    assert FORMAT.read(f"{thought}NO REPLY") == Silence()
    assert FORMAT.read(f"{thought}A man. ") == Reply("A man. ")
    assert FORMAT.read(f"{thought}A man", truncated=True) == Reply("A man", truncated=True)
    assert isinstance(FORMAT.read(thought), Malformed)
    assert isinstance(FORMAT.read(f"{thought}NO", truncated=True), Malformed)


@pytest.mark.parametrize(
    "text", ["<think>A man", "<think>NO REPLY", "<think>", "a</think><think>b", "A man.<think>Or"]
)
def test_a_turn_that_ends_within_a_thought_says_nothing(text: str) -> None:
    cut, ended = FORMAT.read(text, truncated=True), FORMAT.read(text)
    assert isinstance(cut, Malformed)
    assert isinstance(ended, Malformed)
    assert (cut.text, "--max-new-tokens" in cut.reason, "tokens" in ended.reason) == (
        text,
        True,
        False,
    )


def test_a_reply_with_a_thought_in_it_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="leave thoughts out"):
        FORMAT.write(Reply("<think>Someone?</think>A man."))


def test_what_the_instruction_of_plain_replies_names_is_silence() -> None:
    for grammar in (FORMAT, TextFormat("nothing")):
        (named,) = re.findall(r'"(.+)"', grammar.instruction)
        assert grammar.read(named) == Silence()
    assert PROACTIVE_SYSTEM.endswith(FORMAT.instruction)


@pytest.mark.parametrize("action", [Retrieve(1, 2), Answer("B")])
def test_plain_replies_cannot_state_what_they_have_no_words_for(action: Action) -> None:
    with pytest.raises(ValueError, match=f"plain replies have no {type(action).__name__}"):
        FORMAT.write(action)
