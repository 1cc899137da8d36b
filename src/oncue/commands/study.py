"""`oncue study`: several ways of training compared over seeds, from one command to one page."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from oncue.errors import ConfigError
from oncue.files import prepare_folder, user_cache, write_json, write_text
from oncue.startup import loading

if TYPE_CHECKING:
    from oncue.study.arms import Job
    from oncue.study.arms import Study as Arms


@dataclass(frozen=True)
class Study:
    """Train and score every arm of a study with every seed, and write a page with tables, curves, and what of the paper
    was seen. Goes on where it was stopped; what is done is not done again.

    Example: oncue study mmduet2-mini
    """

    name: tyro.conf.Positional[str]
    """mmduet2-mini: supervised training against reinforcement learning, each term of the reward left out, frame
    intervals, and how it goes over the steps."""

    out: Path | None = None
    """Folder for index.html and results.json. By default docs/studies/NAME."""

    runs: Path | None = None
    """Folder for the runs. By default runs/studies/NAME."""

    only: tuple[str, ...] = ()
    """Parts to run here and now, one after the other: ARM for all its seeds, or ARM/SEED such as rl/0."""

    model: str = "mini-sft"
    """The model that every arm begins with: a folder, a hub id (owner/name), or mini-sft, which ships with the package:
    the bundled model before reinforcement learning."""

    at_once: int = 2
    """How many jobs run side by side, each in a process with its share of the cores."""

    page_only: bool = False
    """Run nothing; write the page of what is done."""

    cache: Path | None = None
    """Folder to keep clips in. By default oncue/world in the user's cache folder."""

    def run(self) -> int:
        """Run what is left, and write what is there. Returns the exit code."""
        if self.at_once < 1:
            raise ConfigError(f"--at-once must be at least 1, got {self.at_once}")
        with loading():
            from oncue.study.jobs import clips_of, is_done, run_all, run_job
            from oncue.study.studies import study_named
        study = study_named(self.name)
        jobs = study.chosen(self.only)
        runs, cache = self.runs or Path("runs/studies") / study.name, self.cache or user_cache() / "world"
        prepare_folder(runs, "give another --runs")
        out = self.out or Path("docs/studies") / study.name
        done = {job.name for job in study.jobs() if is_done(runs, job, self.model)}
        if self.page_only:
            prepare_folder(out)
            self._write(study, runs, out, done)
            return 0
        if self.only:
            for job in jobs:
                run_job(runs, job, self.model, cache, _say)
            return 0
        prepare_folder(out)
        for view in {view.name: view for job in jobs for view in job.arm.views}.values():
            clips_of(view, cache)  # here, once, before several processes want to
        self._write(study, runs, out, done)
        run_all(runs, jobs, done, self._command, self.at_once, _say, lambda: self._write(study, runs, out, done))
        return 0

    def _command(self, job: Job) -> list[str]:
        """The command line that runs one job."""
        flags = {"--runs": self.runs, "--cache": self.cache, "--model": self.model}
        given = [str(word) for flag, value in flags.items() if value is not None for word in (flag, value)]
        return [sys.executable, "-m", "oncue.cli", "study", self.name, "--only", job.name, *given]

    def _write(self, study: Arms, runs: Path, out: Path, done: set[str]) -> None:
        from oncue.study.page import study_page
        from oncue.study.results import results_of

        results = results_of(study, runs, self.model, done)
        write_json(out / "results.json", results)
        write_text(out / "index.html", study_page(results))
        missing = len(results["study"]["missing"])
        print(f"wrote {out / 'index.html'}" + (f"; {missing} of the jobs are not done" if missing else ""))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
