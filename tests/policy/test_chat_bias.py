"""The reply bias on a chat server: the log-odds of the first token, as far as the server lists
them."""

from __future__ import annotations

import math

import pytest
from chat_support import SILENT, SPOKEN, scripted, talk, turns

from oncue.errors import ConfigError
from oncue.policy.chat_opening import biased_token
from oncue.policy.chat_server import ChatServer, ServerOptions
from oncue.types import Reply, Silence
from openai_server import POSSIBLE, PROBABLE, SILENCE_ID, UNLIKELY, Json, OpenAIServer

SILENT_ODDS = math.log(POSSIBLE / PROBABLE)  # of replying, where the server would be silent
SPOKEN_ODDS = math.log(PROBABLE / UNLIKELY)


class Forced(OpenAIServer):
    """Goes on with "A" where a message is begun that way, though its script is silent."""

    def _tokens(self, body: Json) -> list[str]:
        *before, last = body["messages"]
        begun = last["role"] == "assistant" and last["content"] == "A"
        if begun and tuple(self.script(before)) == SILENT and self.continuation == "honoured":
            return [" forced", " reply", "."]
        return super()._tokens(body)


def actions(server: OpenAIServer, bias: float, *, num_turns: int = 3) -> list:
    options = ServerOptions(reply_bias=bias, silence_token_ids=(SILENCE_ID,))
    if bias > 0:
        options = ServerOptions(reply_bias=bias)
    return [
        turn.action for turn in talk(ChatServer(server.url, "watcher", options), turns(num_turns))
    ]


@pytest.mark.parametrize(
    ("bias", "spoken"), [(-SPOKEN_ODDS + 0.01, True), (-SPOKEN_ODDS - 0.01, False)]
)
def test_below_0_a_reply_must_be_likelier(bias, spoken) -> None:
    with Forced(scripted(SPOKEN, SILENT, SPOKEN)) as server:
        said = actions(server, bias)
    reply = Reply("A man comes in.") if spoken else Silence()
    assert said == [reply, Silence(), reply]


@pytest.mark.parametrize(
    ("bias", "spoken"), [(-SILENT_ODDS + 0.01, True), (-SILENT_ODDS - 0.01, False)]
)
def test_above_0_the_likeliest_reply_is_begun(bias, spoken) -> None:
    with Forced(scripted(SILENT, SPOKEN, SILENT)) as server:
        said = actions(server, bias)
    forced = Reply("A forced reply.") if spoken else Silence()
    assert said == [forced, Reply("A man comes in."), forced]


@pytest.mark.parametrize("continuation", ["ignored", "refused"])
def test_a_server_that_continues_nothing_cannot_be_made_to_speak(continuation) -> None:
    with (
        Forced(scripted(SILENT), continuation=continuation) as server,
        pytest.raises(ConfigError, match="does not continue a message"),
    ):
        actions(server, 5.0)


def test_it_can_be_made_silent() -> None:
    with Forced(scripted(SPOKEN, SPOKEN), continuation="refused") as server:
        assert actions(server, -9.0, num_turns=2) == [Silence(), Silence()]
        assert actions(server, -1.0, num_turns=2) == [Reply("A man comes in.")] * 2


def test_a_server_without_probabilities_is_refused() -> None:
    fields = frozenset(("model", "messages", "max_tokens", "temperature", "stream"))
    with (
        OpenAIServer(scripted(SPOKEN), fields=fields) as server,
        pytest.raises(ConfigError, match="needs the probabilities of the first token"),
    ):
        actions(server, -1.0)


@pytest.mark.parametrize(
    ("probs", "bias", "expected"),
    [
        ({"NO": 0.9, "A": 0.1}, 2.0, "NO"),
        ({"NO": 0.9, "A": 0.1}, 2.3, "A"),
        ({"NO": 0.9, " A": 0.1, "\ufffd": 0.05}, 9.0, " A"),
        ({"A": 0.9, "NO": 0.1}, -2.3, "NO"),
        ({"A": 0.9, "The": 0.1}, -9.0, None),  # how likely silence was, nobody says
        ({"NO": 0.9, "N": 0.1}, 9.0, None),  # what N begins, nobody knows
        ({"NO": 0.9, " ": 0.1}, 9.0, None),
        ({"NO": 1.0, "A": 0.0}, 9.0, "NO"),
    ],
)
def test_which_token_begins_a_turn(probs: dict[str, float], bias: float, expected) -> None:
    assert biased_token(probs, "NO REPLY", bias) == expected
