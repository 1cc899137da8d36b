"""Running the jobs of a study: train, score the result, and do all of them, some at a time, in
processes of their own.

Everything is resumable: a job that was killed goes on at its newest checkpoint, one that is done is
not done again.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from oncue.engine.sampling import SamplingParams
from oncue.env.streaming import FILE_LOOKAHEAD
from oncue.errors import ConfigError, RunStoppedError
from oncue.eval.benchmarks.world import World
from oncue.eval.benchmarks.world_clips import ClipFile, ClipSet, prepare
from oncue.eval.runner import run_benchmark
from oncue.fields import field_as
from oncue.files import alone_in, write_json
from oncue.hub import resolve_model
from oncue.json_files import json_object_in
from oncue.policy.open_policy import LocalModel, open_policy
from oncue.rewards.proactive import MAX_SCORE, ProactiveReward
from oncue.scoring.judge_specs import make_judge
from oncue.study.arms import Job, View
from oncue.train.checkpoint import latest_checkpoint
from oncue.train.rl.loop import train_grpo
from oncue.train.rl.settings import GrpoConfig
from oncue.train.run_dir import RunDirectory, curves_to_the_end
from oncue.train.sft.loop import train_sft
from oncue.train.sft.settings import SftConfig
from oncue.world.make import drawn_by

Report = Callable[[str], None]
MODEL = "model"  # the name of what was trained, in the files of its scores
_EXPECTED = "what a study wrote; remove it, and it is made again"
_MAX_NEW_TOKENS = 32  # no reply of a world needs more


def run_folder(folder: Path, name: str) -> Path:
    """The run directory of the job `name` (`arm/seed`) below the folder of the study."""
    arm, seed = name.split("/")
    return folder / arm / f"seed_{seed}"


def view_path(folder: Path, job: Job, view: View) -> Path:
    """Where the scores of a view are."""
    return run_folder(folder, job.name) / f"view_{view.name}.json"


def is_done(folder: Path, job: Job, start: str) -> bool:
    """Whether a job has been trained and looked at from all sides. `start`: the model that the
    study starts from.

    Raises ConfigError where it was run with other settings, or from other weights, than it would be
    now.
    """
    if not all(_is_scored(folder, job, view) for view in job.arm.views):
        return False
    RunDirectory.open(run_folder(folder, job.name), config_of(folder, job, start), resume=True)
    _check_start(folder, job, start)
    return True


def _is_scored(folder: Path, job: Job, view: View) -> bool:
    """Whether there are scores of a view, and of clips, as they are now; those of others count for
    nothing."""
    if not view_path(folder, job, view).exists():
        return False
    scores = scores_of(folder, job, view)
    return (scores.get("view"), scores.get("drawn_by")) == (asdict(view), drawn_by())


def _check_start(folder: Path, job: Job, start: str) -> None:
    """Keeps in a job's run directory what weights it began with; raises ConfigError where those
    were others."""
    out = run_folder(folder, job.name)
    model = _trained(folder, job) if job.start else resolve_model(start)
    digest = hashlib.sha256()
    for path in sorted(model.glob("*.safetensors")):
        digest.update(path.read_bytes())
    begun, now = out / "start.json", {"sha256": digest.hexdigest()}
    if not begun.exists():
        write_json(begun, now)
    elif _read(begun) != now:
        raise ConfigError(
            f"{out} was begun from other weights than {model} has now; remove it, and it is run "
            "again"
        )


def _trained(folder: Path, job: Job) -> Path:
    """The model a job starts from, of another job. Raises ConfigError where that has not been
    trained to its end."""
    assert job.start is not None
    run = RunDirectory(run_folder(folder, job.start))
    model = latest_checkpoint(run.checkpoints)
    if model is None or not run.is_finished:
        raise ConfigError(
            f"{job.name} starts from {job.start}, which has not been trained in {folder}; run it "
            "first"
        )
    return model


def config_of(folder: Path, job: Job, start: str) -> SftConfig | GrpoConfig:
    """The settings of a job, with the model it starts from. Raises ConfigError where that has not
    been trained whole.

    A run that began with the same checkpoint of the study keeps the path it was given then:
    `folder` may have been moved since, or be called by another name.
    """
    if job.start is None:
        return job.arm.config(start, job.seed)
    before = _trained(folder, job)
    inside = before.relative_to(folder).parts  # such as sft, seed_0, checkpoints, step_000400
    run = RunDirectory(run_folder(folder, job.name))
    given = run.given_model() if run.has_started() else None
    if given is None or Path(given).parts[-len(inside) :] != inside:
        given = str(before)
    return job.arm.config(given, job.seed)


def run_job(folder: Path, job: Job, start: str, cache: Path, report: Report) -> None:
    """Trains a job and scores its views; goes on where it was stopped. Raises as `train_sft` and
    `train_grpo`, and ConfigError where another process is at it."""
    out, config = run_folder(folder, job.name), config_of(folder, job, start)
    with alone_in(out), curves_to_the_end(out):
        _check_start(folder, job, start)
        _run_job(folder, job, config, cache, report)


def _run_job(
    folder: Path, job: Job, config: SftConfig | GrpoConfig, cache: Path, report: Report
) -> None:
    out = run_folder(folder, job.name)

    def tell(metrics: dict[str, Any]) -> None:
        shown = "reward" if "reward" in metrics else "loss"
        report(f"{job.name}: step {metrics['step']}, {shown} {metrics[shown]:.4f}")

    if isinstance(config, GrpoConfig):
        reward = ProactiveReward(make_judge(config.judge, MAX_SCORE), config.reward_of_streams)
        trained = train_grpo(config, reward, out, resume=True, report=tell)
    else:
        trained = train_sft(config, out, resume=True, report=tell)
    for view in job.arm.views:
        if not _is_scored(folder, job, view):
            scores = measure(trained, view, cache, config.device)
            write_json(
                view_path(folder, job, view),
                {"view": asdict(view), "drawn_by": drawn_by(), **scores},
            )
            report(f"{job.name}: {view.name} scored")


def measure(model: Path, view: View, cache: Path, device: str | None) -> dict[str, Any]:
    """The scores of a model from one side, with those of silence and the oracle beside them."""
    sampling = SamplingParams(temperature=view.temperature, max_new_tokens=_MAX_NEW_TOKENS)
    spec = LocalModel(model, device, sampling=sampling, lookahead=FILE_LOOKAHEAD)
    return run_benchmark(World(_clip_set(view), cache), open_policy(spec), name=MODEL).numbers()


def clips_of(view: View, cache: Path) -> list[ClipFile]:
    """The clips of a view as video files; those already there are kept."""
    return prepare(cache, _clip_set(view))


def _clip_set(view: View) -> ClipSet:
    return ClipSet(view.world, "test", view.num_clips, frame_interval_s=view.frame_interval_s)


def scores_of(folder: Path, job: Job, view: View) -> dict[str, Any]:
    """What `measure` wrote. Raises DataError for a broken file."""
    path = view_path(folder, job, view)
    scores = _read(path)
    for name in ("view", "headline", "policies"):
        field_as(dict[str, Any], scores, name, f"{path} (remove it, and it is made again)")
    return scores


def _read(path: Path) -> dict[str, Any]:
    """A JSON object that this module wrote. Raises DataError for anything else."""
    return dict(json_object_in(path, _EXPECTED))


def run_all(
    folder: Path,
    jobs: Sequence[Job],
    done: set[str],
    command: Callable[[Job], list[str]],
    num_at_once: int,
    report: Report,
    on_done: Callable[[], None],
) -> None:
    """Runs `jobs` in processes (`command` of each), `num_at_once` together, each after the one it
    starts from.

    `done`: names of jobs that are done; grows. What a process says is in `log.txt` of its run
    directory. Where one fails, those that do not need it go on. Raises RunStoppedError in the end
    if any failed.
    """
    waiting, running, failed = (
        [job for job in jobs if job.name not in done],
        _Running(folder, num_at_once),
        [],
    )
    try:
        while waiting or running.jobs:
            ready = [job for job in waiting if job.start is None or job.start in done]
            for job in ready[: num_at_once - len(running.jobs)]:
                waiting.remove(job)
                running.start(job, command(job))
                report(f"{job.name}: started")
            if not running.jobs:
                break
            for name, code, seconds in running.ended():
                if code:
                    failed.append(f"{name} (exit code {code}): {_last_line(folder, name)}")
                    report(f"{name}: failed")
                else:
                    done.add(name)
                    report(f"{name}: done in {seconds:.0f} s")
                    on_done()
    finally:
        running.stop()
    if waiting or failed:
        left = f"; not begun: {', '.join(job.name for job in waiting)}" if waiting else ""
        raise RunStoppedError(
            f"{len(failed)} of the jobs failed: {'; '.join(failed)}{left}. What is done is kept; "
            "the same command goes on from there"
        )


class _Running:
    """The processes at work. SIGTERM stops them too while this exists."""

    def __init__(self, folder: Path, num_at_once: int) -> None:
        self.jobs: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
        self._folder = folder
        self._environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // num_at_once)),
        }
        self._before = signal.signal(signal.SIGTERM, signal.default_int_handler)

    def start(self, job: Job, command: Sequence[str]) -> None:
        """Starts a job; what it says goes to `log.txt`."""
        out = run_folder(self._folder, job.name)
        out.mkdir(parents=True, exist_ok=True)
        with (out / "log.txt").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)
        self.jobs[job.name] = process, time.monotonic()

    def ended(self) -> list[tuple[str, int, float]]:
        """(name, exit code, seconds) of those that have ended, after a short wait."""
        time.sleep(0.2)
        found = []
        for name, (process, started_s) in list(self.jobs.items()):
            code = process.poll()
            if code is not None:
                del self.jobs[name]
                found.append((name, code, time.monotonic() - started_s))
        return found

    def stop(self) -> None:
        """Ends those still at work, and waits for them: they write at most what they are at."""
        signal.signal(signal.SIGTERM, self._before)
        for process, _ in self.jobs.values():
            process.terminate()
        for process, _ in self.jobs.values():
            process.wait()


def _last_line(folder: Path, name: str) -> str:
    path = run_folder(folder, name) / "log.txt"
    lines = path.read_text("utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"nothing said in {path}"
