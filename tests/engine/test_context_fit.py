"""A dialogue that does not fit: known before it begins, or bounded at the moment the model is
full."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from oncue import cli
from oncue.engine.context_fit import positions_if_silent
from oncue.engine.engine import Engine, SamplingParams, Window
from oncue.engine.session import EngineSession
from oncue.errors import ContextFullError
from oncue.model.loading import load_model
from oncue.render.decision import DecisionName
from oncue.render.positions import mrope_positions
from oncue.render.qwen_vl import PROACTIVE_SYSTEM
from oncue.types import EnvTurn, FrameBatch, PolicyTurn, Silence
from oncue.video.writer import write_video
from policy_support import say
from tiny_model import build_tiny_model, random_turn

SHORT = SamplingParams(max_new_tokens=4)


def texts(num_turns: int) -> list[EnvTurn]:
    return [EnvTurn(FrameBatch.empty(), k + 1.0, "?" * (k % 3 + 1)) for k in range(num_turns)]


@pytest.mark.parametrize("decision_name", ["text", "token"])
@pytest.mark.parametrize("lookahead", [0, 3])
def test_a_full_model_is_bounded_from_then_on(
    tmp_path: Path, decision_name: DecisionName, lookahead: int, caplog: pytest.LogCaptureFixture
) -> None:
    num_positions = {"text": 330, "token": 235}[decision_name]
    folder = build_tiny_model(tmp_path, max_position_embeddings=num_positions)
    loaded = load_model(folder, device="cpu", decision_name=decision_name)
    shown, window = texts(24), Window(loaded.max_prefix_tokens, when_full=True)
    with Engine(loaded, SHORT, window=window, lookahead=lookahead) as engine:
        bounded, context_ids = say(engine, shown)
    assert len(context_ids) <= num_positions
    assert caplog.text.count("is full at") == 1
    alone: list[PolicyTurn] = []

    async def until_full(session: EngineSession) -> None:
        for turn in shown:
            alone.append(await session.respond(turn))

    with (
        Engine(loaded, SHORT) as unbounded,
        unbounded.open() as session,
        pytest.raises(ContextFullError),
    ):
        asyncio.run(until_full(session))
    assert 5 < len(alone) < 20
    assert [turn.token_ids for turn in bounded[: len(alone)]] == [
        turn.token_ids for turn in alone
    ]  # nothing was cut
    assert f"is full at {len(alone) + 1} s" in caplog.text


@pytest.mark.parametrize("decision_name", ["text", "token"])
@pytest.mark.parametrize("num_frames", [1, 3])
def test_the_positions_of_a_silent_dialogue_are_known_before(
    tmp_path: Path, decision_name: DecisionName, num_frames: int
) -> None:
    loaded = load_model(build_tiny_model(tmp_path), device="cpu", decision_name=decision_name)
    renderer, random = loaded.renderer, np.random.default_rng(0)
    question = "Tell me whenever something moves."
    shown = [random_turn(random, k + 1.0, num_frames, question * (k == 2)) for k in range(9)]
    with Engine(loaded) as engine, engine.open(PROACTIVE_SYSTEM) as session:
        for turn in shown:
            session.replay(turn, Silence())
        grids = [
            renderer.frame_processor.grid(*frame.shape[:2])
            for turn in shown
            for frame in turn.frames.pixels
        ]
        _, end = mrope_positions(
            session.context_ids, grids, renderer.image_pad_id, renderer.merge_size, 0
        )
    height_px, width_px = shown[0].frames.pixels.shape[1:3]
    needed = positions_if_silent(
        renderer, PROACTIVE_SYSTEM, [question], 9, num_frames, (height_px, width_px)
    )
    assert abs(needed - end) <= 3  # what leads the first turn is counted as that of the others


@pytest.fixture
def long_clip(tmp_path: Path) -> Path:
    """24 seconds of video."""
    path = tmp_path / "clip.mp4"
    write_video(path, (np.full((64, 96, 3), k % 200, np.uint8) for k in range(24)), 1.0)
    return path


def test_a_file_that_is_too_long_is_bounded_before_the_first_turn(
    tmp_path: Path, long_clip: Path, capsys
) -> None:
    folder = build_tiny_model(tmp_path / "small", max_position_embeddings=400)
    words = [
        "watch",
        str(long_clip),
        "--ask",
        "What changes?",
        "--model",
        str(folder),
        "--max-new-tokens",
        "4",
    ]
    assert cli.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("24 turns need about")
    assert "bounded at 398 tokens" in lines[0]
    assert "watched 24 turns" in lines[-1]
    assert cli.main([*words, "--context-tokens", "300"]) == 0
    assert "turns need" not in capsys.readouterr().out  # what was asked for holds
    assert cli.main([*words, "--frame-interval-s", "4"]) == 0
    assert "turns need" not in capsys.readouterr().out  # 6 turns fit


def test_a_file_that_is_longer_than_it_says_is_bounded_when_the_model_is_full(
    tmp_path: Path,
    long_clip: Path,
    capsys,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = build_tiny_model(tmp_path / "small", max_position_embeddings=400)
    monkeypatch.setattr("oncue.engine.context_fit.positions_if_silent", lambda *_: 1)
    words = [
        "watch",
        str(long_clip),
        "--ask",
        "What changes?",
        "--model",
        str(folder),
        "--max-new-tokens",
        "4",
    ]
    assert cli.main(words) == 0
    assert "watched 24 turns" in capsys.readouterr().out
    assert caplog.text.count("from now on it is bounded at 398 tokens") == 1
