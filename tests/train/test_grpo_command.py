"""`oncue train grpo` as a user runs it."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oncue import cli
from oncue.errors import JudgeDownError
from oncue.files import alone_in
from oncue.recipes import grpo_recipe
from oncue.train.rl import loop as grpo

FAST = (
    *(
        "--num-steps",
        "2",
        "--prompts-per-step",
        "2",
        "--group-size",
        "2",
        "--examples.num-turns",
        "3",
        "3",
    ),
    *("--examples.history-turns", "0", "2", "--num-workers", "0", "--save-every-steps", "1"),
    *("--store-every-steps", "1", "--sampling.max-new-tokens", "4", "--device", "cpu"),
)


def words(model: Path, out: Path, *more: str) -> list[str]:
    return [
        "train",
        "grpo",
        "--recipe",
        "mini",
        "--model",
        str(model),
        "--out",
        str(out),
        *FAST,
        *more,
    ]


def test_two_steps(tiny_model_folder: Path, tmp_path: Path, capsys: Any) -> None:
    assert cli.main(words(tiny_model_folder, tmp_path / "run", "--json")) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["type"] == "step" and row["tokens_per_s"] > 0 for row in rows)
    assert rows[0]["tokens_per_s"] == pytest.approx(rows[0]["num_tokens"] / rows[0]["train_s"])
    page = (tmp_path / "run" / "report.html").read_text()
    assert all(f"<h2>{name}" in page for name in ("Reward", "PAUC", "Replies", "Spread", "Entropy"))
    card = (tmp_path / "run" / "README.md").read_text()
    assert "last logged reward" in card
    assert "last logged loss" not in card
    assert cli.main(words(tiny_model_folder, tmp_path / "run")) == 2
    assert "--resume auto" in capsys.readouterr().err
    assert cli.main(words(tiny_model_folder, tmp_path / "run", "--resume", "auto")) == 0


def test_a_progress_line_per_step(tiny_model_folder: Path, tmp_path: Path, capsys: Any) -> None:
    assert cli.main(words(tiny_model_folder, tmp_path / "run")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for part in ("reward", "PAUC", "replies", "rollout", "train", "tokens/s"):
        assert part in lines[0]


def test_a_dry_run_writes_nothing(
    tiny_model_folder: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server = ("--judge", "openai:watcher@http://localhost:1")
    assert cli.main(words(tiny_model_folder, tmp_path / "run", "--dry-run", *server)) == 0
    said = capsys.readouterr()
    assert not (tmp_path / "cache").exists()
    assert "prompts_per_step: 2" in said.out
    assert "8 rollouts in all" in said.err
    assert "0 are over it" in said.err
    assert re.search(r"time: the first step took .*, without what a judge takes", said.err)
    assert re.search(r"disk: about .* \(2 checkpoints of .* at once, .* of rollouts\)", said.err)
    assert not (tmp_path / "run").exists()
    assert (
        cli.main(words(tiny_model_folder, tmp_path / "run", "--dry-run", "--max-tokens", "50")) == 2
    )
    assert "and would stop the run" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--recipe", "mmduet3"), "unknown recipe"),
        (("--group-size", "1"), "group_size"),
        (("--judge", "nobody"), "unknown judge"),
        (("--data", "none.jsonl"), "judge must be|no training file"),
        (
            ("--data", __file__, "--judge", "lexical"),
            "--examples.num-turns does nothing with --data",
        ),
        (("--held-out-from", "rows.jsonl"), "--data"),
        (("--max-tokens", "50"), "max_tokens = 50"),
        (("--betas", "2", "2"), "betas must be"),
        (("--seed", "99999999999999999999"), "seed must be"),
        (("--loss.kl-coefficient", "nan"), "kl_coefficient must be"),
        (("--examples.pixel-noise", "nan"), "pixel_noise must be"),
        (("--examples.mean-gap-s", "0"), "mean_gap_s must be"),
        (("--frozen", "no.such"), "no parameter"),
        (("--frozen", "*"), "nothing is left to train"),
        (("--data",), "--data has no value"),
        (("--held-out-from",), "--held-out-from has no value"),
        (("--judge-server.timeout-s", "3"), "--judge-server.timeout-s is for openai:MODEL@URL"),
        (("--judge", "openai:m@http://x", "--judge-server.max-at-once", "0"), "max_at_once >= 1"),
    ],
)
def test_bad_input_is_one_line(
    tiny_model_folder: Path, tmp_path: Path, capsys: Any, more: tuple[str, ...], told: str
) -> None:
    assert cli.main(words(tiny_model_folder, tmp_path / "run", *more)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("oncue: ")
    assert any(part in error for part in told.split("|"))


@pytest.mark.parametrize(
    ("stop", "told"),
    [
        (JudgeDownError("the judge is down"), "the judge is down.*--resume auto"),
        (OSError(28, "No space left on device"), "No space left.*--resume auto"),
    ],
)
def test_what_stops_a_run_is_told_with_how_to_resume(
    tiny_model_folder: Path,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: Any,
    stop: Exception,
    told: str,
) -> None:
    async def breaks(*_: object) -> None:
        raise stop

    with monkeypatch.context() as patch:
        patch.setattr(grpo, "_scored", breaks)
        assert cli.main(words(tiny_model_folder, tmp_path / "run")) == 1
    assert re.search(told, capsys.readouterr().err.splitlines()[-1])
    assert cli.main(words(tiny_model_folder, tmp_path / "run", "--resume", "auto")) == 0


def test_a_judge_is_asked_as_the_flags_say(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Made(Exception):
        pass

    def make_judge(spec: str, max_score: int, options: Any) -> None:
        raise Made(
            spec,
            max_score,
            options.timeout_s,
            options.max_tokens,
            options.request_fields,
            options.cache,
        )

    monkeypatch.setattr("oncue.scoring.judge_specs.make_judge", make_judge)
    more = [
        "--judge",
        "openai:m@http://x",
        "--judge-server.timeout-s",
        "3",
        "--judge-server.max-tokens",
        "2000",
    ]
    more += [
        "--judge-server.request-fields",
        '{"seed": 1}',
        "--judge-server.cache",
        str(tmp_path / "kept"),
    ]
    with pytest.raises(Made) as made:
        cli.main(words(tiny_model_folder, tmp_path / "run", *more))
    assert made.value.args == ("openai:m@http://x", 4, 3.0, 2000, {"seed": 1}, tmp_path / "kept")


def test_a_disk_that_is_full_leaves_a_run_that_goes_on(
    tiny_model_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    """No file may grow beyond a size that settings fit into and a checkpoint does not: writing
    really fails."""
    started = words(tiny_model_folder, tmp_path / "run")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        assert cli.main(started) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = capsys.readouterr().err
    line = said.splitlines()[-1]
    assert line.startswith("oncue: ")
    assert "File too large" in line
    assert "--resume auto" in line
    assert "Traceback" not in said
    assert not list((tmp_path / "run" / "checkpoints").glob("step_*"))  # not even half of one
    assert cli.main([*started, "--resume", "auto"]) == 0
    assert cli.main(words(tiny_model_folder, tmp_path / "whole")) == 0
    runs = [
        [json.loads(x) for x in (tmp_path / n / "metrics.jsonl").read_text().splitlines()]
        for n in ("run", "whole")
    ]
    assert [row["reward"] for row in runs[0]] == [row["reward"] for row in runs[1]]


SPEAKING = """
import sys
from oncue import cli
from oncue.commands.train_grpo import TrainGrpo
TrainGrpo.train = lambda self: self.report({"step": 1})
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_reader_of_stdout_who_leaves_is_no_fault_of_the_disk(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", SPEAKING, *words(tmp_path, tmp_path / "run", "--json")]
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.parametrize("num_workers", ["0", "1"])
def test_a_video_that_cannot_be_read_is_one_line_from_worker_processes_too(
    tiny_model_folder: Path, tmp_path: Path, capsys: Any, num_workers: str
) -> None:
    (tmp_path / "clip.mp4").write_text("no video")
    row = {"example_id": "one", "video": "clip.mp4", "segment": [0, 30], "gold": []}
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        json.dumps({**row, "questions": [{"time_s": 0, "text": "What changes?"}]}) + "\n"
    )
    run = [
        "train",
        "grpo",
        "--recipe",
        "mmduet2-3b",
        "--model",
        str(tiny_model_folder),
        "--out",
        str(tmp_path / "run"),
    ]
    more = [
        "--data",
        str(rows),
        "--judge",
        "lexical",
        "--num-workers",
        num_workers,
        "--device",
        "cpu",
    ]
    more += ["--check-data", "none"]
    assert cli.main([*run, *more]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"oncue: {rows}, line 1: ")
    assert "clip.mp4" in line


def test_settings_of_examples_in_files_are_flags_with_any_recipe(
    tiny_model_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "clip.mp4").touch()
    rows = tmp_path / "rows.jsonl"
    questions = [{"time_s": 0, "text": "What changes?"}]
    row = {"video": "clip.mp4", "questions": questions, "gold": []}
    ends = [10] * 20 + [30]
    lines = [
        json.dumps({**row, "example_id": f"{i}", "segment": [0, end]}) for i, end in enumerate(ends)
    ]
    rows.write_text("\n".join(lines))
    run = [
        "train",
        "grpo",
        "--recipe",
        "mini",
        "--model",
        str(tiny_model_folder),
        "--out",
        str(tmp_path / "run"),
    ]
    more = [
        "--data",
        str(rows),
        "--judge",
        "lexical",
        "--examples.max-frames",
        "20",
        "--device",
        "cpu",
    ]
    assert cli.main([*run, *more]) == 2
    error = capsys.readouterr().err
    assert (
        "line 21: its segment has 30 frames, more than max_frames = 20" in error
    )  # before anything begins
    assert not (tmp_path / "run").exists()


def test_weights_that_went_astray_are_not_saved(
    tiny_model_folder: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    update = grpo.PolicyTrainer.update

    def astray(trainer: Any, groups: Any, step: int) -> dict[str, float]:
        told = update(trainer, groups, step)
        if step == 2:
            for parameter in trainer.parameters:
                parameter.data.fill_(float("nan"))
        return told

    monkeypatch.setattr(grpo.PolicyTrainer, "update", astray)
    more = ("--num-steps", "5", "--save-every-steps", "2")
    assert cli.main(words(tiny_model_folder, tmp_path / "run", *more)) == 1
    error = capsys.readouterr().err
    assert "after step 3 the model's output is not a number" in error
    assert "step_000002" in error
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("step_*")] == [
        "step_000002"
    ]


def test_numbers_that_are_not_finite(
    tiny_model_folder: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(grpo.torch.nn.utils, "clip_grad_norm_", lambda *_: float("nan"))
    assert cli.main(words(tiny_model_folder, tmp_path / "run")) == 1
    error = capsys.readouterr().err
    assert "step 1 has loss" in error
    assert "lower --learning-rate" in error


def test_the_published_settings() -> None:
    config = grpo_recipe("mmduet2-3b")
    assert (config.frame_interval_s, config.frames_per_turn, config.max_pixels) == (2.0, 2, 100_352)
    sampling = config.sampling
    assert (sampling.temperature, sampling.top_k, sampling.max_new_tokens) == (1.2, 10, 100)
    assert (config.learning_rate, config.group_size, config.prompts_per_step, config.num_steps) == (
        1e-6,
        4,
        8,
        489,
    )
    reward = config.reward
    assert (reward.profile, reward.pauc, reward.repetition) == ("official", 3.0, 2.0)
    assert (reward.in_span, reward.prefix) == (0.5, 2.0)
    assert config.loss.kl_coefficient == 0
    assert config.gradient_checkpointing
    assert config.autocast_dtype == "bfloat16"
    assert config.max_tokens == 90 * 190 + 45 * 190


def test_the_mini_settings() -> None:
    config = grpo_recipe("mini")
    assert (config.group_size, config.prompts_per_step, config.micro_batch_size) == (4, 8, 16)
    assert (config.sampling.temperature, config.sampling.top_k, config.sampling.max_new_tokens) == (
        0.7,
        0,
        16,
    )
    assert (config.learning_rate, config.warmup_steps, config.betas) == (1e-4, 10, (0.9, 0.98))
    assert (config.final_learning_rate_frac, config.scale_by_deviation) == (0.3, False)
    assert config.reward.profile == "paper"
    assert (config.examples.num_turns, config.examples.history_turns) == ((16, 16), (0, 4))
    assert config.frozen
    assert not config.gradient_checkpointing


def test_two_processes_never_work_on_the_same_run(
    tiny_model_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    """The second would mix its metrics into those of the first, and remove the checkpoint it is
    writing."""
    with alone_in(tmp_path / "run"):
        assert cli.main(words(tiny_model_folder, tmp_path / "run", "--resume", "auto")) == 2
    assert "another process is at work" in capsys.readouterr().err
    assert cli.main(words(tiny_model_folder, tmp_path / "run", "--resume", "auto")) == 0
