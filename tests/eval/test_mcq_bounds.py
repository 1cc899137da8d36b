"""Accuracy beside perfect observers, and where a policy looks, of questions about long films."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from mcq_support import run, setup_of

from oncue import cli
from oncue.data.long_world import make_long_world
from oncue.env.retrieval import RetrievalSettings
from oncue.eval.benchmarks.mcq import MODES
from oncue.eval.benchmarks.mcq_bounds import McqBounds
from oncue.eval.benchmarks.mcq_question import McqQuestion
from oncue.eval.benchmarks.mcq_rows import read_questions
from oncue.types import Action, Answer, EnvTurn, Retrieve, Task
from oncue.world.long.film import film_named
from oncue.world.long.observers import bounds
from openai_server import OpenAIServer

SEED = 777  # two short films and a medium one
LOOK = RetrievalSettings.for_budget(32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    make_long_world(folder, split="test", count=3, seed=SEED, size_px=28)
    return folder


def asked(folder: Path, num_frames: int = 96) -> tuple[McqQuestion, ...]:
    return read_questions([folder / "rows.jsonl"], "rows", num_frames)


def finds(task: Task, turn: int, shown: EnvTurn) -> Action:
    """Looks where the flash is, then answers."""
    film = film_named(task.task_id)
    assert film is not None
    if turn == 1 and "last turn" not in shown.text:
        return Retrieve(min(film.decisive(96)), max(film.decisive(96)))
    return Answer(film.answer)


def looks_early(_task: Task, turn: int, shown: EnvTurn) -> Action:
    """At the same place of every film."""
    is_last = turn == 2 or "last turn" in shown.text
    return Answer("A") if is_last else Retrieve(0, 30)


def test_the_bounds_are_those_of_these_questions_and_this_budget(folder: Path) -> None:
    questions = asked(folder, 128)
    films = [film_named(question.question_id) for question in questions]
    look = RetrievalSettings.for_budget(64)
    found = McqBounds.of(questions[1:], 128, look, {})
    assert found is not None
    assert found.observers.by_length == bounds(films[1:], 128, look)  # type: ignore[arg-type]
    assert found.observers.num_films == {"short": 2, "all": 2}


@pytest.mark.parametrize(
    "change",
    [
        {"question_id": "mine-1"},
        {"question": "Which colour flashes while the bar is shown, if any?"},
        {"gold": "B"},
        {"duration_s": 200.5},
        {"evidence": None},
    ],
)
def test_other_questions_have_no_bounds(folder: Path, change: dict) -> None:
    first, *others = asked(folder)
    assert first.gold != "B"
    assert McqBounds.of([first, *others], 96, LOOK, {})
    assert McqBounds.of([replace(first, **change), *others], 96, LOOK, {}) is None
    assert McqBounds.of([], 96, LOOK, {}) is None


def test_accuracy_and_looks_of_a_policy_that_finds_the_flash_and_of_one_that_does_not(
    folder: Path,
) -> None:
    setup = setup_of(MODES, num_frames=96)
    good = run(asked(folder), folder / "videos", finds, setup=setup)
    looks = good.numbers()["looks"]
    assert list(looks) == ["retrieval", "single-turn"]  # blind shows no frame
    assert (looks["retrieval"]["hit_share"], looks["retrieval"]["n_looks"]) == (100.0, 3)
    assert looks["retrieval"]["hit_elsewhere"] < 50
    assert looks["retrieval"]["seen_share"] == looks["retrieval"]["distinct_ranges"] == 100.0
    assert (looks["single-turn"]["n_looks"], looks["single-turn"]["hit_share"]) == (0, None)
    table = next(table for table in good.tables() if "observers" in table.title)
    assert "a pool of 96 frames: 16 at first, 8 per look" in table.title
    assert table.header[1::2] == tuple(f"{x}: seen %" for x in ("short", "medium", "all"))
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["N"] == ("2", "", "1", "", "3", "")
    assert rows["retrieval"] == ("100.0",) * 6
    uniform = bounds([film_named(q.question_id) for q in asked(folder)])["all"]  # type: ignore[misc]
    seen = uniform["32 uniform frames"]
    assert rows["32 uniform frames"][-2:] == (
        f"{100 * seen.seen:.1f}",
        f"{100 * seen.accuracy:.1f}",
    )
    assert rows["single-turn"][-2:] == (f"{100 * seen.seen:.1f}", "100.0")
    assert rows["blind"][-2:] == ("0.0", "100.0")
    modes = good.numbers()["bounds"]["modes"]
    assert modes["retrieval"]["all"] == {"seen": 100.0}
    assert modes["blind"]["short"] == {"seen": 0.0}
    assert any(table.title == "Where it looks" for table in good.tables())
    poor = run(asked(folder), folder / "videos", looks_early, setup=setup_of(num_frames=96))
    found = poor.numbers()["looks"]["retrieval"]
    questions = asked(folder)
    own = [bool(set(range(31)) & q.evidence.frames) for q in questions if q.evidence]
    assert found["hit_share"] == round(100 * sum(own) / 3, 2)
    # who always looks at the same place hits the other films as often
    assert found["hit_elsewhere"] == found["hit_share"]
    assert found["distinct_ranges"] == round(100 / 3, 2)


def test_rows_without_evidence_have_neither(folder: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    for row in rows:
        del row["spans"]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    scores = run(asked(tmp_path), folder / "videos", looks_early, setup=setup_of(num_frames=96))
    assert scores.numbers()["looks"] is None
    assert scores.numbers()["bounds"] is None
    assert not [t for t in scores.tables() if "observers" in t.title or "looks" in t.title]


def test_the_command_prints_both(folder: Path, tmp_path: Path, capsys) -> None:
    def policy(messages):
        return ["<retrieve>0,30</retrieve>", "<answer>A</answer>"][len(messages) > 2]

    with OpenAIServer(policy) as server:
        line = ["eval", "mcq", str(folder / "rows.jsonl"), "--format", "rows", "--frames", "96"]
        line += ["--videos", str(folder / "videos"), "--server", server.url, "--json"]
        assert cli.main([*line, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["bounds"]["by_length"]["all"]["n"] == 3
    assert found["bounds"]["num_frames"] == 96
    assert found["looks"]["retrieval"]["n_looks"] == 3
    assert "Where it looks" in shown.err
    assert "16 frames, 2 best looks" in shown.err
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert (scores["bounds"], scores["looks"]) == (found["bounds"], found["looks"])
