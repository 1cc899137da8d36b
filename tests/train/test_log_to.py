"""Laws of logs elsewhere: they show what `metrics.jsonl` holds, every row once, and the run stays
what it is without them."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from log_readers import (
    READERS,
    FakeSummaryWriter,
    FakeWandbError,
    Shown,
    fake_tensorboard_shown,
    fake_wandb_shown,
    install_fakes,
)

from oncue import cli
from oncue.errors import ConfigError
from oncue.train.log_to import RunLogs, check_log_to
from oncue.train.run_dir import RunDirectory
from train_support import small_config

BOTH = ("tensorboard", "wandb")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    return install_fakes(monkeypatch)


@pytest.fixture(params=READERS)
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Any]:
    """The name of a log, and what reads it back: with stand-ins, and with the packages where they
    are installed."""
    name, shown = READERS[request.param]
    if request.param.startswith("a stand-in"):
        install_fakes(monkeypatch)
    else:
        pytest.importorskip(name, reason="an optional package")
        monkeypatch.setenv("WANDB_SILENT", "true")
        monkeypatch.delenv("WANDB_MODE", raising=False)
    return name, shown


def steps(folder: Path, names: Any, first: int, last: int, *, loss: float = 0.0) -> None:
    """A part of a run that goes on after step `first - 1`."""
    with RunLogs(names) as logs:
        folder.mkdir(exist_ok=True)
        run = RunDirectory(folder, logs)
        run.log_from(first - 1, {"model": "m"})
        for step in range(first, last + 1):
            row = {
                "step": step,
                "total_steps": 9,
                "stage": "one",
                "loss": loss + step,
                "none": None,
            }
            run.log({**row, "num_tokens": 10 * step, "warnings": ["much too late"]})


def logged(folder: Path) -> Shown:
    rows = RunDirectory(folder).metrics()
    return {n: [(r["step"], r[n]) for r in rows] for n in ("loss", "num_tokens") if rows}


def test_a_resumed_run_shows_every_row_once(log: tuple[str, Any], tmp_path: Path) -> None:
    name, shown = log
    steps(tmp_path, [name], 1, 5, loss=0.5)
    assert shown(tmp_path) == logged(tmp_path)
    steps(tmp_path, [name], 4, 7)  # steps 4 and 5 are made again
    assert shown(tmp_path) == logged(tmp_path)
    steps(tmp_path, [name], 8, 7)  # nothing more
    assert shown(tmp_path) == logged(tmp_path)
    assert [step for step, _ in logged(tmp_path)["loss"]] == [1, 2, 3, 4, 5, 6, 7]


def test_a_log_that_is_new_gets_the_rows_of_before(log: tuple[str, Any], tmp_path: Path) -> None:
    name, shown = log
    steps(tmp_path, (), 1, 3)
    assert not (tmp_path / name).exists()
    steps(tmp_path, [name, name], 3, 4)
    assert shown(tmp_path) == logged(tmp_path)


def test_a_run_that_goes_on_online_keeps_its_id_and_sends_no_row_twice(
    fakes: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    steps(tmp_path, ["wandb"], 1, 5)
    steps(tmp_path, ["wandb"], 4, 7)
    ((name, rows),) = fakes.server.items()
    assert [step for step, _ in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert (tmp_path / "wandb" / "run_id.txt").read_text().strip() == name
    steps(tmp_path / "other", ["wandb"], 1, 1)
    assert len(fakes.server) == 2


def test_wandb_is_offline_unless_the_environment_says_otherwise(
    fakes: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(tmp_path / "run", ["wandb"], 1, 1)
    for mode, project in (("online", "mine"), ("", "")):
        monkeypatch.setenv("WANDB_MODE", mode)
        monkeypatch.setenv("WANDB_PROJECT", project)
        steps(tmp_path / "run", ["wandb"], 2, 1)
    given = [run.given for run in fakes.runs]
    assert [each["mode"] for each in given] == ["offline", "online", "offline"]
    assert [each["project"] for each in given] == ["oncue", "mine", "oncue"]
    assert given[0]["config"] == {"model": "m"}
    assert (given[0]["dir"], given[0]["name"]) == (str(tmp_path / "run"), "run")


@pytest.mark.usefixtures("fakes")
def test_what_is_offline_stays_where_wandb_is_disabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(tmp_path, ["wandb"], 1, 3)
    shown = fake_wandb_shown(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    steps(tmp_path, ["wandb"], 4, 5)
    assert fake_wandb_shown(tmp_path) == shown


def test_wandb_hears_whether_the_run_failed(fakes: SimpleNamespace, tmp_path: Path) -> None:
    steps(tmp_path, ["wandb"], 1, 1)
    logs = RunLogs(["wandb"])
    RunDirectory(tmp_path, logs).log_from(1, {})
    with pytest.raises(KeyboardInterrupt), logs:
        raise KeyboardInterrupt
    assert [run.exit_code for run in fakes.runs] == [0, 1]


def test_wandb_that_cannot_start_or_write_says_so(
    fakes: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise FakeWandbError("no API key")

    with RunLogs(["wandb"]) as logs:
        run = RunDirectory(tmp_path, logs)
        run.log_from(0, {})
        monkeypatch.setattr(fakes.runs[0], "log", fails)
        with pytest.raises(OSError, match="W&B: no API key"):
            run.log({"step": 1, "loss": 1.0})
    monkeypatch.setattr(sys.modules["wandb"], "init", fails)
    with pytest.raises(ConfigError, match=r"\(no API key\); unset WANDB_MODE"):
        RunDirectory(tmp_path, RunLogs(["wandb"])).log_from(0, {})


def test_a_name_that_no_log_has() -> None:
    with pytest.raises(ConfigError, match="'csv'; --log-to takes tensorboard or wandb"):
        RunLogs(["csv"]).open(Path(), {}, (), 0)  # type: ignore[list-item]


def test_a_folder_of_that_name_is_not_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as that of an earlier run, in the working directory."""
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(ConfigError, match=r"wandb is a folder without code here\); pip install"):
        check_log_to(["wandb"])
    monkeypatch.delitem(sys.modules, "wandb")


def train(verb: str, model: Path, out: Path, *more: str) -> int:
    """A run of four steps (sft) or two (grpo) that logs and saves each."""
    common = ("--recipe", "mini", "--model", str(model), "--out", str(out), "--device", "cpu")
    often = ("--num-workers", "0", "--log-every-steps", "1", "--save-every-steps", "1")
    if verb == "sft":
        config = out.with_suffix(".yaml")
        plain = {"stages": [{"name": "one", "source": {"worlds": {"shapes": 1.0}}}]}
        plain["stages"][0] |= {"batch_size": 1, "num_steps": 2}  # type: ignore[dict-item]
        config.write_text(json.dumps(plain))
        size: tuple[str, ...] = ("--config", str(config))
    else:
        size = ("--num-steps", "2", "--prompts-per-step", "2", "--group-size", "2")
        size += ("--examples.num-turns", "3", "3", "--examples.history-turns", "0", "2")
        size += ("--sampling.max-new-tokens", "4")
    return cli.main(["train", verb, *common, *often, *size, *more])


def numbers(folder: Path) -> Shown:
    """What of `metrics.jsonl` is a curve."""
    shown: Shown = {}
    for row in RunDirectory(folder).metrics():
        for name, value in row.items():
            if isinstance(value, int | float) and name not in ("step", "total_steps"):
                shown.setdefault(name, []).append((row["step"], value))
    return shown


@pytest.mark.parametrize("verb", ["sft", "grpo"])
def test_a_run_logs_elsewhere_and_its_settings_stay(
    fakes: SimpleNamespace, verb: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert train(verb, tiny_model_folder, run, "--log-to", *BOTH) == 0
    shown = fake_tensorboard_shown(run)
    assert shown == fake_wandb_shown(run) == numbers(run)
    assert {"sft": "loss", "grpo": "reward"}[verb] in shown
    assert "log_to" not in (run / "config.yaml").read_text()
    assert fakes.runs[0].given["config"]["model"] == str(tiny_model_folder)
    assert train(verb, tiny_model_folder, run, "--resume", "auto") == 0  # without, too


@pytest.mark.parametrize("verb", ["sft", "grpo"])
def test_a_log_that_cannot_be_written_ends_the_run_as_metrics_do(
    fakes: SimpleNamespace,
    verb: str,
    tiny_model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stock, run = FakeSummaryWriter.add_scalar, tmp_path / "run"

    def add_scalar(writer: FakeSummaryWriter, name: str, value: float, step: int) -> None:
        if step == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        stock(writer, name, value, step)

    with monkeypatch.context() as patch:
        patch.setattr(FakeSummaryWriter, "add_scalar", add_scalar)
        assert train(verb, tiny_model_folder, run, "--log-to", *BOTH) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "No space left on device" in line
    assert str(run / "tensorboard") in line
    assert "--resume auto" in line
    assert fakes.runs[0].exit_code == 1
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step_000001"]
    assert train(verb, tiny_model_folder, run, "--log-to", "wandb", "--resume", "auto") == 0
    assert fake_wandb_shown(run) == numbers(run)


@pytest.mark.parametrize("verb", ["sft", "grpo"])
@pytest.mark.parametrize("name", BOTH)
def test_a_package_that_is_missing_is_one_line_before_the_run_starts(
    verb: str,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, {"wandb": "wandb"}.get(name, "torch.utils.tensorboard"), None)
    for more in ((), ("--dry-run",)):
        assert train(verb, tmp_path / "no model", tmp_path / "run", "--log-to", name, *more) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith(f"oncue: --log-to {name} needs the package {name}")
        assert f"; pip install '{name}" in line
    assert not (tmp_path / "run").exists()


def test_a_flag_without_a_value_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("sft", tmp_path, tmp_path / "run", "--log-to") == 2
    assert "--log-to" in capsys.readouterr().err


def test_the_packages_are_extras_under_the_names_of_the_logs() -> None:
    import tomllib

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert all(extras[name][0].startswith(f"{name}>=") for name in BOTH)


def test_small_config_is_logged_whole(fakes: SimpleNamespace, tmp_path: Path) -> None:
    with RunLogs(["wandb"]) as logs:
        RunDirectory(tmp_path, logs).log_from(0, small_config("m"))
    assert fakes.runs[0].given["config"]["stages"][1]["name"] == "two"
