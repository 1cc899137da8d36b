"""The page of a run: its curves, as one self-contained HTML file."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oncue.files import write_text
from oncue.rewards.shown_names import logged_terms, shown_names

# The numbers with a chart beside those of the reward, where a run logs them, and their headings.
_SHOWN = {
    "replies_per_episode": "Replies per episode",
    "group_spread": "Spread of rewards within a group",
    "entropy": "Entropy of the choices, nats",
    "loss": "Loss",
    "grad_norm": "Norm of the gradient",
    "learning_rate": "Learning rate",
    "tokens_per_s": "Tokens per second",
}
_WIDTH, _HEIGHT, _LEFT = 640, 200, 64


def write_report(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draws the metrics of a run into its `report.html`."""
    charts = "\n".join(
        _chart(heading, [(r["step"], r[name]) for r in rows if r.get(name) is not None])
        for name, heading in _headings(rows).items()
    )
    stages = ", ".join(
        f"{html.escape(name)} from step {first}" for name, first in _stage_starts(rows).items()
    )
    write_text(
        folder / "report.html",
        f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{html.escape(folder.name)}</title>
<style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;
padding:0 1rem}}h2{{font-size:1rem;margin:1.5rem 0 0}}
svg{{width:100%;height:auto}}polyline{{fill:none;stroke:#3b74d9;stroke-width:1.5}}
text{{font-size:12px;fill:currentColor}}
line{{stroke:currentColor;opacity:.3}}</style>
<h1>{html.escape(folder.name)}</h1><p>Stages: {stages or "none logged"}.</p>
{charts}
</html>
""",
    )


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


def _chart(name: str, points: list[tuple[float, float]]) -> str:
    if not points:
        return ""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    first, last, low, high = min(xs), max(xs), min(ys), max(ys)
    span_x = last - first or 1
    if high == low:  # a flat line is drawn in the middle
        low, high = low - 0.5, high + 0.5
    span_y = high - low
    line = " ".join(
        f"{_LEFT + (x - first) / span_x * (_WIDTH - _LEFT - 10):.1f},"
        f"{_HEIGHT - 20 - (y - low) / span_y * (_HEIGHT - 40):.1f}"
        for x, y in points
    )
    title = html.escape(name)
    right, bottom = _WIDTH - 10, _HEIGHT - 20
    return f"""<h2>{title}</h2>
<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title} over steps, from {ys[0]:.4g} to {ys[-1]:.4g}">
<line x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/><polyline points="{line}"/>
<text x="2" y="24">{high:.3g}</text><text x="2" y="{bottom - 2}">{low:.3g}</text>
<text x="{_LEFT}" y="{_HEIGHT - 4}">{first:g}</text>
<text x="{right}" y="{_HEIGHT - 4}" text-anchor="end">{last:g}</text>
</svg>"""
