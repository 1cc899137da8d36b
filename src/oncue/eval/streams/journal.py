"""A predictions file as it grows: a line for each finished item, so that a run that was killed
goes on, and ends with the very file of a run that was not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oncue.errors import ConfigError, DataError
from oncue.eval.resuming import check_same, drop_half_line
from oncue.eval.streams.predictions import (
    PredictionFile,
    header_line,
    prediction_line,
)
from oncue.eval.streams.stream import Prediction
from oncue.files import append_text, write_text


class PredictionJournal:
    """The finished items of a run in `path`.

    `settings`: what the predictions depend on, by the name of the flag; None is for a setting
    that is not there. `item_ids`: the items of the run, in their order; `is_part` where they are
    not all of the benchmark. Raises ConfigError for a file that is there where `resume` is not
    given, or of other settings or items; DataError for one that cannot be read.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        item_ids: Sequence[str],
        *,
        is_part: bool,
        resume: bool,
    ) -> None:
        self.path = path
        self._settings = dict(settings)
        self._item_ids, self._is_part = tuple(item_ids), is_part
        self._lines: dict[str, str] = {}
        self._before: Mapping[str, Any] | None = None
        if not path.exists():
            return
        if not resume:
            raise ConfigError(
                f"{path} holds predictions already; go on with them with --resume, or give another "
                "place"
            )
        drop_half_line(path)
        if path.stat().st_size:
            self._read(PredictionFile.open(path))

    @property
    def num_done(self) -> int:
        return len(self._lines)

    def has(self, item_id: str) -> bool:
        """Whether an item is finished."""
        return item_id in self._lines

    def begin(self, model: Mapping[str, Any]) -> None:
        """Say what answers, before the first item. Raises ConfigError for another than before."""
        self._settings |= model
        if self._before is not None:
            check_same(self._before, self._settings, self.path)
        else:
            write_text(self.path, self._header())

    def add(self, said: Prediction) -> None:
        """Keep a finished item; a reader sees the whole line or none of it."""
        line = prediction_line(said) + "\n"
        self._lines[said.item_id] = line
        append_text(self.path, line)

    def finish(self) -> None:
        """Put the lines in the order of the items."""
        lines = [self._lines[item_id] for item_id in self._item_ids]
        write_text(self.path, "".join((self._header(), *lines)))

    def _header(self) -> str:
        shown = {name: value for name, value in self._settings.items() if value is not None}
        return header_line(shown, self._item_ids if self._is_part else None) + "\n"

    def _read(self, file: PredictionFile) -> None:
        self._before = file.protocol
        check_same(self._before, self._settings, self.path)
        if file.items != (self._item_ids if self._is_part else None):
            raise ConfigError(
                f"{self.path} holds a run of other items; go on with the same videos and --limit, "
                "or give another place"
            )
        known = set(self._item_ids)
        for where, said in file:
            if said.item_id not in known:
                raise DataError(f"{where}: this run has no item {said.item_id!r}")
            self._lines[said.item_id] = prediction_line(said) + "\n"
