"""The worked example of the reward as files: two gold spans, turns every 4 s, five replies, and
what was judged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

A, C = "a" * 30, "c" * 70
B = "b" * 60 + "first"
B2 = "b" * 60 + "second"
SAID = {8: A, 16: B, 20: A, 24: B2, 28: C}
MARKS = {(0, 8): 4, (1, 16): 2, (1, 20): 0, (1, 24): 4}
REPEATED = {8: False, 16: False, 24: True, 28: False}


def episode(name: str = "e1", said: Mapping[int, str] = SAID) -> dict[str, Any]:
    """A stored rollout of the example; other replies in it where `said` is given."""
    return {
        "episode_id": name,
        "gold": [
            {"question": "?", "content": "one", "reply_timespan": [4, 12]},
            {"question": "?", "content": "two", "reply_timespan": [16, 24]},
        ],
        "turns": [{"time": time, "text": said.get(time, "NO REPLY")} for time in range(4, 33, 4)],
        "previous_replies": [],
    }


def judgements(name: str = "e1") -> list[dict[str, Any]]:
    """What the judge of the example decided, as recorded."""
    marks = [
        {
            "episode_id": name,
            "kind": "coverage",
            "gold_index": index,
            "time": time,
            "level": mark + 1,
        }
        for (index, time), mark in MARKS.items()
    ]
    return marks + [
        {"episode_id": name, "kind": "repetition", "time": time, "repeated": repeated}
        for time, repeated in REPEATED.items()
    ]


def write_lines(path: Path, lines: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path
