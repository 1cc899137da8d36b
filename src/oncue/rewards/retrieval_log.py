"""What training by the reward of retrieval watches beside the reward: where the policy looks,
whether it helps, and signs of trouble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from oncue.rewards.retrieval_rollout import RetrievalRollout, RetrievalTurn
from oncue.scoring.answers import is_right
from oncue.types import Answer, Retrieve

TREND_STEPS = 20
REWARD_GREW, ACCURACY_STOOD = 0.05, 0.01  # in so many steps
FEW_LOOKS = 16  # of fewer, one range may be chance


def retrieval_metrics(rollouts: Sequence[RetrievalRollout]) -> dict[str, float | None]:
    """Means over the episodes of a step; None where there is nothing to count.

    `retrieve_rate`: turns that retrieve. `hit_share`: looks that ask for a relevant frame;
    `hit_elsewhere`: the same ranges held against the evidence of the other questions, which is what
    a policy gets that looks at the same places whatever is asked. `better_share`: looks that show
    more of the evidence than the first frames. `seen_share`: episodes in which a relevant frame was
    shown. `distinct_ranges`: different ranges over all looks.
    """
    turns = [turn for rollout in rollouts for turn in rollout.turns]
    looks = [(rollout, turn) for rollout in rollouts for turn in _looks(rollout)]
    ranges = {_range(turn) for _, turn in looks}
    return {
        "accuracy": _share([_right(rollout) for rollout in rollouts]),
        "answered_share": _share([_answer(rollout) is not None for rollout in rollouts]),
        "retrieve_rate": _share([isinstance(turn.action, Retrieve) for turn in turns]),
        "looks_per_episode": len(looks) / max(1, len(rollouts)),
        "hit_share": _share([_hits(turn, rollout) for rollout, turn in looks]),
        "hit_elsewhere": _elsewhere(rollouts, looks),
        "better_share": _share([_is_better(turn, rollout) for rollout, turn in looks]),
        "seen_share": _share([_has_seen(rollout) for rollout in rollouts]),
        "distinct_ranges": len(ranges) / len(looks) if looks else None,
        "num_looks": len(looks),
        "thought_share": _share([bool(turn.thought.strip()) for turn in turns]),
    }


def retrieval_warnings(rows: Sequence[Mapping[str, Any]], *, thinks: bool) -> list[str]:
    """What the last steps (oldest first, the newest last) say that someone should look at."""
    newest, found = rows[-1], []
    if not newest["retrieve_rate"]:
        found.append(
            "no turn of this step retrieves: the policy answers at once; start from a model that "
            "looks, or turn on --bootstrapping"
        )
    if newest["answered_share"] == 0:
        found.append("no episode of this step has an answer: the policy looks until it must stop")
    num_looks = newest["num_looks"]
    if num_looks >= FEW_LOOKS and newest["distinct_ranges"] * num_looks < 1.5:
        found.append(f"all {num_looks} looks of this step ask for one and the same range")
    if thinks and newest["thought_share"] == 0:
        found.append("no turn of this step has a thought, though the instruction asks for one")
    if len(rows) >= 2 * TREND_STEPS:
        earlier, later = rows[-2 * TREND_STEPS : -TREND_STEPS], rows[-TREND_STEPS:]
        grown = {n: _mean(later, n) - _mean(earlier, n) for n in ("reward", "accuracy")}
        if grown["reward"] > REWARD_GREW and grown["accuracy"] < ACCURACY_STOOD:
            found.append("the reward grows and accuracy does not: looks are paid for, not answers")
    return found


def _looks(rollout: RetrievalRollout) -> list[RetrievalTurn]:
    return [turn for turn in rollout.turns if isinstance(turn.action, Retrieve)]


def _range(turn: RetrievalTurn) -> tuple[float, float]:
    assert isinstance(turn.action, Retrieve)
    return turn.action.start, turn.action.end


def _answer(rollout: RetrievalRollout) -> str | None:
    last = rollout.turns[-1].action if rollout.turns else None
    return last.text if isinstance(last, Answer) else None


def _right(rollout: RetrievalRollout) -> bool:
    said = _answer(rollout)
    return said is not None and is_right(said, rollout.answer, rollout.options) is True


def _hits(turn: RetrievalTurn, rollout: RetrievalRollout) -> bool | None:
    """Whether a look asks for a relevant frame; None where that is not known."""
    if turn.asked is None or rollout.evidence is None:
        return None
    return bool(set(turn.asked) & rollout.evidence.frames)


def _is_better(turn: RetrievalTurn, rollout: RetrievalRollout) -> bool | None:
    if turn.asked is None or rollout.evidence is None:
        return None
    gold = rollout.evidence.frames
    return _iou(turn.asked, gold) > _iou(rollout.turns[0].indices, gold)


def _iou(frames: Sequence[int], gold: frozenset[int]) -> float:
    union = set(frames) | gold
    return len(set(frames) & gold) / len(union) if union else 0.0


def _has_seen(rollout: RetrievalRollout) -> bool | None:
    if rollout.evidence is None:
        return None
    return any(set(turn.indices) & rollout.evidence.frames for turn in rollout.turns)


def _elsewhere(
    rollouts: Sequence[RetrievalRollout],
    looks: Sequence[tuple[RetrievalRollout, RetrievalTurn]],
) -> float | None:
    """How often the looks hit the evidence of the other questions, which pools of the same size
    have."""
    relevant: dict[int, dict[frozenset[int], int]] = {}  # to their row, by size of the pool
    for evidence in (rollout.evidence for rollout in rollouts):
        if evidence is not None:
            rows = relevant.setdefault(evidence.num_frames, {})
            rows.setdefault(evidence.frames, len(rows))
    grids = {size: _grid(size, list(rows)) for size, rows in relevant.items()}
    num_hits = num_others = 0
    for rollout, turn in looks:
        if turn.asked is None or (own := rollout.evidence) is None:
            continue
        hits = np.any(grids[own.num_frames][:, list(turn.asked)], axis=1)
        num_hits += int(hits.sum()) - int(hits[relevant[own.num_frames][own.frames]])
        num_others += len(hits) - 1
    return num_hits / num_others if num_others else None


def _grid(num_frames: int, frames: Sequence[frozenset[int]]) -> np.ndarray:
    """(sets, num_frames) bool: which frames each set has."""
    grid = np.zeros((len(frames), num_frames), bool)
    for row, each in zip(grid, frames, strict=True):
        row[list(each)] = True
    return grid


def _share(flags: Sequence[bool | None]) -> float | None:
    known = [flag for flag in flags if flag is not None]
    return sum(known) / len(known) if known else None


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(np.mean([row[name] or 0.0 for row in rows]))
