"""Studies: jobs in order, resumed, kept apart from other settings; and what is said of their
results."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from oncue.data.dialogue_sources import WorldSource
from oncue.data.examples import WorldExamples
from oncue.engine.sampling import SamplingParams
from oncue.errors import ConfigError, DataError, RunStoppedError
from oncue.study.arms import Arm, Job, Study
from oncue.study.clip_view import ClipView
from oncue.study.jobs import is_done, run_all, run_folder, run_job, view_path
from oncue.study.results import results_of
from oncue.study.stream_findings import STREAMS
from oncue.study.studies import study_named
from oncue.train.rl.settings import GrpoConfig
from oncue.train.sft.settings import SftConfig, Stage

VIEW = ClipView("shapes", "shapes", num_clips=1)
SELDOM = ClipView("shapes-2s", "shapes", num_clips=1, frame_interval_s=2.0)


def small_sft(model: str, seed: int) -> SftConfig:
    source = WorldSource(worlds={"shapes": 1.0}, num_turns=(3, 3))
    return SftConfig(
        model=model,
        stages=(Stage("one", source, 1, 2),),
        frame_interval_s=1.0,
        frames_per_turn=1,
        freeze_vision=False,
        gradient_checkpointing=False,
        device="cpu",
        num_workers=0,
        seed=seed,
    )


def small_rl(model: str, seed: int) -> GrpoConfig:
    return GrpoConfig(
        model=model,
        examples=WorldExamples(worlds={"shapes": 1.0}, num_turns=(2, 2)),
        num_steps=2,
        prompts_per_step=1,
        group_size=2,
        sampling=SamplingParams(temperature=1.0, max_new_tokens=3),
        gradient_checkpointing=False,
        device="cpu",
        num_workers=0,
        seed=seed,
    )


STUDY = Study(
    "small",
    "Small",
    "Nothing is learned here.",
    (
        Arm("sft", "supervised", small_sft, (VIEW, SELDOM), seeds=(0,)),
        Arm("rl", "rewarded", small_rl, (VIEW,), seeds=(0,), start="sft"),
    ),
    STREAMS,
)
SFT, RL = STUDY.jobs()

pytestmark = pytest.mark.usefixtures("each_curve_once")


@pytest.fixture(scope="module")
def ran(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was run whole."""
    folder = tmp_path_factory.mktemp("runs")
    for job in STUDY.jobs():
        run_job(folder, job, str(tiny_model_folder), folder / "cache", lambda _: None)
    return folder


def test_a_job_starts_from_the_model_of_the_one_before(ran: Path, tiny_model_folder: Path) -> None:
    settings = (run_folder(ran, "rl/0") / "config.yaml").read_text()
    assert f"model: {run_folder(ran, 'sft/0')}/checkpoints/step_000002" in settings
    assert is_done(ran, SFT, str(tiny_model_folder))
    assert is_done(ran, RL, str(tiny_model_folder))
    assert not is_done(ran, Job(SFT.arm, 1), str(tiny_model_folder))


def test_what_is_done_is_not_done_again(ran: Path, tiny_model_folder: Path) -> None:
    path = view_path(ran, RL, VIEW)
    before = (path.stat().st_mtime_ns, (run_folder(ran, "rl/0") / "metrics.jsonl").read_text())
    run_job(ran, RL, str(tiny_model_folder), ran / "cache", lambda _: None)
    assert (
        path.stat().st_mtime_ns,
        (run_folder(ran, "rl/0") / "metrics.jsonl").read_text(),
    ) == before
    scores = path.read_text()
    path.unlink()  # killed before it was scored
    assert not is_done(ran, RL, str(tiny_model_folder))
    run_job(ran, RL, str(tiny_model_folder), ran / "cache", lambda _: None)
    assert path.read_text() == scores


def test_results_of_other_settings_are_refused(ran: Path, tiny_model_folder: Path) -> None:
    other = replace(
        RL,
        arm=replace(
            RL.arm, config=lambda model, seed: replace(small_rl(model, seed), learning_rate=1.0)
        ),
    )
    with pytest.raises(ConfigError, match=r"learning_rate was 1e-06, now 1\.0"):
        is_done(ran, other, str(tiny_model_folder))
    with pytest.raises(ConfigError, match="model was"):
        is_done(ran, SFT, "another")


def test_results_from_other_weights_are_refused(
    ran: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    """The start of reinforcement learning was trained anew: the same path, and other weights in
    it."""
    shutil.copytree(ran, tmp_path / "runs")
    assert is_done(tmp_path / "runs", RL, str(tiny_model_folder))
    weights = (
        run_folder(tmp_path / "runs", "sft/0") / "checkpoints" / "step_000002" / "model.safetensors"
    )
    changed = load_file(weights)
    next(iter(changed.values())).add_(1)
    save_file(changed, weights, metadata={"format": "pt"})
    for look in (is_done, lambda *job: run_job(*job, ran / "cache", lambda _: None)):
        with pytest.raises(ConfigError, match="begun from other weights"):
            look(tmp_path / "runs", RL, str(tiny_model_folder))


def test_scores_of_another_view_are_made_again(
    ran: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(ran, tmp_path / "runs")
    more = replace(RL, arm=replace(RL.arm, views=(replace(VIEW, num_clips=VIEW.num_clips + 1),)))
    assert not is_done(tmp_path / "runs", more, str(tiny_model_folder))
    run_job(tmp_path / "runs", more, str(tiny_model_folder), ran / "cache", lambda _: None)
    scores = json.loads(view_path(tmp_path / "runs", RL, VIEW).read_text())
    assert scores["policies"]["model"]["n_samples"] == VIEW.num_clips + 1


def test_scores_of_clips_that_were_drawn_otherwise_are_made_again(
    ran: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(ran, tmp_path / "runs")
    path = view_path(tmp_path / "runs", RL, VIEW)
    scores = json.loads(path.read_text())
    path.write_text(json.dumps({**scores, "drawn_by": "an older world"}))
    assert not is_done(tmp_path / "runs", RL, str(tiny_model_folder))
    run_job(tmp_path / "runs", RL, str(tiny_model_folder), ran / "cache", lambda _: None)
    assert json.loads(path.read_text()) == scores


@pytest.mark.parametrize("text", ["null", "[1]", "{", '{"view": {}}'])
def test_a_broken_file_of_scores_is_named(
    ran: Path, tiny_model_folder: Path, tmp_path: Path, text: str
) -> None:
    shutil.copytree(ran, tmp_path / "runs")
    view_path(tmp_path / "runs", RL, VIEW).write_text(text)
    with pytest.raises(DataError, match=r"view_.*\.json .*remove it"):
        is_done(tmp_path / "runs", RL, str(tiny_model_folder))


def test_a_broken_note_of_the_start_is_named(
    ran: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(ran, tmp_path / "runs")
    (run_folder(tmp_path / "runs", "rl/0") / "start.json").write_text("")
    with pytest.raises(DataError, match=r"start\.json is not JSON"):
        is_done(tmp_path / "runs", RL, str(tiny_model_folder))


def test_a_start_that_was_stopped_half_way_is_no_start(
    ran: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(run_folder(ran, "sft/0"), run_folder(tmp_path, "sft/0"))
    (run_folder(tmp_path, "sft/0") / "README.md").unlink()  # written at the end
    with pytest.raises(ConfigError, match="rl/0 starts from sft/0, which has not been trained"):
        run_job(tmp_path, RL, str(tiny_model_folder), tmp_path, lambda _: None)


def test_the_folder_of_a_study_may_be_moved_and_called_by_another_name(
    ran: Path, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ran, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "moved", Path("moved")):
        assert is_done(folder, RL, str(tiny_model_folder))
        before = view_path(folder, RL, VIEW).stat().st_mtime_ns
        run_job(folder, RL, str(tiny_model_folder), ran / "cache", lambda _: None)
        assert view_path(folder, RL, VIEW).stat().st_mtime_ns == before
    checkpoints = run_folder(tmp_path / "moved", "sft/0") / "checkpoints"
    (checkpoints / "step_000002").rename(checkpoints / "step_000003")  # control: another start
    with pytest.raises(ConfigError, match="model was"):
        is_done(tmp_path / "moved", RL, str(tiny_model_folder))


def test_a_job_whose_start_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rl/0 starts from sft/0, which has not been trained"):
        run_job(tmp_path, RL, "mini", tmp_path, lambda _: None)


def test_two_processes_never_work_on_the_same_run(ran: Path, tiny_model_folder: Path) -> None:
    import fcntl

    with (run_folder(ran, "sft/0") / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another process is at work"):
            run_job(ran, SFT, str(tiny_model_folder), ran / "cache", lambda _: None)


def test_results_hold_lists_over_seeds(ran: Path, tiny_model_folder: Path) -> None:
    results = results_of(STUDY, ran, str(tiny_model_folder), {"sft/0", "rl/0"})
    scores = json.loads(view_path(ran, RL, VIEW).read_text())["policies"]["model"]
    assert results["rl"]["pauc"] == [scores["pauc_omega_0.5"]]
    assert results["rl"]["num_replies"] == [scores["n_replies"]]
    assert results["sft"]["shapes-2s"].keys() == {
        k for k in results["sft"] if isinstance(results["sft"][k], list)
    } - {"seeds"}
    assert (results["study"]["complete"], results["study"]["missing"]) == (True, [])
    assert [curve["step"] for curve in results["study"]["curves"]["rl"]] == [[1, 2]]
    assert "sft" not in results["study"]["curves"]
    models = {name: settings["model"] for name, settings in results["study"]["settings"].items()}
    assert models == {
        "sft": str(tiny_model_folder),
        "rl": "sft/seed_0/checkpoints/step_000002",
    }  # wherever it was run
    partly = results_of(STUDY, ran, str(tiny_model_folder), {"sft/0"})
    assert (partly["study"]["missing"], partly["rl"]["pauc"], partly["rl"]["seeds"]) == (
        ["rl/0"],
        [],
        [],
    )


def jobs_of(*names: str) -> list[Job]:
    """Jobs that only order matters of: `b<a` is one that starts from `a`."""
    arms = [name.partition("<") for name in names]
    return [Job(Arm(name, "", small_sft, (VIEW,), start=start), 0) for name, _, start in arms]


def run_scripts(
    folder: Path, jobs: list[Job], scripts: dict[str, str], **options: Any
) -> tuple[set[str], list[str]]:
    done, told = options.pop("done", set()), []
    run_all(
        folder,
        jobs,
        done,
        lambda job: [sys.executable, "-c", scripts.get(job.arm.name, "")],
        options.pop("num_at_once", 2),
        told.append,
        lambda: None,
    )
    return done, [line.partition(" in ")[0] for line in told]


def test_a_job_waits_for_the_one_it_starts_from(tmp_path: Path) -> None:
    done, told = run_scripts(tmp_path, jobs_of("b<a", "a", "c<b"), {})
    assert done == {"a/0", "b/0", "c/0"}
    assert told == [f"{name}/0: {what}" for name in "abc" for what in ("started", "done")]
    assert run_scripts(tmp_path, jobs_of("a", "b<a"), {}, done={"a/0"})[1] == [
        "b/0: started",
        "b/0: done",
    ]


def test_one_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    scripts = {"a": "import sys; print('the disk is full'); sys.exit(3)"}
    done: set[str] = set()
    with pytest.raises(
        RunStoppedError, match=r"a/0 \(exit code 3\): the disk is full; not begun: b/0"
    ) as caught:
        run_scripts(tmp_path, jobs_of("a", "b<a", "c"), scripts, done=done)
    assert "1 of the jobs failed" in str(caught.value)
    assert done == {"c/0"}


@pytest.mark.parametrize("num_at_once", [1, 3])
def test_no_more_run_at_once_than_asked(tmp_path: Path, num_at_once: int) -> None:
    jobs = jobs_of("a", "b", "c")
    scripts = dict.fromkeys("abc", "import time; time.sleep(0.3)")
    _, told = run_scripts(tmp_path, jobs, scripts, num_at_once=num_at_once)
    assert [line.endswith("started") for line in told[:num_at_once]] == [True] * num_at_once
    assert told[num_at_once].endswith("done")


def test_those_at_work_are_stopped_with_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):
        pass

    def stop(line: str) -> None:
        if line == "b/0: started":
            raise Stop

    started: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    with pytest.raises(Stop):
        run_all(tmp_path, jobs_of("a", "b"), set(), lambda _: sleep, 2, stop, lambda: None)
    assert [process.returncode for process in started] == [-signal.SIGTERM] * 2


def test_the_arms_of_the_mini_study_differ_by_what_they_say() -> None:
    study = study_named("mmduet2-mini")
    arms = {arm.name: arm for arm in study.arms}
    names = [arm.name for arm in study.arms]
    assert all(
        not arm.start or names.index(arm.start) < names.index(arm.name) for arm in study.arms
    )
    assert all(len(arms[name].seeds) >= 3 for name in names[:5])
    whole = arms["rl"].config("m", 1)
    assert isinstance(whole, GrpoConfig)
    for term in ("repetition", "in_span", "prefix"):
        assert getattr(whole.reward, term) > 0
        without = arms[f"no_{term}"].config("m", 1)
        assert without == replace(whole, reward=replace(whole.reward, **{term: 0.0}))
    seldom = arms["rl_2s"].config("m", 0)
    assert isinstance(seldom, GrpoConfig)
    lengths = [[n * c.frame_interval_s for n in c.examples.num_turns] for c in (whole, seldom)]
    assert lengths[0] == lengths[1]
