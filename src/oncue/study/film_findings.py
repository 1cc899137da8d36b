"""What the study of retrieval measures and shows: answers and looks of a model that looks into
films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oncue.study.film_claims import CLAIMS, MAIN, UNIFORM, targets_of
from oncue.study.findings import ArmRows, Findings, Section
from oncue.study.tables import ArmTable, Measure, TableRow

_PERCENT = (0.0, 100.0)
_SAMPLED = "sampled"


def _share(name: str, heading: str, meaning: str) -> Measure:
    return Measure(name, heading, 1, meaning, _PERCENT)


_ACCURACY = _share("accuracy", "Accuracy, %", "right answers; a guess is right in 25 %")
_LENGTHS = (
    _share("accuracy_short", "Short, %", "accuracy on films of up to 4 minutes"),
    _share("accuracy_medium", "Medium, %", "accuracy on films of 4 to 10 minutes"),
    _share("accuracy_long", "Long, %", "accuracy on films of 10 to 20 minutes"),
    Measure(
        "long_over_short",
        "Long - short",
        1,
        "accuracy on long films minus that on short ones, in points",
        (-100.0, 100.0),
    ),
)
_LOOKS = Measure("looks_per_episode", "Looks", 2, "looks per question")
_RATE = _share("retrieve_rate", "Turns that look, %", "of all turns")
_HITS = (
    _share("hit_share", "Hits, %", "looks that ask for a frame of the scene in question"),
    _share(
        "hit_elsewhere",
        "Hits elsewhere, %",
        "the same ranges held against the other films: what looking at the same places whatever "
        "is asked would give",
    ),
)
_FLASH = (
    _share("flash_share", "Flash, %", "looks that ask for a frame with the decisive flash"),
    _share("flash_elsewhere", "Flash elsewhere, %", "the same ranges held against other films"),
    _share("flash_seen", "Flash seen, %", "questions whose flash was among all frames shown"),
    _share("accuracy_seen", "Accuracy if seen, %", "accuracy where the flash was shown"),
)
_HOW = (
    _share("better_share", "Better, %", "looks that show more of the scene than the first frames"),
    _share("hit_look_1", "Hits of look 1, %", "of the first looks"),
    _share("hit_look_2", "Hits of look 2, %", "of the second looks"),
    Measure("distinct_ranges", "Distinct ranges", 2, "different ranges over all looks", (0.0, 1.0)),
    _share("malformed_share", "Malformed, %", "turns that are neither a look nor an answer"),
)
_MAIN = (_ACCURACY, _LOOKS, *_HITS, *_FLASH)
_CURVES = {
    "reward": ("Reward", 2),
    "accuracy": ("Accuracy", 2),
    "looks_per_episode": ("Looks per episode", 2),
    "hit_share": ("Looks that hit the scene", 2),
    "hit_elsewhere": ("The same ranges on other films", 2),
    "malformed_share": ("Share of malformed turns", 2),
}


def _reference_rows(given: Mapping[str, Any]) -> dict[str, Mapping[str, object]]:
    """What perfect observers of some frames get right."""
    return {f"perfect: {name}": numbers for name, numbers in (given.get("observers") or {}).items()}


def _marks(given: Mapping[str, Any]) -> dict[str, dict[str, object]]:
    uniform = (given.get("observers") or {}).get(UNIFORM, {})
    return {"accuracy": {"24 uniform": uniform.get("accuracy"), "blind": 25.0}}


def _sections(rows: ArmRows) -> list[Section]:
    given = rows.references()
    return [
        Section(
            "main",
            "Reward alone against its start",
            [
                rows.table(_rows(rows, ("sft", "ppo")), given, measures=_MAIN),
                _sampled(rows),
            ],
        ),
        Section(
            "table-4",
            "One turn, and the parts of the reward left out (Table 4)",
            [
                _beside(rows, ("single_sft", "single", "no_frames", "no_gate", "release"), _MAIN),
            ],
        ),
        Section(
            "table-5",
            "How many turns (Table 5)",
            [_beside(rows, ("turns_1", "turns_3"), (_ACCURACY, _LOOKS, *_HITS, *_HOW))],
        ),
        Section(
            "table-3",
            "By length of film (Table 3)",
            [rows.table(_rows(rows, rows.arms), given, measures=(_ACCURACY, *_LENGTHS))],
        ),
        Section(
            "bootstrapping",
            "From a start that seldom looks (Fig. 6)",
            [
                rows.table(
                    _rows(rows, ("seldom_sft", "seldom", "bootstrap")),
                    measures=(_ACCURACY, _RATE, _LOOKS, *_HITS),
                )
            ],
        ),
        Section(
            "credit", "How rewards become advantages", [_beside(rows, ("grpo", "one_level"), _MAIN)]
        ),
        Section(
            "looks",
            "How arms look",
            [rows.table(_rows(rows, rows.arms), measures=(_RATE, _LOOKS, *_HITS, *_HOW))],
        ),
    ]


def _rows(rows: ArmRows, names: Sequence[str] | Mapping[str, Any]) -> list[TableRow]:
    return [rows.row(name) for name in names if name in rows.arms]


def _beside(rows: ArmRows, names: Sequence[str], measures: Sequence[Measure]) -> ArmTable | None:
    return rows.compared("ppo", [name for name in names if name in rows.arms], measures)


def _sampled(rows: ArmRows) -> ArmTable | None:
    sampled = [rows.row(name, _SAMPLED, "sampled", with_paper=False) for name in rows.arms]
    return rows.table(sampled, more="sampled at temperature 1", measures=_MAIN)


FILMS = Findings(
    things="films",
    main=MAIN,
    measures=(_ACCURACY, *_LENGTHS, _LOOKS, _RATE, *_HITS, *_FLASH, *_HOW),
    plotted=(_ACCURACY, *_LENGTHS, _LOOKS, *_HITS),
    logged=tuple(_CURVES),
    curves=_CURVES,
    claims=CLAIMS,
    targets=targets_of,
    reference_rows=_reference_rows,
    marks=_marks,
    sections=_sections,
)
