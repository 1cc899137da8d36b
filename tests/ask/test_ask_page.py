"""The page and the stored episode that `oncue ask --out` leaves, and the frames it is made from."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from ask_support import ANSWER, LOOK, ask, says, text_of, values_of
from hypothesis import given, settings
from hypothesis import strategies as st

from oncue.ask.preparation import shrink_for
from oncue.errors import InputError
from oncue.policy.open_policy import LocalModel, Script, ServerModel
from oncue.records.retrieval_rollouts import read_retrieval_rollouts
from oncue.render.images import FrameProcessor
from oncue.render.shrink import shrink_by
from oncue.types import Answer, Retrieve
from openai_server import OpenAIServer

NASTY = "</script><script>alert(1)</script><!-- <b>&amp;\u2028 {{slot}}"


class Loads(HTMLParser):
    """What a page loads, and its title."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.num_scripts = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.num_scripts += tag == "script"
        self.loads += [v or "" for name, v in attrs if name in ("src", "href", "srcset", "data")]


def test_the_page_holds_all_that_was_seen_asked_and_said(clip, tmp_path, capsys) -> None:
    with OpenAIServer(says(LOOK, "no tags", ANSWER)) as server:
        assert ask(clip, server, "--out", str(tmp_path)) == 0
    assert "wrote" in capsys.readouterr().out
    page = (tmp_path / "index.html").read_text()
    values = values_of(page)
    assert values["title"] == "six seconds.mp4"
    assert "watcher" in values["facts"][0]
    (episode,) = values["episodes"]
    assert (episode["question"], episode["options"]) == ("Which cup?", ["A. red", "B. blue"])
    assert (episode["chosen"], episode["chosen_option"], episode["is_right"]) == ("B", 1, None)
    assert (episode["duration_s"], episode["num_frames"], episode["gold"]) == (6.0, 128, None)
    assert [turn["action"]["kind"] for turn in episode["turns"]] == [
        "retrieve",
        "malformed",
        "answer",
    ]
    first, second, third = episode["turns"]
    assert first["action"]["span"] == pytest.approx([1.875, 3.75])
    assert first["thought"] == "It is not clear yet."
    assert [f["index"] for f in first["frames"]] == [int(i) for i in np.linspace(0, 127, 16)]
    assert [f["index"] for f in second["frames"]] == [40, 45, 51, 56, 62, 67, 73, 79]
    assert third["frames"] == []  # nothing was asked for
    pictures = [f["frame"] for turn in episode["turns"] for f in turn["frames"]]
    pictures += [still["frame"] for still in episode["film"]]
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in pictures)
    assert len(episode["film"]) == 48
    assert [s["time_s"] for s in episode["film"]] == sorted(s["time_s"] for s in episode["film"])
    assert second["action"] == {"kind": "malformed", "text": "no tags"} | {
        "reason": second["action"]["reason"]
    }


def test_texts_are_shown_as_text_and_nothing_is_loaded(clip, tmp_path, capsys) -> None:
    said = f"<think>{NASTY}</think><answer>{NASTY}</answer>"  # tags within an answer: malformed
    with OpenAIServer(says(said)) as server:
        flags = ["--out", str(tmp_path), "--options", NASTY, f"other {NASTY}"]
        assert ask(clip, server, *flags, question=NASTY) == 1
    capsys.readouterr()
    page = (tmp_path / "index.html").read_text()
    episode = values_of(page)["episodes"][0]
    assert (episode["question"], episode["options"][0]) == (NASTY, f"A. {NASTY}")
    assert {turn["thought"] for turn in episode["turns"]} == {NASTY}
    assert episode["turns"][0]["action"]["text"] == said
    found = Loads(page)
    assert (found.loads, found.num_scripts) == ([], 2)


def test_half_a_character_of_a_server_leaves_an_episode_that_can_be_read(
    clip, tmp_path, capsys
) -> None:
    """A server may cut a character that needs two: its halves come one by one, or one is lost."""
    look = "<think>\ud83d, \ud83d\ude00, \ude00</think><retrieve>40,79</retrieve>"
    script = says(look, ANSWER)
    with OpenAIServer(lambda messages: [*"".join(script(messages))]) as server:
        assert ask(clip, server, "--json", "--out", str(tmp_path)) == 0
        said = text_of(server.bodies[1]["messages"][-2])
    thought = "\ufffd, \U0001f600, \ufffd"
    assert said == f"<think>{thought}</think><retrieve>40,79</retrieve>"
    assert json.loads(capsys.readouterr().out.splitlines()[0])["thought"] == thought
    (stored,) = read_retrieval_rollouts(tmp_path / "episode.jsonl")
    assert stored.rollout.turns[0].thought == thought


def test_the_stored_episode_is_one_that_rewards_read(clip, tmp_path, capsys) -> None:
    with OpenAIServer(says(LOOK, ANSWER)) as server:
        assert ask(clip, server, "--out", str(tmp_path)) == 0
    capsys.readouterr()
    (stored,) = read_retrieval_rollouts(tmp_path / "episode.jsonl")
    assert stored.episode_id == str(clip)
    rollout = stored.rollout
    assert (rollout.question, rollout.options) == ("Which cup?", ("red", "blue"))
    assert (rollout.answer, rollout.evidence, rollout.duration_s) == (None, None, 6.0)
    assert [turn.action for turn in rollout.turns] == [Retrieve(40, 79), Answer("B")]
    assert rollout.turns[0].asked == rollout.turns[1].indices
    beside = json.loads((tmp_path / "episode.jsonl").read_text())
    assert (beside["video"], beside["pool_frames"], beside["unit"]) == (str(clip), 128, "frames")


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 900),
    st.integers(1, 900),
    st.sampled_from([4 * 784, 20_000, 100_352, 10**7]),
    st.integers(0, 2**32 - 1),
)
def test_a_frame_made_small_is_shown_to_the_model_as_it_would_be(height, width, most, seed) -> None:
    frames = FrameProcessor(max_pixels=most)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    shrink = shrink_by(frames)
    try:
        shown = np.asarray(frames.resized(pixels))
    except InputError:
        with pytest.raises(InputError):
            shrink(pixels)
        return
    small = shrink(pixels)
    assert np.array_equal(np.asarray(frames.resized(small)), shown)


def test_a_strip_that_would_be_made_smaller_twice_is_left_alone() -> None:
    frames = FrameProcessor(max_pixels=20_000)
    strip = np.zeros((20, 3000, 3), np.uint8)
    once = np.asarray(frames.resized(strip))
    assert np.asarray(frames.resized(once)).shape != once.shape  # what the next line is for
    assert shrink_by(frames)(strip) is strip


def test_frames_are_as_small_as_the_model_sees_them(tiny_model_folder) -> None:
    pixels = np.zeros((720, 1280, 3), np.uint8)
    server = shrink_for(ServerModel("http://localhost:1"))
    local = shrink_for(LocalModel(str(tiny_model_folder), max_pixels=28 * 28 * 8))
    assert server is not None
    assert local is not None
    assert server(pixels).shape == (224, 420, 3)
    assert local(pixels).size <= 28 * 28 * 8 * 3
    assert shrink_for(Script(lambda _: None)) is None  # type: ignore[arg-type,return-value]
