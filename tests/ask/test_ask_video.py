"""`oncue.ask_video`: the same question from Python, and what it refuses."""

from __future__ import annotations

import pytest
from ask_support import ANSWER, LOOK, says

import oncue
from oncue.errors import ConfigError, InputError, ModelError
from oncue.types import TimeSpan
from openai_server import OpenAIServer


def test_an_answer_and_what_it_rests_on(clip) -> None:
    with OpenAIServer(says(LOOK, ANSWER)) as server:
        spec = oncue.ServerModel(server.url)
        asked = oncue.ask_video(str(clip), "Which cup?", spec, ["(A) red", "(B) blue"])
        assert server.all_disconnected()
    assert (asked.answer, asked.option) == ("B", "B. blue")
    assert asked.evidence == (TimeSpan(40 * 6 / 128, 80 * 6 / 128),)


def test_a_free_answer_may_be_as_long_as_that_of_the_command(clip) -> None:
    said = "It is the blue one, " * 24 + "I think."
    with OpenAIServer(says(f"<answer>{said}</answer>")) as server:
        asked = oncue.ask_video(str(clip), "Which cup?", oncue.ServerModel(server.url))
    assert asked.answer == said


@pytest.mark.parametrize(
    ("question", "options", "model", "error", "told"),
    [
        ("Which cup?", (), "mini", ModelError, "cannot retrieve"),
        (" ", (), "mini", InputError, "empty"),
        ("Which cup?", ("red",), "mini", ConfigError, "needs 2 to 26"),
        ("Which cup?", ("red", "\udcff"), "mini", InputError, "no text"),
    ],
)
def test_what_cannot_be_asked_is_said_before_the_video_is_read(
    question, options, model, error, told
) -> None:
    with pytest.raises(error, match=told):
        oncue.ask_video("no such film.mp4", question, oncue.LocalModel(model), options)
