"""One HTML file that shows a watching: film strip, questions, replies, silence, and what is due
where it is known."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from oncue.pages.page import render
from oncue.types import GoldTurn
from oncue.watch.record import Still, Watched

_MAX_TICKS = 1500  # silent turns drawn; more could not be seen apart


def to_page(watched: Watched, *, title: str, gold: Sequence[GoldTurn] = ()) -> str:
    """The page as text. It loads nothing, not even from its own folder, and shows replies as plain
    text only."""
    return render("watch.html", title=title, values=_page_values(watched, title, gold))


def _page_values(watched: Watched, title: str, gold: Sequence[GoldTurn]) -> dict[str, object]:
    evidence = watched.evidence or (None,) * len(watched.replies)
    return {
        "title": title,
        "summary": watched.summary.as_json(),
        "duration_s": max([watched.summary.duration_s, *(r.time_s for r in watched.replies), 0.0]),
        "questions": [{"time_s": q.time_s, "text": q.text} for q in watched.questions],
        "replies": [
            {**reply.as_json(), "frame": data_url(still)}
            for reply, still in zip(watched.replies, evidence, strict=True)
        ],
        "silent_s": [round(t, 3) for t in _thinned(watched.silent_s)],
        "malformed": [{"time_s": round(t, 3), "text": text} for t, text in watched.malformed],
        "gold": [
            {"start_s": g.span.start_s, "end_s": g.span.end_s, "text": g.content} for g in gold
        ],
        "film": [
            {"time_s": round(still.time_s, 3), "frame": data_url(still)} for still in watched.film
        ],
    }


def _thinned(times_s: Sequence[float]) -> Sequence[float]:
    step = -(-len(times_s) // _MAX_TICKS) or 1
    return times_s[::step]


def data_url(still: Still | None) -> str | None:
    """The picture as an address that holds all of it."""
    return (
        None
        if still is None
        else "data:image/jpeg;base64," + base64.b64encode(still.jpeg).decode("ascii")
    )
