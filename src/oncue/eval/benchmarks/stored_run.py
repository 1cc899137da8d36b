"""A scored run, from the folder that `--out` of its command named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oncue.errors import ConfigError, DataError
from oncue.eval.benchmarks.known import KNOWN, known_benchmark
from oncue.eval.streams.benchmark import StreamBenchmark
from oncue.eval.streams.comparison import ScoredRun
from oncue.eval.streams.item_lines import ITEMS_FILE
from oncue.fields import NonEmptyText, field_as, field_or
from oncue.scoring.recorded_grades import judge_behind

SCORES_FILE = "scores.json"
_EXPECTED = "the scores.json of a benchmark of proactive models"


def open_run(path: Path) -> ScoredRun:
    """The run in a folder, or beside a scores.json.

    Raises DataError for what cannot be read, ConfigError for a run of another kind.
    """
    scores = path / SCORES_FILE if path.is_dir() else path
    row, where = _read(scores), str(scores)
    if "modes" in row:
        raise ConfigError(
            f"{scores} is of oncue eval mcq, whose runs cannot be compared; it compares its modes "
            "on the same questions itself, with --baselines"
        )
    name = field_as(NonEmptyText, row, "benchmark", where) if "benchmark" in row else None
    if name not in KNOWN:
        raise ConfigError(
            f"{scores} is of {name or 'no named benchmark'}; runs can be compared of "
            f"{', '.join(KNOWN)}"
        )
    items = scores.with_name(ITEMS_FILE)
    if not items.is_file():
        raise DataError(
            f"{items} is missing, so that the run in {scores.parent} cannot be compared; score its "
            "predictions again with --out"
        )
    protocol = field_as(Any, row, "protocol", where)
    return ScoredRun(
        _benchmark(name, field_as(Any, row, "options", where), where),
        field_as(NonEmptyText, row, "model", where),
        judge_behind(field_or(str, row, "judge", where, "")) or None,
        protocol if isinstance(protocol, Mapping) else {},
        scores,
        items,
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        row = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path} ({error}); expected {_EXPECTED}") from error
    if not isinstance(row, Mapping):
        raise DataError(f"{path} holds {row!r:.60}; expected {_EXPECTED}")
    return row


def _benchmark(name: str, options: Any, where: str) -> StreamBenchmark[Any]:
    """The benchmark in the variant that was scored."""
    from pydantic import TypeAdapter, ValidationError

    kind = type(known_benchmark(name))
    try:
        benchmark: StreamBenchmark[Any] = TypeAdapter(kind).validate_python(options)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(map(str, first["loc"])) or "options"
        raise DataError(
            f"{where}: option {option} of {name} cannot be read ({first['msg']}); score the "
            "predictions again with this version"
        ) from error
    return benchmark
