"""The page of a run: its curves, in one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oncue.files import write_text
from oncue.pages.charts import Line, line_chart
from oncue.pages.page import render
from oncue.rewards.shown_names import logged_terms, shown_names

# The numbers with a chart beside those of the reward, where a run logs them, and their headings.
_SHOWN = {
    "replies_per_episode": "Replies per episode",
    "group_spread": "Spread of rewards within a group",
    "entropy": "Entropy of the choices, nats",
    "loss": "Loss",
    "value_loss": "Loss of the critic",
    "explained_variance": "Share of the variance of returns that the critic explains",
    "grad_norm": "Norm of the gradient",
    "learning_rate": "Learning rate",
    "tokens_per_s": "Tokens per second",
}


def write_report(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draws the metrics of a run into its `report.html`."""
    curves = {
        heading: {row["step"]: row[name] for row in rows if row.get(name) is not None}
        for name, heading in _headings(rows).items()
    }
    page = render(
        "report.html",
        title=folder.name,
        stages=", ".join(f"{name} from step {step}" for name, step in _stage_starts(rows).items()),
        last_step=rows[-1]["step"] if rows else None,
        charts={heading: _chart(heading, curve) for heading, curve in curves.items() if curve},
    )
    write_text(folder / "report.html", page)


def _headings(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What is drawn, in order: the reward, what it names, then the rest."""
    of_reward = shown_names(logged_terms(rows)).curves
    return {"reward": "Reward", **of_reward, **_SHOWN}


def _stage_starts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    starts: dict[str, int] = {}
    for row in rows:
        if "stage" in row:
            starts.setdefault(row["stage"], row["step"])
    return starts


def _chart(heading: str, curve: Mapping[int, float]) -> str:
    first, last = curve[min(curve)], curve[max(curve)]
    return line_chart(f"{heading} over steps, from {first:.4g} to {last:.4g}", [Line(curve)])
