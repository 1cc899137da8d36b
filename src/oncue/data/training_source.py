"""What the files that a user names are trained on as: found out from their first rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oncue.data.dialogue_sources import RowSource
from oncue.data.indexed_rows import indexed_rows
from oncue.data.mixed_source import FileRows, MixedSource
from oncue.data.offline_source import OfflineSource
from oncue.data.proactive_sources import ProactiveSource
from oncue.errors import ConfigError, DataError


def is_proactive(path: Path) -> bool:
    """Whether the rows of a file are proactive dialogues, as the first of them is. Raises DataError
    for a file that cannot be read."""
    if path.suffix == ".parquet":
        return True
    try:
        row = indexed_rows(path).read(0, "an object with named fields")
    except DataError:  # of a single row: whoever reads it says what is wrong
        return False
    return "row_id" in row and "messages" not in row


def training_source(
    data: Sequence[Path],
    offline: Sequence[Path] = (),
    *,
    ratios: Sequence[float] = (),
    videos: Path | None = None,
    store: Path | None = None,
    offline_frames: int,
) -> FileRows | MixedSource:
    """The source of supervised training for files of rows: MMDuet2's own rows or proactive
    dialogues in `data`, and questions about whole videos in `offline`, mixed by `ratios`.

    Raises ConfigError for files of both kinds in `data`, and for ratios that are not one number for
    `data` and one for each file of `offline`.
    """
    kinds = {is_proactive(path) for path in data}
    if len(kinds) > 1:
        raise ConfigError(
            "--data names rows with messages and proactive dialogues; give files of one kind"
        )
    first: FileRows = RowSource(tuple(data))
    if kinds == {True}:
        first = ProactiveSource(tuple(data), videos, store)
    elif store is not None:
        raise ConfigError(
            "--frames is for proactive dialogues (rows with row_id), and the rows of --data name "
            "their images; leave it out"
        )
    elif videos is not None and not offline:
        raise ConfigError(
            "--videos is for proactive dialogues and --offline, and the rows of --data name their "
            "images; leave it out"
        )
    if ratios and len(ratios) != 1 + len(offline):
        raise ConfigError(
            f"--ratios needs {1 + len(offline)} numbers, one for --data and one for each file of "
            f"--offline, got {len(ratios)}"
        )
    if not offline:
        return first
    others = (OfflineSource((path,), offline_frames, videos=videos) for path in offline)
    return MixedSource((first, *others), tuple(ratios))
