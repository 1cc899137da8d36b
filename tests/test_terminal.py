"""On a real terminal: `--json` on stdout whatever stderr is, and a moving line that garbles
nothing."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oncue.terminal import MovingLine, console_on
from oncue.video.writer import write_video
from terminal_runs import Ran, run_on_terminal, seen

TESTS = Path(__file__).parent
VERBS = ("make", "watch", "eval", "score", "train")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the verbs read and write: made by the first, kept for the others."""
    folder = tmp_path_factory.mktemp("verbs")
    gold = [{"question": "?", "content": "one", "reply_timespan": [4, 12]}]
    turns = [{"time": 4, "text": "one"}, {"time": 8, "text": "NO REPLY"}]
    rollouts = [
        {"episode_id": name, "gold": gold, "turns": turns, "previous_replies": []}
        for name in ("e1", "e2")
    ]
    (folder / "rollouts.jsonl").write_text(
        "".join(json.dumps(rollout) + "\n" for rollout in rollouts)
    )
    return folder


def run_verbs(
    folder: Path, verbs: tuple[str, ...], terminal: tuple[str, ...], **environment: str
) -> Ran:
    if not (folder / "clips").exists():
        verbs = ("make", *(verb for verb in verbs if verb != "make"))
    words = [str(TESTS / "terminal_verbs.py"), str(folder), *verbs]
    return run_on_terminal(words, terminal=terminal, environment=environment)


def check_json(lines: list[str]) -> None:
    """Raises unless these are the lines of all verbs, whole."""
    values: list[dict[str, Any]] = [json.loads(line) for line in lines]
    kinds = [value.get("type", "scores") for value in values]
    assert kinds == ["clip"] * 2 + ["reply"] * 3 + ["summary"] + ["scores"] * 3 + ["step"] * 2
    assert [value["text"] for value in values[2:5]] == [
        "first",
        "second [bold]reply[/bold] :smile:",
        "x" * 300,
    ]


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1", "NO_COLOR": "1"}])
def test_json_is_on_stdout_where_stderr_is_a_terminal(
    folder: Path, environment: dict[str, str]
) -> None:
    ran = run_verbs(folder, ("json", *VERBS), ("stderr",), **environment)
    check_json(ran.out.splitlines())
    assert ran.code == 0
    assert "opening the video" in ran.typed  # there was a moving line
    assert "watching clips" in ran.typed
    assert not any("opening the video" in line for line in ran.screen)


def test_json_lines_are_whole_where_both_are_the_same_terminal(folder: Path) -> None:
    ran = run_verbs(folder, ("json", *VERBS), ("stdout", "stderr"))
    check_json([line for line in ran.screen if line.startswith("{")])
    assert "oncue: warning: UserWarning: a stretch is damaged" in ran.screen
    assert sum("oncue: warning: step 1" in line for line in ran.screen) == 1
    assert "opening the video" in ran.typed
    assert not any("opening the video" in line for line in ran.screen)


def test_forced_colours_reach_no_file(folder: Path) -> None:
    ran = run_verbs(folder, ("json", *VERBS), (), FORCE_COLOR="1")
    check_json(ran.out.splitlines())
    assert "\x1b" not in ran.err
    for_people = run_verbs(folder, ("watch", "score"), (), FORCE_COLOR="1")
    assert "second [bold]reply[/bold] :smile:" in for_people.out
    assert "Reward, profile" in for_people.out
    assert "\x1b" not in for_people.out + for_people.err


def test_what_is_said_on_stderr_stays_there_where_stdout_is_a_terminal(folder: Path) -> None:
    ran = run_verbs(folder, ("watch",), ("stdout",))
    assert "a stretch is damaged" in ran.err
    assert "a stretch is damaged" not in ran.typed
    assert any("reply  second [bold]reply[/bold] :smile:" in line for line in ran.screen)


def test_nothing_moves_on_a_dumb_terminal(folder: Path) -> None:
    ran = run_verbs(folder, ("json", "watch", "score"), ("stdout", "stderr"), TERM="dumb")
    assert "\x1b" not in ran.typed
    assert len([line for line in ran.typed.splitlines() if line.startswith("{")]) == 6


def test_a_real_watching_on_a_terminal(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    shades = (np.full((112, 112, 3), 40 * (k // 5), np.uint8) for k in range(15))
    write_video(clip, shades, 5.0)
    words = [
        "-m",
        "oncue.cli",
        "watch",
        str(clip),
        "--ask",
        "Tell me whenever something appears.",
        "--json",
    ]
    ran = run_on_terminal(words, terminal=["stderr"])
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert lines[-1]["type"] == "summary"
    assert lines[-1]["num_turns"] == 3
    assert "watching 0:0" in ran.typed
    assert any(line.startswith("watched 3 turns") for line in ran.screen)


def test_text_without_an_end_of_line_is_kept_until_the_line_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", screen)
    line = MovingLine(console_on(screen), "moving")
    line.start()
    proxy = sys.stdout
    proxy.write("half")
    assert "half" not in screen.getvalue()
    proxy.writelines([" and whole\n", "rest"])
    line.stop()
    assert sys.stdout is screen
    proxy.write(", later")
    assert "moving" in screen.getvalue()
    assert [text for text in seen(screen.getvalue()) if text] == ["half and whole", "rest, later"]
