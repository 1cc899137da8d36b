"""Writes docs/formats.md: a mini model of each decision format, side by side.

Train one of each first, then make the figures:

    oncue train sft --recipe mini --out runs/text
    oncue train sft --recipe mini --decision-format token --out runs/token
    for f in text token; do
      m=$(ls -d runs/$f/checkpoints/step_* | tail -n 1)
      for w in shapes footage; do
        oncue eval world --world $w --model $m --out docs/results/formats/$f-$w
      done
      oncue bench engine --quick --model $m --out docs/results/formats/$f-engine.json
    done
    python docs/results/formats.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "formats"
PAGE = Path(__file__).parent.parent / "formats.md"
FORMATS = ("text", "token")


def figures(name: str) -> dict[str, Any]:
    """What was measured of one format."""
    worlds = {
        w: json.loads((HERE / f"{name}-{w}" / "scores.json").read_text("utf-8"))
        for w in ("shapes", "footage")
    }
    return {"engine": json.loads((HERE / f"{name}-engine.json").read_text("utf-8")), **worlds}


def world(world_name: str, key: str, digits: int) -> Callable[[dict[str, Any]], str]:
    return lambda f: f"{f[world_name]['headline'][key]:.{digits}f}"


ROWS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("context tokens of a silent turn", lambda f: f"{f['engine']['silent_turn_tokens']}"),
    ("silent turn, ms", lambda f: f"{f['engine']['silent_turn_ms']:.1f}"),
    (
        "silent turn decoded token by token, ms",
        lambda f: f"{f['engine']['silent_turn_plain_ms']:.1f}",
    ),
    ("turn 200 with carried cache, ms", lambda f: f"{f['engine']['incremental_ms']['200']:.1f}"),
    ("decisions per second, 1 session", lambda f: f"{f['engine']['decisions_per_s']['1']:.0f}"),
    ("decisions per second, 32 sessions", lambda f: f"{f['engine']['decisions_per_s']['32']:.0f}"),
    ("PAUC on shapes, %", world("shapes", "pauc", 1)),
    ("duplicates on shapes, %", world("shapes", "duplicates", 1)),
    ("PAUC on footage, %", world("footage", "pauc", 1)),
    ("duplicates on footage, %", world("footage", "duplicates", 1)),
    ("first reply after, footage, s", world("footage", "first_reply_delay_s", 2)),
    ("false replies per minute, footage", world("footage", "false_replies_per_min", 2)),
)


def main() -> None:
    measured = {name: figures(name) for name in FORMATS}
    threads = measured["text"]["engine"]["num_threads"]
    lines = [
        "# Two decision formats, measured",
        "",
        "After this page you know what the `token` format of silence gains and costs against the "
        "`text` format. [training.md](training.md) says how to train either.",
        "",
        "`docs/results/formats.py` made the table, and says with which commands. There is one mini "
        "model per format, with the same recipe and seed.",
        "Scores are greedy, on 200 held-out clips per world. Speeds are on "
        f"{threads} threads of a CPU, with the frames of `oncue bench engine`.",
        "It is one run each: differences of a few points of PAUC may be chance.",
        "",
        f"| | {' | '.join(FORMATS)} |",
        "|---|---|---|",
        *(
            f"| {label} | {' | '.join(read(measured[name]) for name in FORMATS)} |"
            for label, read in ROWS
        ),
        "",
    ]
    PAGE.write_text("\n".join(lines), "utf-8")


if __name__ == "__main__":
    main()
