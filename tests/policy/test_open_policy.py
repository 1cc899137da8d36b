"""`open_policy`: whatever the spec, sessions answer alike in the one loop, and all is closed in the
end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from oncue.clock import Clock
from oncue.engine.engine import SamplingParams, Window
from oncue.env.streaming import StreamingEnv
from oncue.errors import ConfigError, ModelError
from oncue.model.loading import LoadedModel, load_model
from oncue.policy.open_policy import (
    LocalModel,
    Policy,
    PolicySpec,
    Provenance,
    Script,
    ServerModel,
    open_policy,
)
from oncue.policy.scripted import ScriptedPolicy
from oncue.render.markup import PROACTIVE_SYSTEM
from oncue.rollout import run_episode
from oncue.scoring.metrics import Transcript
from oncue.types import EnvTurn, FrameBatch, PolicySession, Task
from oncue.world.clip import make_clip
from openai_server import Json, OpenAIServer

CLIP = make_clip("shapes", "train", 0)
SHORT = SamplingParams(max_new_tokens=32)


class ClipSource:
    """The frames of the clip, one per second."""

    frame_interval_s = 1.0

    def __init__(self) -> None:
        clock = Clock(1.0)
        frames = enumerate(CLIP.grid_frames(clock), 1)
        self.batches = [
            FrameBatch(pixels[None], np.array([clock.time_of(k)])) for k, pixels in frames
        ]

    def read(self) -> FrameBatch | None:
        return self.batches.pop(0) if self.batches else None

    def close(self) -> None:
        pass


def said_by(policy: Policy[PolicySession], seed: int | None = None) -> Transcript:
    async def go() -> Transcript:
        env = StreamingEnv(ClipSource(), CLIP.task.questions)
        episode = await run_episode(env, policy.open(CLIP.task, seed=seed), CLIP.task)
        await env.close()
        await policy.disconnect()
        return Transcript.of(episode)

    return asyncio.run(go())


def said_of(spec: PolicySpec) -> Transcript:
    with open_policy(spec) as policy:
        return said_by(policy)


@pytest.fixture(scope="module")
def mini() -> LoadedModel:
    return load_model("mini", "cpu")


@pytest.fixture(scope="module")
def said(mini: LoadedModel) -> Transcript:
    return said_of(LocalModel(mini, sampling=SHORT))


def test_all_kinds_of_policies_answer_alike_in_the_one_loop(said: Transcript) -> None:
    texts = {reply.time_s: reply.text for reply in said.replies}
    assert 0 < len(texts) < said.num_turns, (
        "a clip on which the model does both: speak and stay silent"
    )

    def repeated(messages: Sequence[Json]) -> Sequence[str]:
        turn = sum(message["role"] == "user" for message in messages)
        text = texts.get(float(turn), "NO REPLY")
        return [text[:2], text[2:]]

    assert said_of(LocalModel("mini", "cpu", sampling=SHORT)) == said
    assert said_of(Script(lambda _: ScriptedPolicy(texts))) == said
    with OpenAIServer(repeated) as server:
        assert said_of(ServerModel(server.url)) == said
        assert server.bodies[0]["messages"][0]["content"] == PROACTIVE_SYSTEM
    assert said_of(Script(lambda _: ScriptedPolicy({}))) != said  # the control


def test_a_script_sees_the_task() -> None:
    seen: list[Task | None] = []
    with open_policy(Script(lambda task: seen.append(task) or ScriptedPolicy({}))) as policy:
        policy.open(CLIP.task)
        policy.open()
    assert seen == [CLIP.task, None]


class Counting(ScriptedPolicy):
    num_closed = 0

    def close(self) -> None:
        Counting.num_closed += 1


TURN = EnvTurn(FrameBatch.empty(), 1.0, "Hi?")


def test_what_was_opened_is_closed(mini: LoadedModel) -> None:
    with open_policy(LocalModel(mini, sampling=SHORT)) as local:
        left = local.open()
        local.open().close()
        asyncio.run(left.respond(TURN))
        assert local.engine.num_open == 1
    assert (local.engine.num_open, local.engine.num_slots_taken) == (0, 0)
    with local.engine.open() as late, pytest.raises(RuntimeError, match="engine is closed"):
        asyncio.run(late.respond(TURN))
    with open_policy(Script(lambda _: Counting({}))) as script:
        kept = script.open()
    assert (Counting.num_closed, type(kept)) == (1, Counting)
    with open_policy(ServerModel("http://localhost:1", "m")) as server:
        dialogue = server.open()
    with pytest.raises(RuntimeError, match="session is closed"):
        asyncio.run(dialogue.respond(TURN))
    for policy in (local, script, server):
        policy.close()  # twice is fine
        with pytest.raises(RuntimeError, match="open_policy"):
            policy.open()


def test_it_is_closed_after_an_error_too(mini: LoadedModel) -> None:
    policy, left = open_policy(LocalModel(mini)), []

    def break_off() -> None:
        with policy:
            left.append(policy.open())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert policy.engine.num_open == 0


def test_connections_are_closed_in_the_event_loop_they_belong_to() -> None:
    async def go(policy: Policy[PolicySession]) -> None:
        await policy.open().respond(TURN)
        client = policy.server.client._client
        assert not client.is_closed()
        await policy.disconnect()
        assert client.is_closed()

    with (
        OpenAIServer(lambda _: ("NO", " REPLY")) as server,
        open_policy(ServerModel(server.url)) as policy,
    ):
        asyncio.run(go(policy))


def test_each_session_has_its_system_message_seed_and_window(tiny_loaded: LoadedModel) -> None:
    warm = SamplingParams(temperature=1.5, max_new_tokens=6)
    with open_policy(LocalModel(tiny_loaded, sampling=warm)) as policy:
        one, again, other = (said_lines(policy, seed) for seed in (1, 1, 2))
        assert one == again != other
        with policy.open(system="Watch.") as session, policy.open() as usual:
            expected = tiny_loaded.renderer.system_block("Watch.").token_ids.tolist()
            assert list(session.context_ids) == expected != list(usual.context_ids)
        with pytest.raises(ConfigError, match="is too long for"):
            policy.open(window=Window(100_000))


def said_lines(policy: Policy[PolicySession], seed: int) -> tuple[int, ...]:
    with policy.open(seed=seed) as session:
        return asyncio.run(session.respond(TURN)).token_ids


@pytest.mark.parametrize(
    ("spec", "error", "complaint"),
    [
        (3, ConfigError, "a LocalModel, a ServerModel or a Script, got 3"),
        ("mini", ConfigError, "got 'mini'"),
        (LocalModel("no such folder"), ModelError, "no model folder"),
        (LocalModel("mini", "cpu", graph_tokens=100), ConfigError, "needs a CUDA device, got cpu"),
        (LocalModel("mini", "cpu", window=Window(100_000)), ConfigError, "too long for mini"),
        (ServerModel("localhost:8000"), ConfigError, "no address of a server"),
    ],
)
def test_a_spec_that_cannot_be_is_one_clear_error(spec, error, complaint) -> None:
    with pytest.raises(error, match=complaint) as raised:
        open_policy(spec)
    assert "\n" not in str(raised.value)


def test_settings_of_a_loaded_model_are_settled(mini: LoadedModel) -> None:
    for settings in ({"device": "cpu"}, {"dtype": "float32"}, {"max_pixels": 5000}):
        with pytest.raises(ConfigError, match="are settled"):
            LocalModel(mini, **settings)


def test_provenance_says_how_it_ran(mini: LoadedModel) -> None:
    pixels = mini.renderer.frame_processor.max_pixels
    for window, bound in ((None, None), (Window(300), 300), (Window(300, when_full=True), None)):
        with open_policy(LocalModel(mini, window=window)) as policy:
            ran = Provenance("mini", None, "cpu", "float32", pixels, bound)
            assert (policy.provenance, policy.name) == (ran, "mini")
    with open_policy(ServerModel("http://localhost:1/v1", "m")) as policy:
        shown = policy.provenance.as_json()
    assert (shown["server"], shown["device"], policy.name) == ("http://localhost:1/v1", None, "m")


def test_opening_a_script_needs_no_torch() -> None:
    code = (
        "import sys; from oncue.policy.open_policy import *; from oncue.policy.scripted import *\n"
        "open_policy(Script(lambda _: SilentPolicy())).open()\n"
        "sys.exit(sum(name in sys.modules for name in ('torch', 'transformers', 'openai', 'av')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
