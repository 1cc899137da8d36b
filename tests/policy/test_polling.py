"""An ordinary model as a policy of streams: when it is asked, what it is shown, and what becomes of
its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from oncue.errors import ConfigError, DataError
from oncue.eval.streams.policies import Contender
from oncue.policy.open_policy import LocalModel, ServerModel, open_policy
from oncue.policy.polling import LeakingPollingSession, PollingSession, asking
from oncue.render.actions import FreeText
from oncue.types import (
    Action,
    EnvTurn,
    FrameBatch,
    GoldTurn,
    Malformed,
    Question,
    Reply,
    Silence,
    Task,
    TimeSpan,
)
from openai_server import Json, OpenAIServer

TASK = Task(
    "t", (Question("When is it light?", 1.5),), (GoldTurn("Light now", TimeSpan(3.0, 4.0)),)
)


class Model:
    """Answers polls as `polls` has it by the time of the turn, and says "It is N." when asked what;
    keeps what it was asked."""

    def __init__(self, polls: dict[float, str]) -> None:
        self.polls, self.asked = polls, list[EnvTurn]()

    async def __call__(self, turn: EnvTurn) -> Action:
        self.asked.append(turn)
        if "yes or no" in turn.text:
            said = self.polls.get(turn.clock_s, "No.")
            return Reply(said) if said else Malformed("", "the turn is empty")
        return Reply(f"It is {len(self.asked)}.")


def shown(number: int, text: str = "") -> EnvTurn:
    pixels = np.full((1, 4, 6, 3), number, np.uint8)
    return EnvTurn(FrameBatch(pixels, np.array([number - 0.5])), float(number), text)


def held(session, num_turns: int, asked_at: int = 2) -> list[Action]:
    async def hold() -> list[Action]:
        texts = {asked_at: TASK.questions[0].text}
        turns = [shown(k, texts.get(k, "")) for k in range(1, num_turns + 1)]
        return [(await session.respond(turn)).action for turn in turns]

    return asyncio.run(hold())


def numbers(turn: EnvTurn) -> list[int]:
    return [int(pixels[0, 0, 0]) for pixels in turn.pictures]


def test_it_is_polled_from_the_question_on_and_answers_where_it_says_yes() -> None:
    model = Model({3.0: "Yes, now", 4.0: "no", 5.0: "yes.", 6.0: "Not yes"})
    said = held(PollingSession(model, num_frames=2), 6)
    assert said == [
        Silence(),
        Silence(),
        Reply("It is 3."),
        Silence(),
        Reply("It is 6."),
        Silence(),
    ]
    assert [turn.clock_s for turn in model.asked] == [2.0, 3.0, 3.0, 4.0, 5.0, 5.0, 6.0]
    assert numbers(model.asked[0]) == [1, 2]
    assert numbers(model.asked[-1]) == [5, 6]  # the newest two
    assert all("When is it light?" in turn.text for turn in model.asked)
    assert "It is 3." not in model.asked[2].text
    assert all("It is 3." in turn.text for turn in model.asked[3:])  # it knows what it said


def test_a_poll_without_an_answer_is_no_yes_and_an_answer_without_text_is_malformed() -> None:
    model = Model({3.0: ""})
    assert held(PollingSession(model, 1), 4) == [Silence()] * 4

    async def empty(turn: EnvTurn) -> Action:
        return Reply("yes") if "yes or no" in turn.text else Malformed("", "the turn is empty")

    assert isinstance(held(PollingSession(empty, 1), 2)[-1], Malformed)


def test_the_leaking_form_names_the_gold_output_and_stops_at_the_first_yes() -> None:
    model = Model({3.0: "well, YES", 4.0: "yes"})
    said = held(LeakingPollingSession(model, 8, TASK), 5)
    assert said == [Silence(), Silence(), Reply("It is 3."), Silence(), Silence()]
    assert [turn.clock_s for turn in model.asked] == [2.0, 3.0, 3.0]
    assert all('"Light now"' in turn.text for turn in model.asked[:2])
    assert model.asked[2].text == "When is it light?"
    assert numbers(model.asked[1]) == [2, 3]  # the clip begins with the question


def test_the_leaking_form_is_not_polled_before_time_has_passed() -> None:
    task = Task("t", (Question("When?", 2.0),), TASK.gold)
    model = Model({})
    held(LeakingPollingSession(model, 8, task), 4)
    assert [turn.clock_s for turn in model.asked] == [3.0, 4.0]
    with pytest.raises(DataError, match="no gold output"):
        LeakingPollingSession(model, 8, Task("t", TASK.questions))


def test_a_server_is_polled() -> None:
    def script(messages: Sequence[Json]) -> Sequence[str]:
        assert len(messages) == 2  # each poll is a dialogue of its own
        text = messages[-1]["content"][-1]["text"]
        polled = "yes or no" in text
        return ("Yes",) if polled and "3 s in" in text else ("No",) if polled else ("It", " is.")

    with OpenAIServer(script) as server, open_policy(ServerModel(server.url)) as policy:
        contender = Contender.named("polling", poll_frames=2)
        session = contender.session(policy, TASK, None, 0)

        async def hold() -> list[Action]:
            turns = [shown(k, TASK.questions[0].text if k == 2 else "") for k in range(1, 5)]
            said = [(await session.respond(turn)).action for turn in turns]
            await policy.disconnect()
            return said

        assert asyncio.run(hold()) == [Silence(), Silence(), Reply("It is."), Silence()]
        images = [
            sum(p["type"] == "image_url" for p in b["messages"][1]["content"])
            for b in server.bodies
        ]
        assert images == [2, 2, 2, 2]
        assert server.bodies[0]["messages"][0]["content"] == "You are a helpful assistant."


def test_a_local_model_is_polled(tiny_loaded) -> None:
    with open_policy(LocalModel(tiny_loaded)) as policy:
        turn = EnvTurn(
            FrameBatch(np.zeros((2, 56, 56, 3), np.uint8), np.arange(2.0)), 2.0, "Is it?"
        )
        said = asyncio.run(asking(policy, TASK, None, 0)(turn))
    assert isinstance(said, Reply | Malformed)


def test_a_model_that_decides_by_a_token_cannot_be_polled(tiny_token_loaded) -> None:
    with (
        open_policy(LocalModel(tiny_token_loaded)) as policy,
        pytest.raises(ConfigError, match="use a model with the text format"),
    ):
        asyncio.run(asking(policy, TASK, None, 0)(shown(1, "Is it?")))


@pytest.mark.parametrize(
    "action", [Reply("Yes."), Reply(" a\nb", truncated=True), Reply("NO REPLY")]
)
def test_free_text_is_read_as_it_was_written(action: Reply) -> None:
    assert FreeText().read(FreeText().write(action), action.truncated) == action


def test_free_text_has_no_silence_and_no_empty_answer() -> None:
    assert isinstance(FreeText().read(" "), Malformed)
    assert isinstance(FreeText().read("<think>hm", truncated=True), Malformed)
    assert FreeText().read("<think>hm</think>Yes.") == Reply("Yes.")
    with pytest.raises(ValueError, match="no Silence"):
        FreeText().write(Silence())
