"""What Video-MTR (arXiv 2508.20478) claims, and what was asked of its miniature before it was
run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oncue.study.claims import Arms, Difference, Trend, by_seed
from oncue.study.intervals import mean_of
from oncue.study.targets import Target, bound, pair

MAIN = "long-world"  # the view that claims are about
UNIFORM = "24 uniform frames"  # the observer of as many frames as two turns show
_START, _END = (0.0, 0.1), (0.8, 1.0)
CLAIMS: tuple[Difference | Trend, ...] = (
    Difference(
        "Two turns answer better than one turn of as many frames",
        "Table 4",
        "57.2 -> 62.7 (VideoMME), 35.3 -> 42.3 (LVBench)",
        "ppo",
        "single",
        "accuracy",
        1,
    ),
    Difference(
        "They gain more on long films than on short ones, over one turn",
        "Tables 3, 4",
        "untrained -> trained, 32 frames: +4.6 short, +5.3 medium, +6.3 long",
        "ppo",
        "single",
        "long_over_short",
        1,
    ),
    Difference(
        "Without the gate accuracy is lower",
        "Fig. 5",
        "accuracy is flat without it",
        "no_gate",
        "ppo",
        "accuracy",
        -1,
    ),
    Trend(
        "Without the gate the reward grows all the same",
        "Fig. 5",
        "grows with the number of turns",
        "no_gate",
        "reward",
        _START,
        _END,
        1,
    ),
    Difference(
        "Without rewards for looks accuracy is lower",
        "Table 4",
        "62.7 -> 58.3 (VideoMME), 42.3 -> 37.7 (LVBench)",
        "no_frames",
        "ppo",
        "accuracy",
        -1,
    ),
    Difference(
        "Two turns answer better than one, which has fewer frames",
        "Table 5",
        "54.8 -> 57.9 (VideoMME), 42.6 -> 43.1 (MLVU)",
        "ppo",
        "turns_1",
        "accuracy",
        1,
    ),
    Difference(
        "Three turns answer better than two",
        "Table 5",
        "57.9 -> 59.0 (VideoMME), 43.1 -> 48.4 (MLVU)",
        "turns_3",
        "ppo",
        "accuracy",
        1,
    ),
    Difference(
        "From a start that seldom looks, bootstrapping raises retrieval",
        "Fig. 6",
        "without it: one turn",
        "bootstrap",
        "seldom",
        "retrieve_rate",
        1,
    ),
    Difference(
        "It raises accuracy, too",
        "Fig. 6",
        "no figure stated",
        "bootstrap",
        "seldom",
        "accuracy",
        1,
    ),
    Difference(
        "Bi-level GAE answers better than GAE on one level",
        "Section 3.3",
        "no figure stated",
        "ppo",
        "one_level",
        "accuracy",
        1,
    ),
    Difference(
        "It answers better than advantages relative to the group",
        "not in the paper",
        "-",
        "ppo",
        "grpo",
        "accuracy",
        1,
    ),
    Difference(
        "The rewards of the paper answer better than those of its released code",
        "not in the paper",
        "-",
        "ppo",
        "release",
        "accuracy",
        1,
    ),
)


def targets_of(arms: Arms, references: Mapping[str, Mapping[str, Any]]) -> list[Target]:
    """What was asked of `video-mtr-mini` before it was run, by the means over seeds."""
    observers = references.get(MAIN, {}).get("observers", {})
    uniform = observers.get(UNIFORM, {}).get("accuracy")
    accuracy = mean_of(list(by_seed(arms, "ppo", "accuracy", "").values()))
    hits = [pair(arms, "ppo", "ppo", name) for name in ("hit_share", "hit_elsewhere")]
    ratio = hits[0][0] / hits[1][0] if hits[0] and hits[1] and hits[1][0] else None
    above = f"accuracy of ppo over a perfect observer of {UNIFORM}, points"
    return [
        _gain("accuracy of ppo over its start, points, greedy", arms, "sft", 15),
        _gain("accuracy of ppo over its start, points, sampled", arms, "sft", 15, "sampled"),
        bound(above, accuracy.value - uniform if accuracy and uniform else None, at_least=0),
        bound("hits of ppo over hits of the same ranges elsewhere", ratio, at_least=5),
        _gain("accuracy of ppo over one turn of as many frames, points", arms, "single", 10),
    ]


def _gain(target: str, arms: Arms, base: str, points: float, view: str = "") -> Target:
    means = pair(arms, "ppo", base, "accuracy", view)
    return bound(target, None if means is None else means[0] - means[1], at_least=points)
