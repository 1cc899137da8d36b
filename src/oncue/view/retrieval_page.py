"""One HTML file that shows episodes of retrieval: the video, where the policy looked, and a card
per turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from oncue.pages.page import render
from oncue.view.retrieval_stored import StoredEpisode, cards_of, pool_at_hand
from oncue.view.turn_cards import EpisodeCards, episode_values

MAX_EPISODES = 500
MAX_PICTURE_BYTES = 24_000_000


def to_page(title: str, episodes: Sequence[EpisodeCards], facts: Sequence[str] = ()) -> str:
    """The page as text. It loads nothing, and shows all texts as plain text only. `facts`: more to
    say below the title."""
    values = {
        "title": title,
        "facts": list(facts),
        "episodes": [episode_values(episode) for episode in episodes],
    }
    return render("retrieval.html", title=title, values=values)


def episodes_page(
    title: str, episodes: Sequence[StoredEpisode], step: Callable[[], None] = lambda: None
) -> str:
    """The page of the first `MAX_EPISODES` stored episodes; `step` is called after each.

    Pictures come from the videos that are at hand, until they are `MAX_PICTURE_BYTES`.
    """
    cards: list[EpisodeCards] = []
    num_bytes = 0
    for episode in episodes[:MAX_EPISODES]:
        pool = pool_at_hand(episode) if num_bytes < MAX_PICTURE_BYTES else None
        cards.append(cards_of(episode, pool))
        num_bytes += cards[-1].num_bytes
        step()
    return to_page(title, cards, [counts_text(cards)])


def counts_text(episodes: Sequence[EpisodeCards]) -> str:
    """How many episodes were right, wrong, unanswered."""
    right = sum(episode.is_right is True for episode in episodes)
    wrong = sum(episode.is_right is False for episode in episodes)
    unanswered = sum(not episode.is_answered for episode in episodes)
    num = f"{len(episodes)} episode" + ("" if len(episodes) == 1 else "s")
    return f"{num}: {right} right, {wrong} wrong, {unanswered} without an answer"
