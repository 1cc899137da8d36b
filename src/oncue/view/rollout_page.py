"""One HTML file that shows the stored rollouts of a run: what was due, what each member said, and
what it earned."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from oncue.pages.page import render
from oncue.rewards.proactive import RewardSettings
from oncue.rewards.shown_names import PROACTIVE, shown_names
from oncue.view.film import Film
from oncue.view.marked_replies import marked_replies, stairs_of
from oncue.view.stored import Member, StoredGroup, StoredRun, StoredStep
from oncue.watch.watch_page import data_url

MAX_FILM_BYTES = 12_000_000
_MAX_CURVE = 400  # points; more could not be seen apart


def to_page(run: StoredRun, film_of: Callable[[StoredGroup], Film]) -> str:
    """The page as text. It loads nothing, and shows texts of rollouts as plain text only.

    `film_of` is asked from the newest step backwards, until the stills are `MAX_FILM_BYTES`.
    """
    title, values = f"Rollouts of {run.name}", page_values(run, film_of)
    return render("rollouts.html", title=title, values=values)


def page_values(run: StoredRun, film_of: Callable[[StoredGroup], Film]) -> dict[str, Any]:
    """What the page is drawn from."""
    config, films, names = run.config, _Films(film_of), shown_names(run.terms)
    is_proactive = names is PROACTIVE
    profile = [f"reward profile {config.reward.profile}"] if is_proactive else []
    rows = {row["step"]: row for row in run.metrics}
    steps = [
        _step(step, rows.get(step.step, {}), names.numbers, run, films)
        for step in reversed(run.steps)
    ]
    terms = [
        {
            "name": name,
            "words": words,
            "weight": getattr(config.reward, name) if is_proactive else None,
        }
        for name, words in names.terms.items()
    ]
    return {
        "run": run.name,
        "facts": [f"from {config.model}", f"judge {config.judge}", *profile],
        "omega": config.reward_of_streams.omega,
        "total_steps": config.num_steps,
        "num_left_out": run.num_left_out,
        "terms": terms,
        "numbers": [{"name": name, "words": words} for name, words in names.numbers.items()],
        "has_marks": is_proactive,
        "curve": _curve(run.metrics),
        "steps": steps[::-1],
    }


class _Films:
    """Films, until there are enough of them."""

    def __init__(self, film_of: Callable[[StoredGroup], Film]) -> None:
        self._film_of = film_of
        self._num_bytes = 0

    def of(self, group: StoredGroup) -> Film:
        if self._num_bytes >= MAX_FILM_BYTES:
            return Film(missing="No film, to keep this page small: ask for fewer steps (--step).")
        film = self._film_of(group)
        self._num_bytes += film.num_bytes
        return film


def _curve(rows: tuple[Mapping[str, Any], ...]) -> list[list[float]]:
    """(step, reward) over the run, thinned."""
    found = [[row["step"], row["reward"]] for row in rows if _is_number(row.get("reward"))]
    return found[:: -(-len(found) // _MAX_CURVE) or 1]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _step(
    step: StoredStep, row: Mapping[str, Any], numbers: Iterable[str], run: StoredRun, films: _Films
) -> dict[str, Any]:
    return {
        "step": step.step,
        "metrics": {name: row[name] for name in numbers if _is_number(row.get(name))},
        "warnings": [str(text) for text in row.get("warnings", ())],
        "groups": [_group(group, run, films.of(group)) for group in step.groups],
    }


def _group(group: StoredGroup, run: StoredRun, film: Film) -> dict[str, Any]:
    gold = group.members[0].rollout.gold
    turn_s = run.config.frame_interval_s * run.config.frames_per_turn
    times_s = [time_s for member in group.members for time_s, _ in member.rollout.turns]
    return {
        "name": group.task_id,
        "start_s": max(0.0, min(times_s) - turn_s),
        "end_s": max(*times_s, *(turn.span.end_s for turn in gold)) if gold else max(times_s),
        "questions": [{"time_s": q.time_s, "text": q.text} for q in group.questions],
        "gold": [
            {"start_s": g.span.start_s, "end_s": g.span.end_s, "text": g.content} for g in gold
        ],
        "previous": list(group.members[0].rollout.previous),
        "spread": float(np.std([member.reward for member in group.members])),
        "film": [
            {"time_s": round(still.time_s, 3), "frame": data_url(still)} for still in film.stills
        ],
        "no_film": film.missing,
        "members": [_member(member, run.config.reward_of_streams) for member in group.members],
    }


def _member(member: Member, settings: RewardSettings) -> dict[str, Any]:
    rollout = member.rollout
    return {
        "replies": marked_replies(member, settings),
        "silent_s": [time_s for time_s, text in rollout.turns if text is None],
        "malformed": [{"time_s": time_s, "why": why} for time_s, why in member.malformed],
        "stairs": stairs_of(member, settings),
        "judged": member.judgements is not None,
        "terms": dict(member.terms),
        "reward": member.reward,
        "advantage": member.advantage,
        "turn_advantages": _turn_advantages(member),
        "unscored": member.num_unscored,
    }


def _turn_advantages(member: Member) -> list[list[float]]:
    """[time, advantage] of each turn, where turns of the episode differ."""
    gained = member.turn_advantages or ()
    if len(set(gained)) < 2:
        return []
    return [
        [time_s, round(value, 4)]
        for (time_s, _), value in zip(member.rollout.turns, gained, strict=True)
    ]
