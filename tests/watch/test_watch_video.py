"""`oncue.watch_video`: watching from Python."""

from __future__ import annotations

import numpy as np
import pytest

import oncue
from oncue.errors import ConfigError, InputError
from oncue.video.writer import write_video
from openai_server import OpenAIServer

ASK = "Tell me whenever something appears."


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, [np.full((64, 64, 3), 40 * k, np.uint8) for k in range(4)], 1.0)
    return str(path)


def test_replies_come_as_they_are_made_and_connections_are_closed(clip: str) -> None:
    made = []
    with OpenAIServer(lambda _: ("A", " box", ".")) as server:
        policy = oncue.open_policy(oncue.ServerModel(server.url))
        seen = oncue.watch_video(clip, [f"2: {ASK}"], policy, on_reply=made.append)
        assert server.all_disconnected()
        policy.close()
    assert [(reply.time_s, reply.text) for reply in made] == [(k, "A box.") for k in (1, 2, 3, 4)]
    assert list(seen.replies) == made
    assert [(question.time_s, question.text) for question in seen.questions] == [(2.0, ASK)]
    assert seen.summary.stop == "source_ended"


def test_a_model_without_a_window_goes_on_when_it_is_full(clip: str) -> None:
    with oncue.open_policy(oncue.LocalModel("mini")) as policy:
        window = policy.engine.window_when_full(16384)
        assert window.when_full
        assert window.max_tokens <= policy.engine.loaded.max_prefix_tokens
        assert oncue.watch_video(clip, [ASK], policy).summary.num_turns == 4
        assert policy.engine.num_open == 0


def test_what_cannot_be_watched(clip: str) -> None:
    with oncue.open_policy(oncue.Script(lambda _: pytest.fail("opened"))) as policy:
        with pytest.raises(ConfigError, match="frame_interval_s"):
            oncue.watch_video(clip, [ASK], policy, frame_interval_s=0.0)
        with pytest.raises(InputError, match="no such file"):
            oncue.watch_video("no such clip.mp4", [ASK], policy)
