"""Pages of runs whose curves nobody looks at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from unittest import mock

from oncue.train import run_report

_drawn: dict[tuple[str, bool], str] = {}  # by heading, and whether there is more than one point


@contextmanager
def curves_drawn_once() -> Iterator[None]:
    """Of every curve on the pages of runs, the first one is drawn; later runs of this process show
    it again. Pages keep their headings, and a curve where one belongs."""
    draw = run_report._chart

    def chart(heading: str, curve: Mapping[int, float]) -> str:
        key = heading, len(curve) > 1
        if key not in _drawn:
            _drawn[key] = draw(heading, curve)
        return _drawn[key]

    with mock.patch.object(run_report, "_chart", chart):
        yield
