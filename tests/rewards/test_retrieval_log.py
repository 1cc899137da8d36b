"""What is watched of looks, against counts made one by one."""

from __future__ import annotations

import numpy as np

from oncue.rewards.retrieval_log import retrieval_metrics
from oncue.rewards.retrieval_rollout import RetrievalRollout
from oncue.types import Answer, Retrieve
from oncue.video.pool import spread
from retrieval_rollouts import eight_of, episode_of


def rollouts_of(seed: int, num: int) -> list[RetrievalRollout]:
    """Episodes with one or two looks; some share their evidence, some have none."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(num):
        start = int(rng.integers(0, 6)) * 8
        gold = range(start, start + 8) if rng.random() < 0.8 else None
        ranges = [sorted(rng.integers(0, 64, 2)) for _ in range(int(rng.integers(1, 3)))]
        actions = [*(Retrieve(int(a), int(b)) for a, b in ranges), Answer("B")]
        shown = [range(4), *(spread(int(a), int(b), 8) for a, b in ranges)]
        episode = episode_of(list(zip(shown, actions, strict=True)), gold=gold)
        made.append(RetrievalRollout.of(episode, eight_of))
    return made


def test_hits_elsewhere_are_those_on_the_evidence_of_other_questions() -> None:
    for seed in range(5):
        rollouts = rollouts_of(seed, 12)
        golds = {r.evidence.frames for r in rollouts if r.evidence}
        hits = [
            bool(set(turn.asked) & gold)
            for rollout in rollouts
            for turn in rollout.turns
            if turn.asked is not None and rollout.evidence
            for gold in golds - {rollout.evidence.frames}
        ]
        found = retrieval_metrics(rollouts)
        assert found["hit_elsewhere"] == sum(hits) / len(hits)
        assert found["hit_elsewhere"] != found["hit_share"]


def test_nothing_is_elsewhere_where_all_questions_share_their_evidence() -> None:
    alike = [RetrievalRollout.of(episode_of([((), Retrieve(0, 3))]), eight_of)] * 3
    found = retrieval_metrics(alike)
    assert (found["hit_share"], found["hit_elsewhere"]) == (1.0, None)
    unknown = [r for r in rollouts_of(1, 12) if r.evidence is None]
    assert unknown
    assert retrieval_metrics(unknown)["hit_elsewhere"] is None
    assert retrieval_metrics([])["hit_elsewhere"] is None
