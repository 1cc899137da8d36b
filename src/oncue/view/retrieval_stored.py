"""Stored episodes of retrieval, read back as the cards of a page: with what each turn earned, and
with pictures where the video is at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from oncue.env.retrieval import asked_span
from oncue.errors import InputError
from oncue.fields import Count, rows_in
from oncue.records.retrieval_rollouts import EXPECTED, read_retrieval_rollouts
from oncue.render.retrieval_format import Unit
from oncue.rewards.retrieval import TERMS, RetrievalRewardSettings, iou, score_rollout, unscored
from oncue.rewards.retrieval_rollout import RetrievalRollout, RetrievalTurn
from oncue.scoring.answers import is_right
from oncue.types import Answer, Retrieve, TimeSpan
from oncue.video.pool import FramePool
from oncue.view.turn_cards import (
    FRAME_PX,
    EpisodeCards,
    SeenFrame,
    Terms,
    TurnCard,
    film_indices,
    frame_spans,
    gold_spans,
    still_of,
)
from oncue.watch.record import Still

_OF_RUNS = ("config.yaml", "metrics.jsonl", "rollouts")  # what a run directory has


@dataclass(frozen=True, slots=True)
class StoredEpisode:
    """An episode of a file. `video`: where its video is or was, "" where the line does not say.
    `num_frames`: of the pool, and `unit`: what ranges count, None where it is not known. `ending`:
    why there is no answer."""

    episode_id: str
    rollout: RetrievalRollout
    video: str = ""
    num_frames: int | None = None
    unit: Unit | None = None
    ending: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """What a page shows besides the rollout."""

    video: str | None = None
    pool_frames: Count | None = None
    unit: Unit | None = None
    reason: str = ""


def holds_episodes(path: Path) -> bool:
    """Whether `path` is a file, or a folder with JSON lines that is no run directory."""
    if path.is_dir():
        is_run = any((path / name).exists() for name in _OF_RUNS)
        return not is_run and any(path.glob("*.jsonl"))
    return path.is_file()


def read_episodes(path: Path) -> list[StoredEpisode]:
    """The episodes of a file of JSON lines, or of all such files of a folder.

    Raises DataError, with the line, for what is no stored episode of retrieval.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    return [episode for file in files for episode in _read_file(file)]


def _read_file(path: Path) -> list[StoredEpisode]:
    # the file may have grown between the two readings
    pairs = zip(read_retrieval_rollouts(path), rows_in(path, _Row, EXPECTED), strict=False)
    return [
        StoredEpisode(
            stored.episode_id,
            stored.rollout,
            str(path.parent / row.video) if row.video else "",
            stored.rollout.evidence.num_frames if stored.rollout.evidence else row.pool_frames,
            row.unit,
            row.reason,
        )
        for stored, (_, row) in pairs
    ]


def pool_at_hand(episode: StoredEpisode) -> FramePool | None:
    """The pool that the episode looked into, in small pictures; None where its video is not here or
    cannot be read."""
    if not episode.video or episode.num_frames is None or not Path(episode.video).is_file():
        return None
    return _read_pool(episode.video, episode.num_frames)


@lru_cache(maxsize=2)  # the rollouts of a group are about one video
def _read_pool(video: str, num_frames: int) -> FramePool | None:
    from oncue.video.pool_reader import read_pool

    try:
        return read_pool(video, num_frames, shrink=_small)
    except InputError:
        return None


def _small(pixels: np.ndarray) -> np.ndarray:
    """A picture of at most `FRAME_PX` on its longer side."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((FRAME_PX, FRAME_PX))
    return np.asarray(image)


def cards_of(episode: StoredEpisode, pool: FramePool | None) -> EpisodeCards:
    """The episode as a page shows it."""
    rollout = episode.rollout
    duration_s = _duration_s(rollout)
    rewards = _rewards(rollout)
    turns = tuple(
        _card(turn, episode, pool, duration_s, {name: terms[k] for name, terms in rewards.items()})
        for k, turn in enumerate(rollout.turns)
    )
    last = rollout.turns[-1].action if rollout.turns else None
    right = None
    if isinstance(last, Answer):
        verdict = is_right(last.text, rollout.answer, rollout.options)
        right = verdict if isinstance(verdict, bool) else None
    film: tuple[Still, ...] = ()
    if pool is not None:
        film = tuple(
            still_of(pool.frames.pixels[i], pool.time_of(i)) for i in film_indices(len(pool))
        )
    return EpisodeCards(
        episode.episode_id,
        rollout.question,
        rollout.options,
        turns,
        duration_s,
        episode.num_frames,
        episode.unit,
        film,
        gold_spans(rollout.evidence, duration_s),
        rollout.answer,
        right,
        episode.ending or ("" if isinstance(last, Answer) else "the turns were used up"),
    )


def _duration_s(rollout: RetrievalRollout) -> float:
    """The length of the axis: that of the video, or else up to the last time that is known."""
    if rollout.duration_s:
        return rollout.duration_s
    times_s = [time_s for turn in rollout.turns for time_s in turn.times_s]
    spans = rollout.evidence.spans if rollout.evidence is not None else ()
    return max([*times_s, *(span.end_s for span in spans), 1.0])


def _rewards(rollout: RetrievalRollout) -> dict[str, list[Terms]]:
    """By profile, the terms of each turn; without those that are not known. All of them depend on
    whether the answer is right, because of the gate."""
    missing = unscored(rollout)
    if missing["accuracy"] or (rollout.answer is None and rollout.evidence is None):
        return {}
    rewards: dict[str, list[Terms]] = {}
    for profile, names in TERMS.items():
        by_turn = score_rollout(rollout, RetrievalRewardSettings(profile)).exchange_terms
        known = [name for name in names if not (name == "frames" and missing["frames"])]
        rewards[str(profile)] = [
            {name: by_turn[name][k] for name in known} for k in range(len(rollout.turns))
        ]
    return rewards


def _card(
    turn: RetrievalTurn,
    episode: StoredEpisode,
    pool: FramePool | None,
    duration_s: float,
    rewards: Mapping[str, Terms],
) -> TurnCard:
    evidence = episode.rollout.evidence
    shown = iou(turn.indices, evidence.frames) if evidence is not None and turn.indices else None
    indices: Sequence[int | None] = turn.indices or (None,) * len(turn.times_s)
    return TurnCard(
        tuple(
            _frame(time_s, index, pool) for time_s, index in zip(turn.times_s, indices, strict=True)
        ),
        turn.action,
        turn.thought,
        _asked(turn, episode, duration_s),
        iou=shown,
        rewards=rewards,
    )


def _frame(time_s: float, index: int | None, pool: FramePool | None) -> SeenFrame:
    """A picture only where it is the very one that was shown: a closer look has others."""
    if pool is None or index is None or abs(pool.frames.pts_s[index] - time_s) > 1e-3:
        return SeenFrame(time_s, index)
    return SeenFrame(time_s, index, still_of(pool.frames.pixels[index], time_s))


def _asked(turn: RetrievalTurn, episode: StoredEpisode, duration_s: float) -> TimeSpan | None:
    """The stretch that a retrieval asked for: as it was written, or else from the first to the last
    frame it asked for."""
    if not isinstance(turn.action, Retrieve) or episode.num_frames is None:
        return None
    if episode.unit is not None:
        return asked_span(turn.action, episode.unit, episode.num_frames, duration_s)
    if not turn.asked:
        return None
    spans = frame_spans(turn.asked, episode.num_frames, duration_s)
    return TimeSpan(spans[0].start_s, spans[-1].end_s)
