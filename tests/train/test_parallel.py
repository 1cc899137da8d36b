"""Laws of several processes: together they do what one does, whole or sharded, and what stops one
stops all."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import parallel_runs
import pytest
import torch
from log_readers import fake_tensorboard_shown
from safetensors.torch import load_file, save_file

from oncue import cli
from oncue.errors import ConfigError
from oncue.train.parallel import Ranks
from oncue.train.rl.settings import groups_per_process


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with one weight for embedding and output, as the smaller released ones
    have."""
    folder = tmp_path_factory.mktemp("tied") / "model"
    shutil.copytree(tiny_model_folder, folder)
    plain = json.loads((folder / "config.json").read_text())
    plain["tie_word_embeddings"] = plain["text_config"]["tie_word_embeddings"] = True
    (folder / "config.json").write_text(json.dumps(plain))
    state = load_file(folder / "model.safetensors")
    del state["lm_head.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def runs(
    model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, list[dict[str, Any]]]]:
    """A folder with the runs, and what came of each in each process. `one` is that of a single
    process."""
    folder = tmp_path_factory.mktemp("runs")
    torch.set_num_threads(1)
    with parallel_runs.calm_optimizer():
        parallel_runs.train(model, folder / "one")
        parallel_runs.train(
            model, folder / "ppo_one", parallel_runs.WordyTurns(), **parallel_runs.PPO
        )
        after_one_step(folder / "one", folder / "resumed_full")
        found = parallel_runs.outcomes(model, folder)
        after_one_step(folder / "full", folder / "resumed_one")
        parallel_runs.train(model, folder / "resumed_one", resume=True)
    return folder, found


def after_one_step(run: Path, copy: Path) -> None:
    """A copy of a run as if it had been stopped after its first step."""
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "checkpoints" / "step_000002")


def weights(run: Path, step: int) -> torch.Tensor:
    state = load_file(run / "checkpoints" / f"step_{step:06d}" / "model.safetensors")
    return torch.cat([state[name].flatten() for name in sorted(state)])


def metrics(run: Path) -> list[dict[str, Any]]:
    """What was logged, without what depends on the clock on the wall."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timed = ("rollout_s", "judge_s", "train_s", "tokens_per_s")
    return [{name: value for name, value in row.items() if name not in timed} for row in rows]


def test_a_share_is_dealt_and_collected() -> None:
    shares = [Ranks(rank, 3).deal(range(6)) for rank in range(3)]
    assert [list(share) for share in shares] == [[0, 3], [1, 4], [2, 5]]
    assert Ranks().collect(Ranks().deal(range(6))) == list(range(6))
    assert Ranks.of_environment() == Ranks(0, 1)


@pytest.mark.parametrize(
    "name", ["none", "full", "resumed_full", "resumed_one", "ppo_none", "ppo_full"]
)
def test_processes_together_do_what_one_does(runs: Any, name: str) -> None:
    folder, found = runs
    assert found.get(name, [{"returned": None}]) == [{"returned": None}] * (
        2 if name in found else 1
    )
    one, several = folder / ("ppo_one" if name.startswith("ppo") else "one"), folder / name
    for step in (1, 2):
        torch.testing.assert_close(weights(several, step), weights(one, step), atol=2e-6, rtol=0)
        stored = [run / "rollouts" / f"step_{step:06d}.jsonl" for run in (one, several)]
        said = [
            [json.loads(line)["turns"] for line in path.read_text().splitlines()] for path in stored
        ]
        assert said[0] == said[1]
    expected, logged = metrics(one), metrics(several)
    assert [row.keys() for row in logged] == [row.keys() for row in expected]
    for row, other in zip(logged, expected, strict=True):
        for value, wanted in zip(row.values(), other.values(), strict=True):
            assert value == (
                pytest.approx(wanted, rel=1e-4, abs=1e-5) if isinstance(wanted, float) else wanted
            )
    moved = (weights(one, 2) - weights(one, 1)).abs().max()
    assert moved > 1e-4  # control: there was something to agree about


def test_the_first_process_logs_elsewhere_for_all(runs: Any) -> None:
    folder, _ = runs
    (file,) = (folder / "none" / "tensorboard").iterdir()
    rows = metrics(folder / "none")
    assert fake_tensorboard_shown(folder / "none")["reward"] == [
        (row["step"], row["reward"]) for row in rows
    ], file


def test_without_the_sum_of_gradients_they_do_not(runs: Any) -> None:
    folder, _ = runs
    assert (weights(folder / "apart", 1) - weights(folder / "one", 1)).abs().max() > 1e-4


def test_tied_weights_stay_one_weight(runs: Any) -> None:
    folder, _ = runs
    for name in ("one", "none", "full"):
        assert "lm_head.weight" not in load_file(
            folder / name / "checkpoints" / "step_000002" / "model.safetensors"
        )


def test_states_of_the_optimizer_are_whole(runs: Any) -> None:
    folder, _ = runs
    paths = [
        folder / name / "checkpoints" / "step_000002" / "trainer.pt" for name in ("one", "full")
    ]
    one, full = (torch.load(path, weights_only=True)["optimizer"]["state"] for path in paths)
    assert one.keys() == full.keys()
    for number, state in one.items():
        for name, value in state.items():
            torch.testing.assert_close(full[number][name], value, atol=1e-5, rtol=1e-4)


def test_numbers_that_are_not_finite_in_one_process_stop_all(runs: Any) -> None:
    folder, found = runs
    first, second = found["bad_number"]
    assert first["error"] == "RunStoppedError"
    assert "step 1 has loss nan" in first["text"]
    assert second["error"] == "StoppedElsewhereError"
    assert list((folder / "bad_number" / "checkpoints").iterdir()) == []


def test_the_process_that_fails_says_why_and_the_others_end(runs: Any) -> None:
    _, found = runs
    first, second = found["bad_data"]
    assert first == {"error": "StoppedElsewhereError", "text": "process 1 of 2 cannot go on"}
    assert second == {"error": "DataError", "text": "this is only known here"}
    (left_over,) = found["sudden_end"]
    assert left_over["error"] == "RunStoppedError"
    assert "another process of this run is gone" in left_over["text"]


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("stopped", "KeyboardInterrupt", r"stopped in step 2; the run is saved in .*step_000001"),
        (
            "out_of_memory",
            "RunStoppedError",
            r"out of memory \(20.00 MiB .* in step 2; the run is saved in .*step_000001",
        ),
    ],
)
def test_what_stops_one_process_stops_all_and_the_steps_so_far_are_saved(
    runs: Any, name: str, error: str, told: str
) -> None:
    folder, found = runs
    first, second = found[name]
    assert first == {"error": "StoppedElsewhereError", "text": "process 1 of 2 cannot go on"}
    assert second["error"] == error
    assert re.match(told, second["text"])
    assert [path.name for path in (folder / name / "checkpoints").iterdir()] == ["step_000001"]


def test_groups_that_cannot_be_dealt_evenly_are_refused_once(runs: Any, model: Path) -> None:
    folder, found = runs
    first, second = (outcome["returned"] for outcome in found["uneven"])
    assert first["code"] == 2
    assert "prompts_per_step must be divisible" in first["said"]
    assert second == {"code": 1, "said": ""}
    assert not (folder / "uneven" / "config.yaml").exists()
    assert groups_per_process(parallel_runs.config(model), 2) == 2
    with pytest.raises(ConfigError, match="4 x 2 = 8"):
        groups_per_process(parallel_runs.config(model), 4)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_dry_run_says_who_does_what_once(
    model: Path, tmp_path: Path, capsys: Any, monkeypatch: Any, rank: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", "2")
    words = [
        "train",
        "grpo",
        "--recipe",
        "mini",
        "--model",
        str(model),
        "--out",
        str(tmp_path / "run"),
        "--dry-run",
    ]
    assert cli.main([*words, "--examples.num-turns", "3", "3"]) == 0
    assert ("each of 2 processes takes 4 of the 8 groups of a step" in capsys.readouterr().err) == (
        rank == "0"
    )


def test_supervised_training_is_for_one_process(
    tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(["train", "sft", "--recipe", "mini", "--out", str(tmp_path / "run")]) == 2
    assert "without torchrun" in capsys.readouterr().err
