"""Invented rows in the form of OVO-Bench."""

from __future__ import annotations

from typing import Any


def choice(number: int, task: str, gt: int = 0, num_options: int = 4) -> dict[str, Any]:
    texts = ["a cat", "a dog", "a cow", "a hen", "an owl"][:num_options]
    row = {"id": number, "task": task, "video": f"{task}/{number}.mp4", "realtime": 40 + number}
    return row | {"question": "Which animal?", "answer": texts[gt], "options": texts, "gt": gt}


def rec(number: int, counts: list[int], starts: tuple[float, ...] = (3, 9)) -> dict[str, Any]:
    probes = [{"realtime": 20 + 10 * n, "count": count} for n, count in enumerate(counts)]
    row = {"id": number, "task": "REC", "video": f"r{number}.mp4", "activity": "waving"}
    return row | {"start_times": list(starts), "end_times": [], "test_info": probes}


def ssr(number: int, types: list[int], starts: tuple[float, ...] = (8, 18)) -> dict[str, Any]:
    probes = [{"realtime": 30, "step": f"step {n}", "type": kind} for n, kind in enumerate(types)]
    row = {"id": number, "task": "SSR", "video": f"s{number}.mp4", "tutorial": "MakeTea"}
    return row | {"all_steps": [], "start_time": list(starts), "end_time": [], "test_info": probes}


def crr(number: int, types: list[int], ask: float = 10, clue: float = 20) -> dict[str, Any]:
    probes = [{"realtime": ask + 15 * n, "type": kind} for n, kind in enumerate(types)]
    row = {"id": number, "task": "CRR", "video": f"c{number}.mp4", "question": "What then?"}
    return row | {"answer": "Rain.", "ask_time": ask, "clue_time": clue, "test_info": probes}


def answered(row: dict[str, Any], *responses: Any) -> dict[str, Any]:
    """The row as OVO-Bench writes it with the responses of a model."""
    if "gt" in row:
        kept = {key: row[key] for key in ("id", "task", "video", "question")}
        return kept | {"response": responses[0], "ground_truth": "ABCDE"[row["gt"]]}
    probes = [
        probe | {"response": response}
        for probe, response in zip(row["test_info"], responses, strict=True)
    ]
    return row | {"test_info": probes}


def results(**parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"backward": [], "realtime": [], "forward": []} | parts
