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
            f"| {controls['shuffled']['pauc']:.1f} |"
        )
    return rows


def main() -> None:
    table = "\n".join(
        [
            "| world | clips | PAUC | silent | talking | perfect | duplicates % | first reply after s | false replies / min "
            "| replies / min on a frozen video | PAUC on shuffled frames |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
            *world_rows(),
        ]
    )
    text = README.read_text("utf-8")
    before, rest = text.split(START)
    README.write_text(f"{before}{START}\n{table}\n{END}{rest.split(END)[1]}", "utf-8")


if __name__ == "__main__":
    main()
