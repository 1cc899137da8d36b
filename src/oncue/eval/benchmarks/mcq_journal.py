"""What a run has finished, kept in its folder as it goes, so that a run that was killed goes on.

`run.json` holds the settings that the answers depend on. The file of each mode holds a line for
each question that is finished: the episode, and its result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oncue.errors import ConfigError, DataError
from oncue.eval.benchmarks.mcq_result import McqResult, Mode
from oncue.eval.resuming import check_same, drop_half_line
from oncue.fields import NonEmptyText, field_as
from oncue.files import append_text, write_json
from oncue.json_files import json_file, json_lines

RUN_FILE = "run.json"
_EXPECTED = "an episode of `oncue eval mcq`, an object with episode_id and result"
Key = tuple[Mode, str]  # a mode, and the id of a question


class Journal:
    """The finished questions of a run in `folder`; without one, nothing is kept.

    `files`: the file of each mode. `settings`: what the answers depend on, by the name of the flag.
    Raises ConfigError for a folder that holds a run where `resume` is not given, or a run with
    other settings; DataError for a file that cannot be read.
    """

    def __init__(
        self,
        folder: Path | None,
        files: Mapping[Mode, str],
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
    ) -> None:
        self.results: dict[Key, McqResult] = {}
        self.lines: dict[Key, str] = {}
        self._folder, self._files = folder, files
        self._settings = json.loads(json.dumps({**settings, "modes": list(files)}))
        self._before: Mapping[str, Any] | None = None
        if folder is None or not (folder / RUN_FILE).exists():
            return
        if not resume:
            raise ConfigError(
                f"{folder} holds a run already; go on with it with --resume, or give another --out"
            )
        self._before = _settings_in(folder / RUN_FILE)
        self._check(self._settings)
        for mode, name in files.items():
            self._read(mode, folder / name)

    def begin(self, model: str) -> None:
        """Say which model answers, before the first question. Raises ConfigError for another one
        than before."""
        if self._folder is None:
            return
        self._settings = {**self._settings, "model": model}
        if self._before is not None:
            self._check(self._settings)
        else:
            for name in self._files.values():
                (self._folder / name).unlink(missing_ok=True)
            write_json(self._folder / RUN_FILE, self._settings)

    def add(self, mode: Mode, result: McqResult, episode: Mapping[str, Any]) -> None:
        """Keep a finished question; a reader sees the whole line or none of it."""
        line = json.dumps({**episode, "result": result.plain()}, ensure_ascii=False)
        line = line.encode("utf-8", "backslashreplace").decode() + "\n"
        key = (mode, result.question_id)
        self.results[key], self.lines[key] = result, line
        if self._folder is not None:
            append_text(self._folder / self._files[mode], line)

    def _check(self, settings: Mapping[str, Any]) -> None:
        """Raises ConfigError where the run was started with other settings."""
        assert self._before is not None
        assert self._folder is not None
        check_same(self._before, settings, self._folder)

    def _read(self, mode: Mode, path: Path) -> None:
        """The finished questions of a file. A line that was cut off by the end of the run is
        dropped, and questions that failed are asked again."""
        if not path.exists():
            return
        drop_half_line(path)
        for where, row in json_lines(path, _EXPECTED):
            name = field_as(NonEmptyText, row, "episode_id", where)
            result = McqResult.from_plain(name, field_as(Any, row, "result", where), where)
            if not result.failed:
                self.results[mode, name] = result
                self.lines[mode, name] = json.dumps(row, ensure_ascii=False) + "\n"


def _settings_in(path: Path) -> Mapping[str, Any]:
    settings = json_file(path, "the settings of a run; give another --out")
    if not isinstance(settings, Mapping):
        raise DataError(f"{path} holds no settings of a run; give another --out")
    return settings
