"""`oncue study` as a user runs it: flags that contradict each other, and results that must not be
lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oncue import cli
from oncue.errors import DataError
from oncue.study.arms import Arm, Study
from oncue.study.clip_view import ClipView
from oncue.study.results import jobs_in
from oncue.study.stream_findings import STREAMS
from oncue.train.rl.settings import GrpoConfig

ARMS = tuple(
    Arm(name, "", lambda model, _: GrpoConfig(model), (ClipView("shapes", "shapes"),), (0,))
    for name in ("sft", "rl")
)
STUDY = Study("small", "Small", "Nothing is run here.", ARMS, STREAMS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "there is no study 'nothing'; expected one of mmduet2-mini"),
        (
            ["mmduet2-mini", "--only", "rl/7"],
            "has no part 'rl/7'; expected ARM or ARM/SEED of sft, rl",
        ),
        (["mmduet2-mini", "--at-once", "0"], "--at-once must be at least 1, got 0"),
        (["mmduet2-mini", "--only", "rl/0"], "rl/0 starts from sft/0, which has not been trained"),
        (["video-mtr-mini", "--only", "ppo/0"], "ppo/0 starts from sft/0, which has not been"),
        (["mmduet2-mini", "--only", "rl/0", "--out", "out"], "--out does nothing with --only"),
        (
            ["mmduet2-mini", "--only", "rl/0", "--at-once", "3"],
            "--at-once does nothing with --only",
        ),
        (["mmduet2-mini", "--page-only", "--only", "rl/0"], "--only does nothing with --page-only"),
        (["mmduet2-mini", "--page-only"], "no job of mmduet2-mini is done in "),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["study", *words, "--runs", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "docs").exists()


def run_study(monkeypatch: pytest.MonkeyPatch, out: Path, *jobs: str) -> int:
    """A whole run of the small study without work: first nothing is done, then one of `jobs` after
    the other."""

    def run_all(_folder: Path, _jobs: Any, done: set[str], *rest: Any) -> None:
        for name in jobs:
            done.add(name)
            rest[-1]()

    monkeypatch.setattr("oncue.study.studies._STUDIES", (STUDY,))
    monkeypatch.setattr("oncue.study.jobs.is_done", lambda *_: False)
    monkeypatch.setattr(ClipView, "prepare", lambda *_: None)
    monkeypatch.setattr("oncue.study.jobs.run_all", run_all)
    monkeypatch.setattr(
        "oncue.study.results.results_of",
        lambda study, _runs, _start, done: {
            **{
                arm.name: {"seeds": [s for s in arm.seeds if f"{arm.name}/{s}" in done]}
                for arm in study.arms
            },
            "study": {"missing": []},
        },
    )
    monkeypatch.setattr("oncue.study.study_page.study_page", lambda results, _: json.dumps(results))
    return cli.main(["study", "small", "--out", str(out), "--runs", str(out / "runs")])


def test_results_that_are_there_stay_until_all_of_them_are_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_study(monkeypatch, tmp_path, "sft/0", "rl/0") == 0
    assert jobs_in(tmp_path / "results.json") == {"sft/0", "rl/0"}
    first = (
        (tmp_path / "results.json").stat().st_mtime_ns,
        (tmp_path / "index.html").stat().st_mtime_ns,
    )
    capsys.readouterr()
    assert run_study(monkeypatch, tmp_path, "sft/0") == 0  # as in a fresh checkout
    assert "kept" in capsys.readouterr().out
    assert (
        (tmp_path / "results.json").stat().st_mtime_ns,
        (tmp_path / "index.html").stat().st_mtime_ns,
    ) == first
    assert run_study(monkeypatch, tmp_path, "sft/0", "rl/0") == 0
    assert (tmp_path / "results.json").stat().st_mtime_ns > first[0]
    with monkeypatch.context() as patch:
        patch.setattr("oncue.study.jobs.is_done", lambda _runs, job, _start: job.name == "sft/0")
        capsys.readouterr()
        assert cli.main(["study", "small", "--page-only", "--out", str(tmp_path)]) == 2
    assert "holds results of 1 jobs that are not done" in capsys.readouterr().err
    assert jobs_in(tmp_path / "results.json") == {"sft/0", "rl/0"}


def test_results_that_cannot_be_read_are_never_replaced(tmp_path: Path) -> None:
    for text, said in [
        ("{", "is not JSON"),
        ("[]", r"holds \[\]; expected the results of a study"),
        ('{"sft": {}}', "sft: field 'seeds' is missing"),
        ('{"sft": {"seeds": [true]}}', "sft: 'seeds' 1 must be a whole number, got True"),
    ]:
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(DataError, match=rf"results\.json.*{said}"):
            jobs_in(tmp_path / "results.json")
