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
from oncue.study.jobs import MODEL, config_of, run_folder, scores_of
from oncue.study.targets import targets_of
from oncue.train.rl.settings import GrpoConfig
from oncue.train.run_dir import RunDirectory

_REMEDY = "give another --out, or remove it"
_EXPECTED = f"the results of a study; {_REMEDY}"
CURVES = (
    "reward",
    "reward_pauc",
    "replies_per_episode",
    "repeated_share",
    "first_reply_delay_s",
    "silence_share",
)


def results_of(study: Study, folder: Path, start: str, done: set[str]) -> dict[str, Any]:
    """Everything measured by the jobs in `done`, an entry per arm and one called `study`.

    An entry holds lists over seeds, those of its first view at the top, those of the others under
    the view's name: `pauc`, `duplicates` and `hit_turns` in percent, `num_replies` per clip,
    `first_reply_delay_s`, and `false_replies_per_quiet_min`. `duplicates` is of the `num_following`
    replies that follow another in their span, and None where there are none.
    """
    arms = {arm.name: _arm(arm, folder, done) for arm in study.arms}
    missing = [job.name for job in study.jobs() if job.name not in done]
    references = _references(study, folder, done)
    curves = {
        arm.name: [_curve(folder, job) for job in jobs]
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
            "claims": [to_plain(claim) for claim in claims_of(arms, curves)],
            "targets": [to_plain(target) for target in targets_of(arms, references)],
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
    rows = [scores_of(folder, job, view)["policies"][MODEL] for job in jobs]
    return {
        "pauc": [row["pauc_omega_0.5"] for row in rows],
        "duplicates": [row["duplicates"] for row in rows],
        "num_duplicates": [row["n_duplicates"] for row in rows],
        "num_following": [row["n_duplicates_decided"] for row in rows],
        "num_replies": [rounded(row["n_replies"] / row["n_samples"], 3) for row in rows],
        "first_reply_delay_s": [row["first_reply_delay_s"] for row in rows],
        "false_replies_per_quiet_min": [row["false_replies_per_quiet_min"] for row in rows],
        "hit_turns": [row["hit_turns"] for row in rows],
    }


def _references(study: Study, folder: Path, done: set[str]) -> dict[str, Any]:
    """Of each view, what is compared with the model: silence, talk at every turn, the earliest
    perfect replies."""
    found: dict[str, Any] = {}
    for arm in study.arms:
        for job in _jobs(arm, done):
            for view in arm.views:
                if view.name in found:
                    continue
                scores = scores_of(folder, job, view)
                headline = scores["headline"]
                found[view.name] = {
                    **{
                        name: headline[name]
                        for name in ("silence_pauc", "talk_pauc", "oracle_pauc", "n_clips")
                    },
                    "oracle_delay_s": scores["policies"]["oracle"]["first_reply_delay_s"],
                    "frame_interval_s": view.frame_interval_s,
                    "temperature": view.temperature,
                }
    return found


def _curve(folder: Path, job: Job) -> dict[str, Any]:
    rows = RunDirectory(run_folder(folder, job.name)).metrics()
    columns = {name: [rounded(row[name], 4) for row in rows] for name in CURVES}
    return {"seed": job.seed, "step": [row["step"] for row in rows], **columns}
