"""Laws of a run directory: what a run was started with is what it goes on with."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

from oncue.data.row_examples import RowExamples
from oncue.errors import ConfigError, DataError
from oncue.recipes.mmduet2 import mmduet2_3b_grpo
from oncue.rewards.proactive import TERMS
from oncue.train.rl.settings import GrpoConfig
from oncue.train.run_dir import RunDirectory
from oncue.train.run_report import write_report

ROWS = "".join(f'{{"a": {number}}}\n' for number in range(1, 10))


@pytest.fixture
def config(tmp_path: Path) -> GrpoConfig:
    path = tmp_path / "examples.jsonl"
    path.write_text(ROWS)
    return replace(mmduet2_3b_grpo(), examples=RowExamples(paths=(path,)))


def test_a_training_file_that_was_edited_is_not_resumed_with(
    config: GrpoConfig, tmp_path: Path
) -> None:
    folder, data = tmp_path / "run", tmp_path / "examples.jsonl"
    RunDirectory.open(folder, config, resume=False).log({"step": 1})
    RunDirectory.open(folder, config, resume=True)
    data.write_text(ROWS.replace("3", "33"))
    with pytest.raises(
        ConfigError,
        match=r"is not what it was when .*examples\.jsonl: row 3 differs.*--allow-changed-data",
    ):
        RunDirectory.open(folder, config, resume=True)
    data.write_text(ROWS)
    RunDirectory.open(folder, config, resume=True)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (ROWS.replace("3", "x").replace("8", "x"), "rows 3, 8 differ"),
        (ROWS.replace('"a"', '"b"'), "rows 1, 2, 3, 4, 5 and 4 more differ"),
        (
            ROWS.replace('{"a": 4}\n', ""),
            "it has 8 rows, it had 9; the first that differs is row 4",
        ),
        (ROWS + '{"a": 10}', "it has 10 rows, it had 9; the first that differs is row 10"),
        (ROWS.replace("\n", "\r\n").strip() + "\n\n", ""),
    ],
)
def test_what_differs_is_named_and_gone_on_with_where_asked(
    config: GrpoConfig, tmp_path: Path, now: str, told: str, recwarn: pytest.WarningsRecorder
) -> None:
    folder, data = tmp_path / "run", tmp_path / "examples.jsonl"
    RunDirectory.open(folder, config, resume=False).log({"step": 1})
    data.write_text(now, newline="")
    if told:
        with pytest.raises(ConfigError) as caught:
            RunDirectory.open(folder, config, resume=True)
        assert f"({data}: {told}); resume with the same rows" in str(caught.value)
    RunDirectory.open(folder, config, resume=True, allow_changed_data=True)
    changed = [f"{data}: {told}"] if told else []
    assert [told in str(warning.message) for warning in recwarn.list] == [True] * len(changed)
    assert json.loads((folder / "env.json").read_text()).get("changed_data", []) == changed
    RunDirectory.open(folder, config, resume=True)  # it is what it was, now


def test_rows_of_a_version_that_kept_no_digest_of_each_are_compared_as_a_whole(
    config: GrpoConfig, tmp_path: Path
) -> None:
    folder, data = tmp_path / "run", tmp_path / "examples.jsonl"
    RunDirectory.open(folder, config, resume=False).log({"step": 1})
    versions = json.loads((folder / "env.json").read_text())
    digests = {name: digest["sha256"] for name, digest in versions["training_files"].items()}
    (folder / "env.json").write_text(json.dumps({**versions, "training_files": digests}))
    RunDirectory.open(folder, config, resume=True)
    data.write_text(ROWS + "{}")
    with pytest.raises(ConfigError, match="which rows differ is not known"):
        RunDirectory.open(folder, config, resume=True)


def test_a_run_of_a_version_that_kept_no_digests_is_resumed(
    config: GrpoConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    RunDirectory.open(folder, config, resume=False).log({"step": 1})
    versions = json.loads((folder / "env.json").read_text())
    del versions["training_files"]
    (folder / "env.json").write_text(json.dumps(versions))
    RunDirectory.open(folder, config, resume=True)
    (folder / "env.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        RunDirectory.open(folder, config, resume=True)


def test_a_run_that_never_began_may_be_started_with_another_file(
    config: GrpoConfig, tmp_path: Path
) -> None:
    RunDirectory.open(tmp_path / "run", config, resume=False)
    (tmp_path / "examples.jsonl").write_text('{"a": 2}\n')
    run = RunDirectory.open(tmp_path / "run", config, resume=False)
    run.log({"step": 1})
    RunDirectory.open(tmp_path / "run", config, resume=True)


def test_the_page_draws_what_the_reward_of_the_run_names(tmp_path: Path) -> None:
    def headings(*names: str) -> list[str]:
        rows = [{"step": step, **dict.fromkeys(names, 0.5)} for step in (1, 2)]
        write_report(tmp_path, rows)
        return re.findall(r"<h2>(.*?)</h2>", (tmp_path / "report.html").read_text())

    assert headings("loss", "reward_frames", "reward", "reward_a<b", "group_spread") == [
        "Reward",
        "Term frames of the reward",
        "Term a&lt;b of the reward",
        "Spread of rewards within a group",
        "Loss",
    ]
    terms = [f"reward_{name}" for name in TERMS]
    assert headings("reward", *terms, "replies_per_episode", "first_reply_delay_s", "loss") == [
        "Reward",
        "PAUC term of the reward",
        "Replies per episode",
        "Delay of the first reply in a span, seconds",
        "Loss",
    ]
    assert headings("loss", "tokens_per_s") == ["Loss", "Tokens per second"]


def test_curves_of_a_long_run_are_drawn_less_often(config: GrpoConfig, tmp_path: Path) -> None:
    run = RunDirectory.open(tmp_path / "run", config, resume=False)
    report, rows = run.folder / "report.html", run.folder / "metrics.jsonl"

    def is_drawn(age_s: float) -> bool:
        """Whether a row that is logged `age_s` after the last drawing draws again."""
        then = float(int(time.time() - age_s))
        os.utime(report, (then, then))
        run.log({"step": 2})
        return report.stat().st_mtime != then

    run.log({"step": 1})
    assert report.exists()
    assert not is_drawn(0.0)
    assert is_drawn(150.0)
    rows.write_text(json.dumps({"step": 1, "long": "x" * 10_000_000}) + "\n")
    assert not is_drawn(60.0)
    assert is_drawn(600.0)


def test_the_settings_of_a_run_are_written_in_the_order_of_their_fields(
    config: GrpoConfig, tmp_path: Path
) -> None:
    """As in the help and the docs: related ones together, the model first."""
    RunDirectory.open(tmp_path / "run", config, resume=False)
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert list(written) == [field.name for field in fields(GrpoConfig)]
    assert list(written["sampling"]) == [field.name for field in fields(config.sampling)]
    assert list(written) != sorted(written)  # control
