"""Writes the tables of docs/results.md and the short one of README.md: results from the scores in
this folder (`make results` makes them and calls this), and the study from docs/studies (`oncue
study mmduet2-mini`, then this)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent.parent / "README.md"
PAGE = HERE.parent / "results.md"
STUDY = HERE.parent / "studies" / "mmduet2-mini" / "results.json"
START, END = "<!-- results: made by docs/results/tables.py -->", "<!-- end of results -->"
STUDY_START, STUDY_END = (
    "<!-- study: made by docs/results/tables.py -->",
    "<!-- end of study -->",
)


def world_rows() -> list[str]:
    """Both bundled models on both worlds; controls are those of `mini`."""
    return [
        world_row(world, model) for world in ("shapes", "footage") for model in ("mini", "mini-sft")
    ]


def world_row(world: str, model: str) -> str:
    scores = scores_of(world if model == "mini" else f"{world}-sft")
    head = scores["headline"]
    controls = ("", "", "")
    if model == "mini":
        shuffled = headline(f"{world}-shuffled")
        frozen = headline(f"{world}-frozen")
        controls = (
            f"{frozen['replies_per_min']:.2f}",
            f"{shuffled['pauc']:.1f}",
            f"{shuffled['truthful_pauc']:.1f}",
        )
    cells = (
        f"{world}, `{model}`",
        f"{head['n_clips']}",
        f"**{head['pauc']:.1f}**",
        f"{head['silence_pauc']:.1f}",
        f"{head['talk_pauc']:.1f}",
        f"{head['oracle_pauc']:.1f}",
        duplicates_of(scores),
        f"{head['first_reply_delay_s']:.2f}",
        f"{head['false_replies_per_min']:.2f}",
        *controls,
    )
    return f"| {' | '.join(cells)} |"


def duplicates_of(scores: dict[str, Any]) -> str:
    """The share of duplicates with how many they are of how many replies: of a few it says
    little."""
    counts = scores["policies"][scores["model"]]
    share, num, decided = (
        scores["headline"]["duplicates"],
        counts["n_duplicates"],
        counts["n_duplicates_decided"],
    )
    return f"{share:.1f} ({num} of {decided})"


def headline(name: str) -> dict[str, Any]:
    return scores_of(name)["headline"]


def scores_of(name: str) -> dict[str, Any]:
    return json.loads((HERE / name / "scores.json").read_text("utf-8"))


def clip_rows() -> list[str]:
    """Timing on real clips, where somebody has run `oncue eval clips --out docs/results/real_clips`
    (and, with `--model mini-sft`, to real_clips-sft)."""
    path, supervised = (HERE / name / "scores.json" for name in ("real_clips", "real_clips-sft"))
    if not path.exists():
        return []
    scores = json.loads(path.read_text("utf-8"))
    policies = {f"`{scores['model']}`": scores["policies"].pop("model")}
    if supervised.exists():
        policies["`mini-sft`"] = json.loads(supervised.read_text("utf-8"))["policies"]["model"]
    rows = [
        f"| {name} | {c['n_hit']} | {c['n_false']} | {c['n_missed']} | {c['f1']:.1f} |"
        for name, c in (policies | scores["policies"]).items()
    ]
    return [
        "",
        f"Timing alone on {scores['n_items']} questions about real fixed-camera clips with "
        "hand-made gold, asked in "
        "the model's own words (`docs/results/real_clips_asks.json`); the frame difference is "
        "tuned on `footage`:",
        "",
        "| policy | spans hit | replies in no span | spans missed | F1 |",
        "|---|---|---|---|---|",
        *rows,
    ]


def main() -> None:
    table = "\n".join(
        [
            "| world | clips | PAUC | silent | talking | perfect | duplicates % | first reply "
            "after s "
            "| false replies / min | replies / min on a frozen video | PAUC on shuffled frames "
            "| truthful on shuffled frames |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|",
            *world_rows(),
            *clip_rows(),
        ]
    )
    text = between(PAGE.read_text("utf-8"), START, END, table)
    if STUDY.exists():
        text = between(text, STUDY_START, STUDY_END, study_table())
    PAGE.write_text(text, "utf-8")
    short = between(README.read_text("utf-8"), START, END, short_table())
    README.write_text(short, "utf-8")


def short_table() -> str:
    """The table of README.md: `mini` on both worlds, between silence and the best replies."""
    rows = []
    for world in ("shapes", "footage"):
        scores = scores_of(world)
        head = scores["headline"]
        cells = (
            f"`{world}`",
            f"**{head['pauc']:.1f}**",
            f"{head['silence_pauc']:.1f}",
            f"{head['talk_pauc']:.1f}",
            f"{head['oracle_pauc']:.1f}",
            f"{head['first_reply_delay_s']:.2f} s",
            f"{head['false_replies_per_min']:.2f}",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(
        [
            "| world | PAUC of `mini` | never speaks | always speaks | best replies | first reply "
            "after | false replies / min |",
            "|---|---|---|---|---|---|---|",
            *rows,
        ]
    )


def between(text: str, start: str, end: str, table: str) -> str:
    """The text with what stands between two marks replaced."""
    before, rest = text.split(start)
    return f"{before}{start}\n{table}\n{end}{rest.split(end)[1]}"


def spread(values: list[float], decimals: int) -> str:
    """Their mean, and the lowest and highest of them."""
    mean = sum(values) / len(values)
    return f"{mean:.{decimals}f} ({min(values):.{decimals}f} to {max(values):.{decimals}f})"


def counted(arm: dict[str, Any]) -> str:
    """Duplicates and the replies that they are a share of, all seeds together."""
    return f"{sum(arm['num_duplicates'])} of {sum(arm['num_following'])}"


def study_table() -> str:
    """Means over seeds of the arms on `shapes`, each with its lowest and highest seed."""
    results = json.loads(STUDY.read_text("utf-8"))
    one_decimal = {"pauc", "duplicates"}
    measures = (
        "pauc",
        "duplicates",
        "num_replies",
        "first_reply_delay_s",
        "false_replies_per_quiet_min",
    )
    rows = []
    for name, arm in results.items():
        if name == "study" or len(arm["seeds"]) < 2:
            continue
        cells = []
        for measure in measures:
            values = [value for value in arm[measure] if value is not None]
            decimals = 1 if measure in one_decimal else 2
            counts = f", {counted(arm)}" if measure == "duplicates" else ""
            cells.append(spread(values, decimals) + counts if values else "none")
        footage = arm.get("footage", {}).get("pauc", [])
        other = spread(footage, 1) if footage else ""
        rows.append(
            f"| `{name}`: {arm['about']} | {len(arm['seeds'])} | {' | '.join(cells)} | {other} |"
        )
    return "\n".join(
        [
            "| arm | seeds | PAUC | duplicates % | replies per clip | first reply after s | false "
            "replies / quiet min "
            "| PAUC, footage |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            tally(results["study"]["claims"]),
        ]
    )


def tally(claims: list[dict[str, Any]]) -> str:
    """How many of the paper's claims hold here."""
    nums = Counter(claim["verdict"] for claim in claims)
    return (
        f"Of {len(claims)} claims of the paper {nums['seen']} are seen here, {nums['not seen']} "
        "are not (the 95 % "
        f"interval of the differences between seeds holds zero), and {nums['reversed']} are "
        "reversed."
    )


if __name__ == "__main__":
    main()
