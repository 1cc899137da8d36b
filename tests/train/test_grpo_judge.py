"""`oncue train grpo` with a judge on a server: one that answers nothing teaches nothing."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from oncue import cli
from oncue.rewards.proactive import TERMS
from oncue.scoring.judge import Judge
from oncue.scoring.score import Judgements, Score, Unscored
from oncue.types import Episode
from openai_server import OpenAIServer, Status

SMALL = (
    *(
        "--num-steps",
        "2",
        "--prompts-per-step",
        "1",
        "--group-size",
        "2",
        "--examples.num-turns",
        "2",
        "2",
    ),
    *(
        "--examples.history-turns",
        "0",
        "0",
        "--num-workers",
        "0",
        "--sampling.max-new-tokens",
        "4",
        "--device",
        "cpu",
    ),
)


class AsksOnce:
    """A reward that asks one question about every episode, whatever a random model says: two a
    step."""

    def __init__(self, judge: Judge, _settings: object) -> None:
        self.judge, self.numbers = judge, count()

    async def __call__(self, episode: Episode) -> Score:  # noqa: ARG002
        mark = await self.judge.coverage("?", "It began.", [f"Reply {next(self.numbers)}."])
        missing = isinstance(mark, Unscored)
        return Score(
            (0.0 if isinstance(mark, Unscored) else mark,),
            dict.fromkeys(TERMS, 0.0),
            missing,
            Judgements(),
        )


@pytest.fixture(autouse=True)
def _two_questions_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oncue.train.rl.make_reward.ProactiveReward", AsksOnce)


def words(server: OpenAIServer, model: Path, out: Path) -> list[str]:
    run = ["train", "grpo", "--recipe", "mini", "--model", str(model), "--out", str(out), *SMALL]
    return [
        *run,
        "--judge",
        f"openai:watcher@{server.url}",
        "--judge-server.cache",
        str(out) + ".sqlite3",
    ]


def rows(out: Path) -> list[dict[str, Any]]:
    path = out / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("num_answered", [0, 2])
def test_a_judge_that_answers_nothing_stops_the_run_before_it_learns(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], num_answered: int
) -> None:
    """From the start, or in the second step, when half of its newest answers are there."""
    with OpenAIServer(lambda _: ["2"]) as server:
        run = words(server, tiny_model_folder, tmp_path / "run")
        server.faults.extend([None] * num_answered + [Status(401)] * 2)
        assert cli.main(run) == 1
        last = capsys.readouterr().err.splitlines()[-1]
        assert "is down" in last
        assert "--resume auto" in last
        assert [row["num_unscored"] for row in rows(tmp_path / "run")] == [0] * (num_answered // 2)
        assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == num_answered // 2
        assert cli.main([*run, "--resume", "auto"]) == 0
    assert [
        (row["step"], row["num_unscored"], row["reward"]) for row in rows(tmp_path / "run")
    ] == [
        (1, 0, 1.0),
        (2, 0, 1.0),
    ]


def test_judgements_that_could_not_be_had_are_warned_of(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with OpenAIServer(lambda _: ["2"]) as server:
        server.faults.append(Status(401))
        assert cli.main(words(server, tiny_model_folder, tmp_path / "run")) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "could not be had" in line]
    assert len(told) == 1
    assert told[0].startswith("oncue: warning: step 1: 1 judgements could not be had")
