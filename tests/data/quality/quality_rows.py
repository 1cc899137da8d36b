"""Rows for the tests of quality: a sound one, and how to change it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Json = dict[str, Any]

SOUND: Json = {
    "row_id": "a-1",
    "video": "a.mp4",
    "video_id": "a",
    "part": None,
    "duration": 16.0,
    "source": "invented",
    "kind": "web",
    "dialogue": "nQnA",
    "questions": [
        {"text": "What is cut?", "time_s": 0.0},
        {"text": "Who comes in?", "time_s": 8.0},
    ],
    "gold": [
        {"question": "What is cut?", "content": "An onion.", "reply_timespan": [1.0, 4.5]},
        {"question": "What is cut?", "content": "Two carrots.", "reply_timespan": [4.5, 8.0]},
        {
            "question": "Who comes in?",
            "content": "A man in a red coat.",
            "reply_timespan": [9.0, 14.0],
            "visible_s": 9.5,
        },
    ],
    "scenes": [
        {"span": [0.0, 4.5], "caption": "Hands cut an onion.", "subtitle": "First the onion."},
        {"span": [4.5, 9.0], "caption": "Two carrots are cut.", "subtitle": ""},
        {"span": [9.0, 15.0], "caption": "A man in a red coat comes in.", "subtitle": ""},
    ],
    "provenance": {
        "where": "invented.json, row 1",
        "steps": [
            {
                "step": "captions",
                "model": "m",
                "prompt_version": "captions-1",
                "num_requests": 3,
                "tokens_in": 900,
                "tokens_out": 120,
                "cost": 0.25,
            }
        ],
    },
}


def changed(change: Callable[[Json], object], row: Json = SOUND) -> Json:
    """A copy of `row` after `change`."""
    row = copy.deepcopy(row)
    change(row)
    return row


def numbered(*rows: Json) -> list[Json]:
    """The rows with ids of their own."""
    return [{**row, "row_id": f"a-{number}"} for number, row in enumerate(rows, 1)]


def write(path: Path, rows: Iterable[Json]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
