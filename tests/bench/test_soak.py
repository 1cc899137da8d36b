"""The soak test finds nothing on a sound engine, and finds what is broken."""

from __future__ import annotations

import asyncio
import functools
import json

import pytest
import torch

from oncue.bench.soak import SoakCounts, SoakSettings, soak
from oncue.cli import main
from oncue.engine.engine import Engine
from oncue.engine.model_runner import ModelRunner, RowInput
from oncue.engine.session import SessionState
from oncue.model.loading import LoadedModel

SHORT = SoakSettings(duration_s=2.0, num_sessions=12, num_videos=3, num_turns=6, max_new_tokens=3)


@pytest.fixture
def few_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command with its own model, of fewer and shorter videos: it watches each alone first."""
    few = functools.partial(SoakSettings, num_videos=4, num_turns=10)
    monkeypatch.setattr("oncue.bench.soak.SoakSettings", few)


def run(loaded: LoadedModel) -> SoakCounts:
    return asyncio.run(soak(loaded, SHORT, seed=0))


def test_a_sound_engine(tiny_loaded: LoadedModel) -> None:
    counts = run(tiny_loaded)
    assert min(counts.fates.values()) > 0
    assert len(counts.fates) == 4
    assert counts.num_turns > 30
    assert (
        counts.num_wrong,
        counts.num_stuck,
        counts.num_slots_left,
        counts.num_sessions_left,
    ) == (0, 0, 0, 0)


def test_a_slot_that_is_never_given_back_is_seen(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Engine.release

    def forgets(self: Engine, state: SessionState) -> None:
        give_back, self._pool.give_back = self._pool.give_back, lambda _slot: None  # type: ignore[method-assign]
        release(self, state)
        self._pool.give_back = give_back  # type: ignore[method-assign]

    monkeypatch.setattr(Engine, "release", forgets)
    assert run(tiny_loaded).num_slots_left > 0


def test_an_engine_that_forgets_its_past_is_seen(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = Engine.submit

    async def forgetful(self: Engine, state: SessionState, observed: object) -> object:
        if self.num_open > 1:  # alone it is sound
            state.slot.states[:, :, :, : state.slot.length] = 0
        return await submit(self, state, observed)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "submit", forgetful)
    assert run(tiny_loaded).num_wrong > 0


def test_an_engine_that_fails_now_and_then_is_seen(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = ModelRunner.forward
    calls = iter(range(10**9))

    def failing(self: ModelRunner, rows: list[RowInput]) -> torch.Tensor:
        if self.pool.num_taken > 1 and next(calls) % 9 == 0:  # alone it is sound
            raise RuntimeError("CUDA error: as torch says it")
        return forward(self, rows)

    monkeypatch.setattr(ModelRunner, "forward", failing)
    counts = run(tiny_loaded)
    assert counts.num_failed > 0
    assert not counts.is_sound


@pytest.mark.usefixtures("few_videos")
def test_the_default_model_says_enough_to_show_what_goes_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control of the command as it is: everybody's past is wiped out before every turn but the
    first."""
    submit = Engine.submit

    async def forgetful(self: Engine, state: SessionState, observed: object) -> object:
        if self.num_open > 1:
            state.slot.states[:, :, :, : state.slot.length] = 0
        return await submit(self, state, observed)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "submit", forgetful)
    assert main(["bench", "soak", "--minutes", "0.05", "--sessions", "6", "--json"]) == 1
    figures = json.loads(capsys.readouterr().out)
    assert figures["num_answers"] > 10
    assert figures["num_wrong"] > 0


@pytest.mark.usefixtures("few_videos")
def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "soak", "--minutes", "0.03", "--sessions", "6", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["num_wrong"] == figures["num_stuck"] == figures["num_slots_left"] == 0
    assert main(["bench", "soak", "--minutes", "0"]) == 2
    assert main(["bench", "soak", "--sessions", "0"]) == 2


def test_answers_that_are_all_the_same_prove_nothing_and_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def dull(*_: object) -> SoakCounts:
        return SoakCounts(num_turns=9, num_answers=1)

    monkeypatch.setattr("oncue.bench.soak.soak", dull)
    assert main(["bench", "soak", "--minutes", "0.03", "--sessions", "2", "--json"]) == 1
    assert "all answers were the same" in capsys.readouterr().err
