"""What MMDuet2 (arXiv 2512.06810) claims, and what was asked of its miniature before it was run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from oncue.study.claims import Arms, Difference, Trend, by_seed
from oncue.study.intervals import mean_of
from oncue.study.targets import Target, bound, pair, ratio

_FEW = 10  # replies that follow another: the paper, too, gives no share of fewer
_START, _SOON, _END = (0.0, 0.1), (0.15, 0.35), (0.8, 1.0)
CLAIMS = (
    Difference(
        "Reinforcement learning raises PAUC over supervised training",
        "Table 2",
        "37.6 -> 53.3 (WEB), 26.4 -> 33.6 (EGO)",
        "rl",
        "sft",
        "pauc",
        1,
    ),
    Difference(
        "It does so on another kind of video, too",
        "Table 2",
        "26.4 -> 33.6 (EGO)",
        "rl",
        "sft",
        "pauc",
        1,
        "footage",
    ),
    Difference(
        "Without the repetition term more replies are duplicates",
        "Table 6",
        "4.2 -> 17.3 (WEB), 8.1 -> 31.9 (EGO)",
        "no_repetition",
        "rl",
        "duplicates",
        1,
    ),
    Difference(
        "The same, where replies are sampled as in training",
        "Table 6",
        "4.2 -> 17.3 (WEB), 8.1 -> 31.9 (EGO)",
        "no_repetition",
        "rl",
        "duplicates",
        1,
        "shapes-sampled",
    ),
    Difference(
        "Without the repetition term there are more replies",
        "Table 6",
        "3.3 -> 4.9 (WEB), 3.5 -> 8.0 (EGO)",
        "no_repetition",
        "rl",
        "num_replies",
        1,
    ),
    Difference(
        "Without the in-span term there are more replies",
        "Table 6",
        "3.3 -> 8.4 (WEB); on EGO nearly every turn",
        "no_in_span",
        "rl",
        "num_replies",
        1,
    ),
    Difference(
        "Without the in-span term PAUC is higher, bought with chatter",
        "Table 6",
        "53.3 -> 62.7 (WEB)",
        "no_in_span",
        "rl",
        "pauc",
        1,
    ),
    Difference(
        "Without the prefix term there are fewer replies",
        "Table 6",
        "3.5 -> 0.6 (EGO), 3.3 -> 3.1 (WEB)",
        "no_prefix",
        "rl",
        "num_replies",
        -1,
    ),
    Difference(
        "More frames per second at inference give a higher PAUC",
        "Table 7",
        "44.2 at 2 s -> 53.3 at 1 s (WEB)",
        "rl",
        "rl@shapes-2s",
        "pauc",
        1,
    ),
    Difference(
        "Taught with a frame every 2 s, it gains more from reinforcement learning at 2 s than at 1 "
        "s, watching at 1 s",
        "Table 7",
        "47.0 -> 53.3 (WEB), 34.7 -> 33.6 (EGO)",
        "rl_2s",
        "sft_2s_rl_1s",
        "pauc",
        1,
    ),
    Trend(
        "At first there are fewer replies",
        "Fig. 5",
        "steps 0 to 180 of 489",
        "rl",
        "replies_per_episode",
        _START,
        _SOON,
        -1,
    ),
    Trend(
        "then there are more",
        "Fig. 5",
        "steps 180 to 450",
        "rl",
        "replies_per_episode",
        _SOON,
        _END,
        1,
    ),
    Trend(
        "At first PAUC falls",
        "Fig. 5",
        "steps 0 to 180 of 489",
        "rl",
        "reward_pauc",
        _START,
        _SOON,
        -1,
    ),
    Trend("then it grows", "Fig. 5", "steps 180 to 450", "rl", "reward_pauc", _SOON, _END, 1),
)


def targets_of(arms: Arms, references: Mapping[str, Mapping[str, Any]]) -> list[Target]:
    """What was asked of `mmduet2-mini` before it was run, by the means over seeds; ratios over
    those both arms have. Nothing was asked of a study without its arms."""
    if "rl" not in arms:
        return []
    oracle = references.get("shapes", {}).get("oracle_pauc")
    least = 70.0 if oracle is None else min(70.0, 0.9 * oracle)
    pauc, duplicates = (
        mean_of(list(by_seed(arms, "rl", measure, "").values()))
        for measure in ("pauc", "duplicates")
    )
    return [
        ratio("PAUC of rl over sft, shapes", pair(arms, "rl", "sft", "pauc"), at_least=1.4),
        bound("PAUC of rl, shapes", pauc.value if pauc else None, at_least=least),
        ratio(
            "PAUC of rl over sft, footage",
            pair(arms, "rl", "sft", "pauc", "footage"),
            at_least=1.25,
        ),
        _counted(
            bound(
                "duplicates of rl, shapes, percent",
                duplicates.value if duplicates else None,
                at_most=5.0,
            ),
            arms,
            ("rl",),
        ),
        ratio(
            "first-reply delay of rl over sft, shapes, greedy",
            pair(arms, "rl", "sft", "first_reply_delay_s"),
            at_most=0.5,
        ),
        ratio(
            "first-reply delay of rl over sft, shapes, sampled",
            pair(arms, "rl", "sft", "first_reply_delay_s", "shapes-sampled"),
            at_most=0.5,
        ),
        _counted(
            ratio(
                "duplicates of no_repetition over rl",
                pair(arms, "no_repetition", "rl", "duplicates"),
                at_least=3,
            ),
            arms,
            ("rl", "no_repetition"),
        ),
        _counted(
            ratio(
                "duplicates of no_repetition over rl, sampled",
                pair(arms, "no_repetition", "rl", "duplicates", "shapes-sampled"),
                at_least=3,
            ),
            arms,
            ("rl", "no_repetition"),
            "shapes-sampled",
        ),
        ratio(
            "replies of no_in_span over rl",
            pair(arms, "no_in_span", "rl", "num_replies"),
            at_least=2,
        ),
    ]


def _counted(target: Target, arms: Arms, names: Sequence[str], view: str = "") -> Target:
    """A target of duplicates, with how many they are of how many replies that follow another: in
    all of the seeds that the arms of these names share. Of fewer than `_FEW` in an arm nothing is
    known."""
    if target.met is None:
        return target
    numbers = [
        [by_seed(arms, name, measure, view) for measure in ("num_duplicates", "num_following")]
        for name in names
    ]
    seeds = set.intersection(*(set(of_seeds) for of_arm in numbers for of_seeds in of_arm))
    sums = [[sum(of_seeds[seed] for seed in seeds) for of_seeds in of_arm] for of_arm in numbers]
    counts = " -> ".join(f"{num:.0f} of {num_following:.0f}" for num, num_following in sums)
    few = any(num_following < _FEW for _, num_following in sums)
    return replace(target, measured=f"{target.measured}: {counts}", met=None if few else target.met)
