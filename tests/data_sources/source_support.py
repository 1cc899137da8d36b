"""What the tests of video sources share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oncue.data.source_videos import Remark, SourceVideo, VideoSource
from oncue.data.sources.known import SourceOptions, make_source
from oncue.errors import DataError
from oncue.types import TimeSpan


def remark(start_s: float, end_s: float, text: str) -> Remark:
    return Remark(TimeSpan(start_s, end_s), text)


def plain(remarks: Sequence[Remark]) -> list[tuple[float, float, str]]:
    return [(each.span.start_s, each.span.end_s, each.text) for each in remarks]


def written(path: Path, value: Any) -> Path:
    """`path`, with a JSON value, or one per line where its name says so."""
    rows = value if path.suffix == ".jsonl" else [value]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def parted(source: VideoSource) -> tuple[list[SourceVideo], list[str]]:
    """The videos of a source, and what is wrong with the others."""
    found = list(source.videos())
    videos = [each for each in found if isinstance(each, SourceVideo)]
    return videos, [str(each) for each in found if isinstance(each, DataError)]


def opened(source: str, *paths: Path, **options: Any) -> tuple[list[SourceVideo], list[str]]:
    return parted(make_source(source, paths, SourceOptions(**options)))
