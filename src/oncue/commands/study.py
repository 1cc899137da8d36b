"""`oncue study`: several ways of training compared over seeds, from one command to one page."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from oncue.commands.number_checks import check_smallest
from oncue.commands.training import require_values
from oncue.errors import ConfigError
from oncue.files import prepare_folder, user_cache, write_json, write_text
from oncue.startup import loading

if TYPE_CHECKING:
    from oncue.study.arms import Job
    from oncue.study.arms import Study as Arms

FILES = ("results.json", "index.html")  # of --out


@dataclass(frozen=True)
class Study:
    """Train and score every arm of a study with every seed, and write a page with tables, curves,
    and what of the paper was seen. Goes on where it was stopped; what is done is not done again.

    Example: oncue study mmduet2-mini
    """

    name: tyro.conf.Positional[str]
    """mmduet2-mini: supervised training against reinforcement learning, each term of the reward
    left out, frame intervals, and how it goes over the steps. credit-mini: credit per episode
    against credit per turn. video-mtr-mini: retrieval by reward alone, in one turn and in several,
    with parts of the reward left out."""

    out: Path | None = None
    """Folder for index.html and results.json. By default docs/studies/NAME. Results that are there
    stay until all of their jobs are done again."""

    runs: Path | None = None
    """Folder for the runs. By default runs/studies/NAME."""

    only: tuple[str, ...] | None = None
    """Parts to run here and now, one after the other: ARM for all its seeds, or ARM/SEED such as
    rl/0."""

    model: str | None = None
    """The model that every arm begins with: a folder, a hub id (owner/name), or mini-sft, which
    ships with the package: the bundled model before reinforcement learning. By default mini-sft;
    for video-mtr-mini new, an untrained model."""

    at_once: int = 2
    """How many jobs run side by side, each in a process with its share of the cores."""

    page_only: bool = False
    """Run nothing; write the page of the jobs that are done. Refused where the page that is there
    shows more jobs."""

    cache: Path | None = None
    """Folder to keep clips in. By default oncue/world in the user's cache folder."""

    def run(self) -> int:
        """Run what is left, and write what is there. Returns the exit code."""
        self._check_flags()
        with loading():
            from oncue.study.jobs import is_done, run_all, run_job
            from oncue.study.studies import study_named
        study = study_named(self.name)
        jobs = study.chosen(self.only or ())
        runs, cache = (
            self.runs or Path("runs/studies") / study.name,
            self.cache or user_cache() / "world",
        )
        out = self.out or Path("docs/studies") / study.name
        model = self.model or study.model
        done = {job.name for job in study.jobs() if is_done(runs, job, model)}
        if self.page_only:
            self._check_page(study, runs, out, done)
            prepare_folder(out, files=FILES)
            self._write(study, runs, out, done)
            return 0
        prepare_folder(runs, "give another --runs")
        if self.only:
            for job in jobs:
                run_job(runs, job, model, cache, _say)
            return 0
        prepare_folder(out, files=FILES)
        for view in {view.name: view for job in jobs for view in job.arm.views}.values():
            view.prepare(cache)  # here, once, before several processes want to
        self._write(study, runs, out, done)
        run_all(
            runs,
            jobs,
            done,
            self._command,
            self.at_once,
            _say,
            lambda: self._write(study, runs, out, done),
        )
        return 0

    def _check_flags(self) -> None:
        """Raises ConfigError for flags that contradict each other, or that would do nothing."""
        require_values("--only", self.only)
        check_smallest(self, at_once=1)
        unused = {"--only": ("out", "at_once"), "--page-only": ("only", "at_once", "cache")}
        for flag, names in unused.items():
            for name in names:
                if getattr(self, flag.strip("-").replace("-", "_")) and getattr(
                    self, name
                ) != getattr(Study, name):
                    raise ConfigError(
                        f"--{name.replace('_', '-')} does nothing with {flag}; leave one of them "
                        "out"
                    )

    def _check_page(self, study: Arms, runs: Path, out: Path, done: set[str]) -> None:
        """Raises ConfigError where a page would say less than the one that is there, or nothing."""
        if not done:
            raise ConfigError(
                f"no job of {study.name} is done in {runs}; give the folder of its runs with --runs"
            )
        lost = _lost(study, out, done)
        if lost:
            raise ConfigError(
                f"{out} holds results of {len(lost)} jobs that are not done in {runs}, such as "
                f"{lost[0]}; give another "
                "--out or --runs"
            )

    def _command(self, job: Job) -> list[str]:
        """The command line that runs one job."""
        flags = {"--runs": self.runs, "--cache": self.cache, "--model": self.model}
        given = [
            str(word)
            for flag, value in flags.items()
            if value is not None
            for word in (flag, value)
        ]
        return [sys.executable, "-m", "oncue.cli", "study", self.name, "--only", job.name, *given]

    def _write(self, study: Arms, runs: Path, out: Path, done: set[str]) -> None:
        from oncue.study.results import results_of
        from oncue.study.study_page import study_page

        lost = _lost(study, out, done)
        if lost:
            print(
                f"kept {out / 'index.html'}, which shows {len(lost)} jobs that are not done here, "
                f"such as {lost[0]}"
            )
            return
        results = results_of(study, runs, self.model or study.model, done)
        write_json(out / "results.json", results)
        write_text(out / "index.html", study_page(results, study.findings))
        missing = len(results["study"]["missing"])
        print(
            f"wrote {out / 'index.html'}"
            + (f"; {missing} of the jobs are not done" if missing else "")
        )


def _lost(study: Arms, out: Path, done: set[str]) -> list[str]:
    """The jobs of the study whose results are in `out`, and would not be any more."""
    from oncue.study.results import jobs_in

    known = {job.name for job in study.jobs()}
    return sorted((jobs_in(out / "results.json") & known) - done)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
