"""What a study found, from the files of its jobs: one plain value, which is written down and
drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oncue import __version__
from oncue.config import to_plain
from oncue.eval.table import rounded
from oncue.fields import field_as
from oncue.json_files import json_object_in
from oncue.study.arms import Arm, Job, Study, View
from oncue.study.claims import claims_of
from oncue.study.jobs import config_of, run_folder, scores_of
from oncue.train.rl.settings import GrpoConfig
from oncue.train.run_dir import RunDirectory

_REMEDY = "give another --out, or remove it"
_EXPECTED = f"the results of a study; {_REMEDY}"


def results_of(study: Study, folder: Path, start: str, done: set[str]) -> dict[str, Any]:
    """Everything measured by the jobs in `done`, an entry per arm and one called `study`.

    An entry holds lists over seeds, those of its first view at the top, those of the others under
    the view's name; what they hold is up to the view (`View.numbers`).
    """
    arms = {arm.name: _arm(arm, folder, done) for arm in study.arms}
    missing = [job.name for job in study.jobs() if job.name not in done]
    references = _references(study, folder, done)
    curves = {
        arm.name: [_curve(folder, job, study.findings.logged) for job in jobs]
        for arm in study.arms
        if (jobs := _jobs(arm, done)) and isinstance(config_of(folder, jobs[0], start), GrpoConfig)
    }
    return {
        **arms,
        "study": {
            "name": study.name,
            "title": study.title,
            "about": study.about,
            "oncue": __version__,
            "complete": not missing,
            "missing": missing,
            "references": references,
            "curves": curves,
            "claims": [to_plain(claim) for claim in claims_of(study.findings.claims, arms, curves)],
            "targets": [to_plain(target) for target in study.findings.targets(arms, references)],
            "settings": {
                arm.name: _settings(folder, jobs[0], start)
                for arm in study.arms
                if (jobs := _jobs(arm, done))
            },
        },
    }


def _settings(folder: Path, job: Job, start: str) -> Any:
    """The settings of a job; a model of the study itself by its place in the folder of runs,
    wherever that lay."""
    plain = to_plain(config_of(folder, job, start))
    if job.start is not None:
        place = run_folder(Path(), job.start) / "checkpoints" / Path(plain["model"]).name
        plain["model"] = place.as_posix()
    return plain


def jobs_in(path: Path) -> set[str]:
    """The names of the jobs in a file of results; none where there is no file. Raises DataError for
    a broken one."""
    if not path.exists():
        return set()
    arms = json_object_in(path, _EXPECTED)
    return {
        f"{name}/{seed}"
        for name in arms
        if name != "study"
        for seed in field_as(tuple[int, ...], arms[name], "seeds", f"{path} ({_REMEDY}), {name}")
    }


def _jobs(arm: Arm, done: set[str]) -> list[Job]:
    return [job for seed in arm.seeds if (job := Job(arm, seed)).name in done]


def _arm(arm: Arm, folder: Path, done: set[str]) -> dict[str, Any]:
    jobs = _jobs(arm, done)
    first, *others = arm.views
    return {
        "about": arm.about,
        "start": arm.start,
        "paper": arm.paper,
        "seeds": [job.seed for job in jobs],
        **_measures(folder, jobs, first),
        **{view.name: _measures(folder, jobs, view) for view in others if jobs},
    }


def _measures(folder: Path, jobs: Sequence[Job], view: View) -> dict[str, list[float | None]]:
    rows = [view.numbers(scores_of(folder, job, view)) for job in jobs]
    return {name: [row[name] for row in rows] for name in view.names}


def _references(study: Study, folder: Path, done: set[str]) -> dict[str, Any]:
    """Of each view, what is compared with the model."""
    found: dict[str, Any] = {}
    for arm in study.arms:
        for job in _jobs(arm, done):
            for view in arm.views:
                if view.name not in found:
                    found[view.name] = view.references(scores_of(folder, job, view))
    return found


def _curve(folder: Path, job: Job, names: Sequence[str]) -> dict[str, Any]:
    rows = RunDirectory(run_folder(folder, job.name)).metrics()
    columns = {name: [rounded(row[name], 4) for row in rows] for name in names}
    return {"seed": job.seed, "step": [row["step"] for row in rows], **columns}
