"""All formats by name, which of them a file has, and from one to another.

A format holds one of three things: proactive dialogues with times, written rows with turns, or
segments for reinforcement learning. Between two formats of one kind nothing is changed; else rows
are written as turns, cut into segments, or read back, as `Layout` says.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.data.formats import (
    evaluation,
    gold_files,
    json_rows,
    parquet_rows,
    rl,
    rl_lines,
    sft,
    streamo,
    trainers,
)
from oncue.data.formats.layout import Layout
from oncue.data.formats.parquet_files import columns_of
from oncue.data.formats.reading import write_json_lines, write_lines
from oncue.errors import ConfigError, DataError
from oncue.json_files import json_object, written_rows


class Holds(enum.Enum):
    """What the rows of a format are."""

    DIALOGUES = enum.auto()
    TURNS = enum.auto()
    SEGMENTS = enum.auto()


def _as_it_is(row: Any, layout: Layout) -> Any:  # noqa: ARG001
    return row


@dataclass(frozen=True, slots=True)
class Format:
    """A format: its name, what it is in a few words, and what its rows are.

    `read`: the rows of a file, each or a DataError; None: it cannot be read. `encode`: a row as
    `write` takes it, which writes all and gives their number; None: it cannot be written.
    `looks_like`: whether a first row, or the columns of a Parquet file, are of this format.
    `has_pictures`: whether frames must be picture files.
    """

    name: str
    about: str
    holds: Holds
    read: Callable[[Path, Layout], Iterator[Any]] | None = None
    encode: Callable[[Any, Layout], Any] = _as_it_is
    write: Callable[[Path, Iterable[Any]], int] | None = None
    looks_like: Callable[[Mapping[str, Any]], bool] = lambda _: False
    is_parquet: bool = False
    has_pictures: bool = False


D, T, S = Holds.DIALOGUES, Holds.TURNS, Holds.SEGMENTS
# A first row may look like several formats: the first of them is taken.
FORMATS = (
    Format(
        "rows",
        "our rows, JSON lines",
        D,
        read=json_rows.read,
        encode=json_rows.encode,
        write=write_json_lines,
        looks_like=json_rows.looks_like,
    ),
    Format(
        "parquet",
        "our rows, Parquet",
        D,
        read=parquet_rows.read,
        encode=parquet_rows.encode,
        write=parquet_rows.write,
        looks_like=parquet_rows.looks_like,
        is_parquet=True,
    ),
    Format(
        "streamo-raw", "annotations of Streamo", D, read=streamo.read_raw, looks_like=streamo.is_raw
    ),
    Format(
        "streamo-stream",
        "rows of Streamo's trainer",
        D,
        read=streamo.read_stream,
        looks_like=streamo.is_stream,
    ),
    Format(
        "trl",
        "TRL, supervised",
        T,
        read=trainers.read_trl,
        encode=trainers.trl,
        write=write_json_lines,
        looks_like=trainers.is_trl,
        has_pictures=True,
    ),
    Format(
        "swift",
        "ms-swift, supervised",
        T,
        read=trainers.read_swift,
        encode=trainers.swift,
        write=write_json_lines,
        looks_like=trainers.is_swift,
        has_pictures=True,
    ),
    Format(
        "sft",
        "official SFT rows",
        T,
        read=sft.read,
        encode=sft.encode,
        write=write_lines,
        looks_like=sft.looks_like,
    ),
    Format(
        "llama-factory",
        "LLaMA-Factory",
        T,
        encode=trainers.llama_factory,
        write=write_json_lines,
        has_pictures=True,
    ),
    Format(
        "rl",
        "official RL files",
        S,
        read=rl.read,
        encode=rl.encode,
        write=rl.write,
        looks_like=rl.looks_like,
        is_parquet=True,
    ),
    Format(
        "examples",
        "examples of oncue train grpo",
        S,
        read=rl_lines.read,
        encode=rl_lines.encode,
        write=write_json_lines,
        looks_like=rl_lines.looks_like,
    ),
    Format(
        "swift-grpo",
        "ms-swift, GRPO",
        S,
        encode=trainers.swift_grpo,
        write=write_json_lines,
        has_pictures=True,
    ),
    Format(
        "trl-grpo",
        "TRL, GRPO",
        S,
        encode=trainers.trl_grpo,
        write=write_json_lines,
        has_pictures=True,
    ),
    Format(
        "eval",
        "official evaluation input, with gold",
        D,
        encode=evaluation.encode,
        write=evaluation.write,
    ),
    Format(
        "gold",
        "gold files, ProactiveVideoQA",
        D,
        read=gold_files.read,
        encode=gold_files.encode,
        write=gold_files.write,
        looks_like=gold_files.looks_like,
    ),
)
_BY_NAME = {each_format.name: each_format for each_format in FORMATS}
_EXPECTED = "rows of one of the formats that `oncue data convert --help` lists"


def to_read(name: str | None, path: Path) -> Format:
    """The format `name`, or the one that the file looks like. Raises ConfigError for a name that is
    none, or cannot be read; DataError for a file that looks like none."""
    readable = [found.name for found in FORMATS if found.read]
    if name is not None:
        return _named(name, readable, "--from")
    is_parquet, first = _first_row(path)
    for found in FORMATS:
        if found.read and found.is_parquet is is_parquet and found.looks_like(first):
            return found
    raise DataError(
        f"{path} is of no format that is known by its first row, which has "
        f"{', '.join(map(str, first)) or 'nothing'}; name it with --from: {', '.join(readable)}"
    )


def to_write(name: str | None, path: Path) -> Format:
    """The format `name`, or the one of the name of the file: our rows as .parquet or .jsonl. Raises
    ConfigError for others."""
    writable = [found.name for found in FORMATS if found.write]
    if name is None and path.suffix in (".parquet", ".jsonl"):
        return _BY_NAME["parquet" if path.suffix == ".parquet" else "rows"]
    if name is None:
        raise ConfigError(
            f"the format of {path} is not clear; name it with --to: {', '.join(writable)}"
        )
    return _named(name, writable, "--to")


def _named(name: str, names: list[str], flag: str) -> Format:
    if name not in names:
        raise ConfigError(f"{flag} must be one of {', '.join(names)}; got {name!r}")
    return _BY_NAME[name]


def _first_row(path: Path) -> tuple[bool, Mapping[str, Any]]:
    """Whether a file is Parquet, and its first row, or its columns with nothing in them."""
    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); give a file of rows") from error
    if is_parquet:
        return True, dict.fromkeys(columns_of(path))
    where, first = next(written_rows(path, _EXPECTED), ("", None))
    if first is None:
        raise DataError(f"{path} has no rows; expected {_EXPECTED}")
    return False, json_object(first, where, _EXPECTED)
