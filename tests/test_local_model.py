"""A model that runs here, from the command line: the flags reach it, and its engine is closed in
the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oncue.engine.engine
import oncue.model.loading
from oncue import cli
from oncue.commands.watch import Watch
from oncue.engine.engine import Engine
from oncue.env.streaming import FILE_LOOKAHEAD
from oncue.model.loading import LoadedModel
from oncue.video.writer import write_video


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of three seconds, and its gold."""
    folder = tmp_path_factory.mktemp("clips")
    write_video(
        folder / "three.mp4",
        (np.full((64, 96, 3), 60 * (k // 5), np.uint8) for k in range(15)),
        5.0,
    )
    due = {"role": "assistant", "content": "Now.", "reply_timespan": [1.0, 3.0]}
    asked = {"role": "user", "content": "Lighter?", "time": 0}
    row = {
        "video": "three.mp4",
        "question_id": "q",
        "duration": 3.0,
        "conversation": [asked],
        "answer": [due],
    }
    (folder / "gold.json").write_text(json.dumps([row]))
    return folder


class Seen:
    """What a command did with the model."""

    def __init__(self) -> None:
        self.loaded_with: list[tuple[Any, ...]] = []
        self.engines: list[Engine] = []
        self.num_closed = 0


@pytest.fixture
def seen(tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Commands get the tiny model whatever they ask for, and are watched."""
    found = Seen()

    def load(*given: Any, max_pixels: int | None = None) -> LoadedModel:
        found.loaded_with.append((*given, max_pixels))
        return tiny_loaded

    class Watched(Engine):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            found.engines.append(self)

        def close(self) -> None:
            super().close()
            found.num_closed += 1

    monkeypatch.setattr(oncue.model.loading, "load_model", load)
    monkeypatch.setattr(oncue.engine.engine, "Engine", Watched)
    return found


def words_of(verb: str, clips: Path, tmp_path: Path) -> list[str]:
    return {
        "watch": ["watch", str(clips / "three.mp4"), "--ask", "Lighter?"],
        "eval clips": [
            "eval",
            "clips",
            str(clips / "gold.json"),
            "--videos",
            str(clips),
            "--tune-clips",
            "6",
        ],
        "eval world": ["eval", "world", "--limit", "1", "--cache", str(tmp_path)],
    }[verb]


VERBS = ("watch", "eval clips", "eval world")


@pytest.mark.parametrize("verb", VERBS)
def test_the_flags_reach_the_model_and_its_engine_is_closed(verb, clips, tmp_path, seen) -> None:
    flags = [
        "--model",
        "m",
        "--device",
        "cpu",
        "--dtype",
        "float16",
        "--max-pixels",
        "9000",
        "--max-new-tokens",
        "3",
    ]
    assert cli.main([*words_of(verb, clips, tmp_path), *flags, "--json"]) == 0
    assert seen.loaded_with == [("m", "cpu", "float16", 9000)]
    (engine,) = seen.engines
    assert engine.sampling.max_new_tokens == 3
    assert (seen.num_closed, engine.num_open) == (1, 0)


@pytest.mark.parametrize(
    ("verb", "longest"), [("watch", 512), ("eval clips", 32), ("eval world", 32)]
)
def test_without_flags_the_model_s_own_settings_hold(verb, longest, clips, tmp_path, seen) -> None:
    assert cli.main([*words_of(verb, clips, tmp_path), "--json"]) == 0
    assert seen.loaded_with == [("mini", None, None, None)]
    assert seen.engines[0].sampling.max_new_tokens == longest


@pytest.mark.usefixtures("seen")
def test_a_context_longer_than_the_model_s_is_refused_before_anything_is_watched(
    clips, tmp_path, capsys
) -> None:
    words = words_of("watch", clips, tmp_path)
    assert cli.main([*words, "--context-tokens", "9000"]) == 2
    captured = capsys.readouterr()
    assert "8192 positions; allow at most 8190 (--context-tokens" in captured.err
    assert "watched" not in captured.out
    assert cli.main([*words, "--context-tokens", "8190"]) == 0


@pytest.mark.parametrize("verb", VERBS)
def test_the_engine_is_closed_after_an_error_too(verb, clips, tmp_path, seen, monkeypatch) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("the engine broke")

    monkeypatch.setattr("oncue.engine.session.EngineSession.respond", broken)
    with pytest.raises(RuntimeError, match="the engine broke"):
        cli.main([*words_of(verb, clips, tmp_path), "--json"])
    assert seen.num_closed == 1


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "flags", [["--dtype", "float64"], ["--max-pixels", "0"], ["--max-new-tokens", "0"]]
)
def test_settings_that_cannot_be_are_one_line_and_exit_2(
    verb, flags, clips, tmp_path, capsys
) -> None:
    assert cli.main([*words_of(verb, clips, tmp_path), *flags]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("oncue: ")


@pytest.mark.parametrize(
    ("flags", "lookahead"),
    [
        ({}, FILE_LOOKAHEAD),
        ({"realtime": True}, 0),
        ({"cuda_graphs": True}, 0),
        ({"skip_unchanged": 2.0}, 0),
        ({"server": "http://localhost:1"}, 0),
        ({"source": "rtsp://localhost:1/x"}, 0),
    ],
)
def test_only_turns_of_a_file_that_are_all_shown_go_ahead(
    tmp_path: Path, flags: dict[str, Any], lookahead: int
) -> None:
    (tmp_path / "clip.mp4").touch()
    assert Watch(**{"source": str(tmp_path / "clip.mp4"), **flags})._lookahead() == lookahead
