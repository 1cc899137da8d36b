"""What `oncue ask` leaves in a folder: a page to look at, and the episode as it is stored for
rewards. Each file appears whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from oncue.ask.record import Asked, AskedTurn
from oncue.ask.report import summary_text
from oncue.files import prepare_folder, write_text
from oncue.records.retrieval_rollouts import StoredRetrieval, retrieval_line
from oncue.rewards.retrieval_rollout import RetrievalRollout
from oncue.types import Answer, Malformed, Retrieve
from oncue.view.retrieval_page import to_page
from oncue.view.turn_cards import EpisodeCards, TurnCard, film_indices, frames_of, still_of

PAGE, EPISODE = "index.html", "episode.jsonl"
FILES = (PAGE, EPISODE)


def write_exports(folder: Path, asked: Asked) -> None:
    """Write `FILES` into `folder`."""
    prepare_folder(folder)
    title = asked.source.rsplit("/", 1)[-1] or asked.source
    facts = [f"asked of {asked.model}", summary_text(asked)]
    write_text(folder / PAGE, to_page(title, [cards_of(asked)], facts))
    write_text(folder / EPISODE, json.dumps(episode_line(asked), ensure_ascii=False) + "\n")


def cards_of(asked: Asked) -> EpisodeCards:
    """What was asked and seen, as a page shows it."""
    assert asked.pool is not None
    pool = asked.pool
    film = tuple(still_of(pool.frames.pixels[i], pool.time_of(i)) for i in film_indices(len(pool)))
    return EpisodeCards(
        asked.source,
        asked.task.questions[0].text,
        asked.task.options,
        tuple(map(_card, asked.turns)),
        pool.duration_s,
        len(pool),
        asked.settings.unit,
        film,
        ending=asked.reason,
    )


def _card(turn: AskedTurn) -> TurnCard:
    action = turn.acted.action
    assert isinstance(action, Retrieve | Answer | Malformed)
    return TurnCard(
        frames_of(turn.exchange.observed),
        action,
        turn.acted.thought,
        turn.span,
        turn.acted.latency_ms,
    )


def episode_line(asked: Asked) -> dict[str, Any]:
    """The episode as it is stored (`oncue.records.retrieval_rollouts`), and beside it what a page
    needs to show it again: the video, the size of its pool, what ranges count, why it has no
    answer."""
    assert asked.pool is not None
    length, duration_s, settings = len(asked.pool), asked.pool.duration_s, asked.settings
    episode = asked.episode
    rollout = RetrievalRollout.of(
        replace(episode, task=replace(episode.task, duration_s=duration_s)),
        lambda action, _: settings.frames_of(action, length, duration_s),
    )
    beside = {
        "video": asked.video,
        "pool_frames": length,
        "unit": settings.unit,
        "model": asked.model,
        "stop": asked.stop,
        "reason": asked.reason,
    }
    return retrieval_line(StoredRetrieval(asked.source, rollout)) | beside
