"""One HTML file that shows the stored rollouts of a run: what was due, what each member said, and
what it earned."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from oncue.rewards.proactive import MAX_SCORE, TERMS, RewardSettings, pauc_points, with_predecessors
from oncue.scoring.pauc import START_MARK, Point, pauc
from oncue.scoring.score import Unscored
from oncue.types import GoldTurn
from oncue.view.film import Film
from oncue.view.stored import Member, StoredGroup, StoredRun, StoredStep
from oncue.watch.watch_page import data_url, embedded

MAX_FILM_BYTES = 12_000_000
_MAX_CURVE = 400  # points; more could not be told apart
_SHOWN_METRICS = (
    "reward",
    "reward_pauc",
    "group_spread",
    "reply_share",
    "repeated_share",
    "first_reply_delay_s",
)


def to_page(run: StoredRun, film_of: Callable[[StoredGroup], Film]) -> str:
    """The page as text. It loads nothing, and shows texts of rollouts as plain text only.

    `film_of` is asked from the newest step backwards, until the stills are `MAX_FILM_BYTES`.
    """
    template = files("oncue").joinpath("assets/view.html").read_text(encoding="utf-8")
    before, between, after = template.split("{{slot}}")
    return (
        before
        + escape(f"Rollouts of {run.name}")
        + between
        + embedded(page_values(run, film_of))
        + after
    )


def page_values(run: StoredRun, film_of: Callable[[StoredGroup], Film]) -> dict[str, Any]:
    """What the page is drawn from."""
    config, films = run.config, _Films(film_of)
    rows = {row["step"]: row for row in run.metrics}
    steps = [_step(step, rows.get(step.step, {}), run, films) for step in reversed(run.steps)]
    return {
        "run": run.name,
        "model": config.model,
        "judge": config.judge,
        "profile": config.reward.profile,
        "omega": config.reward.omega,
        "total_steps": config.num_steps,
        "num_left_out": run.num_left_out,
        "weights": {name: getattr(config.reward, name) for name in TERMS},
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
    step: StoredStep, row: Mapping[str, Any], run: StoredRun, films: _Films
) -> dict[str, Any]:
    return {
        "step": step.step,
        "metrics": {name: row[name] for name in _SHOWN_METRICS if _is_number(row.get(name))},
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
        "members": [_member(member, run.config.reward) for member in group.members],
    }


def _member(member: Member, settings: RewardSettings) -> dict[str, Any]:
    rollout = member.rollout
    return {
        "replies": _replies(member, settings),
        "silent_s": [time_s for time_s, text in rollout.turns if text is None],
        "malformed": [{"time_s": time_s, "why": why} for time_s, why in member.malformed],
        "stairs": [
            _stairs(found, rollout.gold[i], settings) | {"gold": i}
            for i, found in _points(member, settings)
        ],
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


def _replies(member: Member, settings: RewardSettings) -> list[dict[str, Any]]:
    """Each reply with what a judge gave it: `mark` is its best over the spans it lies in, None
    without one."""
    coverage, repeated = {}, {}
    if member.judgements is not None:
        coverage, repeated = dict(member.judgements.coverage), dict(member.judgements.repeated)
    values = []
    for reply, before in with_predecessors(member.rollout, settings):
        marks = [
            mark
            for (_, time_s), mark in coverage.items()
            if time_s == reply.time_s and isinstance(mark, int)
        ]
        values.append(
            {
                "time_s": reply.time_s,
                "text": reply.text,
                "inside": any(reply.time_s in gold.span for gold in member.rollout.gold),
                "mark": max(marks, default=None),
                "repeated": reply.text in before or repeated.get(reply.time_s) is True,
                "same_words": reply.text in before,
            }
        )
    return values


def _points(member: Member, settings: RewardSettings) -> list[tuple[int, list[Point | Unscored]]]:
    if member.judgements is None:
        return []
    return list(pauc_points(member.rollout, member.judgements, settings).items())


def _stairs(
    found: list[Point | Unscored], gold: GoldTurn, settings: RewardSettings
) -> dict[str, Any]:
    """The PAUC of a gold turn and the staircase (time, mark) it is the area of: a reply counts from
    (1 - omega) times its delay."""
    points = sorted((p for p in found if isinstance(p, Point)), key=lambda p: (p.offset_s, p.mark))
    steps = [(gold.span.start_s, START_MARK)]
    steps += [
        (gold.span.start_s + p.offset_s * (1 - settings.omega), float(p.mark)) for p in points
    ]
    return {
        "pauc": pauc(points, gold.span.duration_s, max_score=MAX_SCORE, omega=settings.omega),
        "steps": [[round(time_s, 3), mark] for time_s, mark in steps],
    }
