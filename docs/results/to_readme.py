"""Writes the results table of README.md from the scores in this folder. `make results` makes them and calls this."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent
README = HERE.parent.parent / "README.md"
START, END = "<!-- results: made by docs/results/to_readme.py -->", "<!-- end of results -->"


def world_rows() -> list[str]:
    rows = []
    for world in ("shapes", "footage"):
        scores = json.loads((HERE / world / "scores.json").read_text("utf-8"))
        head = scores["headline"]
        controls = {
            name: json.loads((HERE / f"{world}-{name}" / "scores.json").read_text("utf-8"))["headline"]
            for name in ("frozen", "shuffled")
        }
        rows.append(
            f"| {world} | {head['n_clips']} | **{head['pauc']:.1f}** | {head['silence_pauc']:.1f} | {head['talk_pauc']:.1f} "
            f"| {head['oracle_pauc']:.1f} | {head['duplicates']:.1f} | {head['first_reply_delay_s']:.2f} "
            f"| {head['false_replies_per_min']:.2f} | {controls['frozen']['replies_per_min']:.2f} "
            f"| {controls['shuffled']['pauc']:.1f} | {controls['shuffled']['truthful_pauc']:.1f} |"
        )
    return rows


def clip_rows() -> list[str]:
    """Timing on real clips, where somebody has run `oncue eval clips --out docs/results/real_clips`."""
    path = HERE / "real_clips" / "scores.json"
    if not path.exists():
        return []
    scores = json.loads(path.read_text("utf-8"))
    rows = [
        f"| {name} | {c['n_hit']} | {c['n_false']} | {c['n_missed']} | {c['f1']:.1f} |"
        for name, c in scores["policies"].items()
    ]
    return [
        "",
        f"Timing alone on {scores['n_items']} questions about real fixed-camera clips with hand-made gold, asked in the model's own words "
        "(`docs/results/real_clips_asks.json`); the frame difference is tuned on `footage`:",
        "",
        "| policy | spans hit | replies in no span | spans missed | F1 |",
        "|---|---|---|---|---|",
        *rows,
    ]


def main() -> None:
    table = "\n".join(
        [
            "| world | clips | PAUC | silent | talking | perfect | duplicates % | first reply after s | false replies / min "
            "| replies / min on a frozen video | PAUC on shuffled frames | truthful on shuffled frames |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|",
            *world_rows(),
            *clip_rows(),
        ]
    )
    text = README.read_text("utf-8")
    before, rest = text.split(START)
    README.write_text(f"{before}{START}\n{table}\n{END}{rest.split(END)[1]}", "utf-8")


if __name__ == "__main__":
    main()
