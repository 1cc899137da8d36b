"""What pages call the numbers of a reward: its terms, and what is logged beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

TERM_PREFIX = "reward_"  # of a term's mean in metrics.jsonl


@dataclass(frozen=True, slots=True)
class ShownNames:
    """Words for what a reward logs, in the order in which a page shows it.

    `terms`: the heading of each term. `curves`: the headings of the curves of a run, and `numbers`:
    the labels of the numbers of a step, both by name in `metrics.jsonl`. `optional`: the terms that
    some of its runs do not have.
    """

    terms: Mapping[str, str]
    curves: Mapping[str, str]
    numbers: Mapping[str, str]
    optional: frozenset[str] = frozenset()


PROACTIVE = ShownNames(
    terms={
        "pauc": "PAUC",
        "repetition": "Repeats",
        "in_span": "Out of span",
        "prefix": "Openings",
    },
    curves={
        "reward_pauc": "PAUC term of the reward",
        "replies_per_episode": "Replies per episode",
        "repeated_share": "Share of replies that repeat an earlier one word for word",
        "first_reply_delay_s": "Delay of the first reply in a span, seconds",
    },
    numbers={
        "reward": "reward",
        "reward_pauc": "PAUC",
        "group_spread": "spread in groups",
        "reply_share": "turns with a reply",
        "repeated_share": "replies said before",
        "first_reply_delay_s": "first reply after",
    },
)
RETRIEVAL = ShownNames(
    terms={
        "accuracy": "Right answer",
        "frames": "Better frames",
        "format": "Form",
        "answer_speed": "Late answer",
        "bootstrap": "Bonus for looks",
    },
    curves={
        "accuracy": "Share of right answers",
        "looks_per_episode": "Looks per episode",
        "hit_share": "Share of looks that show evidence",
        "hit_elsewhere": "The same looks held against the evidence of other questions",
        "reward_accuracy": "Reward for right answers",
        "reward_frames": "Reward for better frames",
        "reward_format": "Reward for form",
        "reward_answer_speed": "Reward lost by late answers",
        "reward_bootstrap": "Bonus for looks",
    },
    numbers={
        "reward": "reward",
        "accuracy": "right answers",
        "looks_per_episode": "looks per episode",
        "hit_share": "looks with evidence",
        "hit_elsewhere": "the same, other questions",
        "group_spread": "spread in groups",
    },
    optional=frozenset(("answer_speed", "bootstrap")),
)
_KNOWN = (PROACTIVE, RETRIEVAL)


def logged_terms(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The terms whose means a run logged, in the order of `metrics.jsonl`."""
    names = dict.fromkeys(name for row in rows for name in row)
    return tuple(name.removeprefix(TERM_PREFIX) for name in names if name.startswith(TERM_PREFIX))


def shown_names(terms: Iterable[str]) -> ShownNames:
    """The words for a reward with these terms: those written for it here, else its own names."""
    names = tuple(terms)
    for known in _KNOWN:
        if set(known.terms) - known.optional <= set(names) <= set(known.terms):
            return known
    return ShownNames(
        terms={name: name for name in names},
        curves={TERM_PREFIX + name: f"Term {name} of the reward" for name in names},
        numbers={
            "reward": "reward",
            **{TERM_PREFIX + name: name for name in names},
            "group_spread": "spread in groups",
        },
    )
