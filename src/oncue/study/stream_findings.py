"""What studies of streams measure and show: replies of a model that watches clips."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from oncue.study.findings import ArmRows, Findings, Section
from oncue.study.stream_claims import CLAIMS, targets_of
from oncue.study.tables import ArmTable, Measure

# Views with a section of their own
_FOOTAGE, _SELDOM, _SAMPLED = ("footage", "shapes-2s", "shapes-sampled")
_LOGGED = (
    "reward",
    "reward_pauc",
    "replies_per_episode",
    "repeated_share",
    "first_reply_delay_s",
    "silence_share",
)
_CURVES = {
    "replies_per_episode": ("Replies per episode", 2),
    "reward_pauc": ("PAUC term of the reward", 2),
    "repeated_share": ("Share of replies that repeat an earlier one", 2),
    "reward": ("Reward", 2),
    "first_reply_delay_s": ("Delay of the first reply in a span, s", 2),
    "silence_share": ("Share of silent turns", 2),
}
_MEASURES = (
    Measure(
        "pauc",
        "PAUC, %",
        1,
        "how well replies cover what was due, and how early: the area under the quality over the "
        "span of a gold turn, "
        "at omega 0.5",
        (0.0, 100.0),
    ),
    Measure(
        "duplicates", "Duplicates, %", 1, "replies that only say again what was said", (0.0, 100.0)
    ),
    Measure(
        "num_following",
        "of following replies",
        0,
        "replies after another one in the same span, of which duplicates are a share: of a few it "
        "says little",
    ),
    Measure("num_replies", "Replies per clip", 2, "all replies, due or not"),
    Measure(
        "first_reply_delay_s",
        "First reply after, s",
        2,
        "from when the event can be seen to the first reply in its span, over gold turns that have "
        "one",
        (-math.inf, math.inf),
    ),
    Measure(
        "false_replies_per_quiet_min",
        "False replies per quiet minute",
        2,
        "replies per minute in which none is due",
    ),
    Measure(
        "hit_turns", "Gold turns hit, %", 1, "gold turns with a reply in their span", (0.0, 100.0)
    ),
)


def _reference_rows(given: Mapping[str, Any]) -> dict[str, dict[str, object]]:
    """What silence, talk at every turn, and the one who knows the gold would get."""
    names = {"always silent": "silence", "talks at every turn": "talk", "oracle": "oracle"}
    return {
        name: {
            "pauc": given.get(f"{short}_pauc"),
            "first_reply_delay_s": given.get(f"{short}_delay_s"),
        }
        for name, short in names.items()
    }


def _marks(given: Mapping[str, Any]) -> dict[str, dict[str, object]]:
    return {
        "pauc": {"silent": given.get("silence_pauc"), "oracle": given.get("oracle_pauc")},
        "first_reply_delay_s": {"oracle": given.get("oracle_delay_s")},
    }


def _sections(rows: ArmRows) -> list[Section]:
    names = list(rows.arms)
    ablations = [name for name in names if name.startswith("no_")]
    seldom = [name for name in names if "_2s" in name]
    further = [name for name in names if name not in ("sft", "rl", *ablations, *seldom)]
    return [
        Section(
            "table-2",
            "Supervised fine-tuning against reinforcement learning (Table 2)",
            _main(rows),
        ),
        Section("table-6", "Each reward term removed (Table 6)", [rows.compared("rl", ablations)]),
        Section(
            "table-7",
            "Frame intervals in training and inference (Table 7)",
            [_intervals(rows, seldom)],
        ),
        Section("greedy-or-sampled", "Greedy against sampled", [_sampled(rows)]),
        Section(
            "further",
            "Further arms and views",
            [rows.compared("rl", further), *_other_views(rows)],
        ),
    ]


def _main(rows: ArmRows) -> list[ArmTable | None]:
    seen = [rows.row(name) for name in ("sft", "rl") if name in rows.arms]
    unseen = [rows.row(name, _FOOTAGE, with_paper=False) for name in rows.arms]
    return [
        rows.table(seen, rows.references()),
        rows.table(unseen, rows.references(_FOOTAGE), view=_FOOTAGE),
    ]


def _intervals(rows: ArmRows, seldom: Sequence[str]) -> ArmTable | None:
    """Every arm that was shown fewer frames, in training or in inference, from both sides."""
    found = []
    for name in rows.arms:
        less = rows.row(name, _SELDOM, "shown a frame every 2 s", with_paper=False)
        if less.is_known or name in seldom:
            found += [rows.row(name, note="shown a frame every 1 s"), less]
    known = any(row.is_known for row in found)
    references = rows.references(_SELDOM, "shown a frame every 2 s") if known else []
    return rows.table(found, references, more="by the interval of frames in inference")


def _sampled(rows: ArmRows) -> ArmTable | None:
    found = []
    for name in rows.arms:
        sampled = rows.row(name, _SAMPLED, "sampled as in rollouts", with_paper=False)
        if sampled.is_known:
            found += [rows.row(name, note="greedy", with_paper=False), sampled]
    return rows.table(found, more="greedy, and sampled at the temperature of the rollouts")


def _other_views(rows: ArmRows) -> list[ArmTable | None]:
    shown = (_FOOTAGE, _SELDOM, _SAMPLED)
    views = dict.fromkeys(
        key
        for arm in rows.arms.values()
        for key, value in arm.items()
        if isinstance(value, Mapping) and key not in shown
    )
    return [
        rows.table(
            [rows.row(name, view, with_paper=False) for name in rows.arms],
            rows.references(view),
            view=view,
        )
        for view in views
    ]


STREAMS = Findings(
    things="clips",
    main="shapes",
    measures=_MEASURES,
    plotted=_MEASURES,
    logged=_LOGGED,
    curves=_CURVES,
    claims=CLAIMS,
    targets=targets_of,
    reference_rows=_reference_rows,
    marks=_marks,
    sections=_sections,
)
