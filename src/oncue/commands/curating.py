"""What the commands that make rows for retrieval share: flags, faults, counts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from oncue.errors import ConfigError, DataError
from oncue.files import prepare_folder

if TYPE_CHECKING:
    from oncue.data.curate.sieve import Counts, Sieve

T = TypeVar("T")
_NUM_SHOWN = 20  # faults


@dataclass(frozen=True)
class SieveFlags:
    """Which questions are kept, and what their rows say."""

    min_duration_s: float = 30.0
    """Keep questions about videos of this length or more, in seconds; 0: of any length."""

    strict: bool = False
    """Keep only videos that are longer than --min-duration-s."""

    max_covered_frac: float = 0.5
    """Keep questions whose segments together cover less than this part of the video."""

    pool_frames: int | Literal["release"] = 128
    """Frames of the pool that the relevant frames are numbered in. release: one a second, at most
    64."""

    video_folder: str = ""
    """Folder to put before the path of each video, such as NExTVideo, so that rows of several
    sources can be used with one folder of videos."""

    def sieve(self) -> Sieve:
        """What these flags keep. Raises ConfigError for numbers out of range."""
        from oncue.data.curate.sieve import Sieve

        return Sieve(self.min_duration_s, self.strict, self.max_covered_frac, self.pool_frames)


def check_out(out: Path, read: Iterable[Path]) -> None:
    """Raises ConfigError where `out` is a file that is read, or cannot be written."""
    for path in read:
        if path.resolve() == out.resolve():
            raise ConfigError(f"--out {out} is a file that is read; give another")
    prepare_folder(out.parent, "give another --out", (out.name,))


def check_some(kept: Sequence[object], out: Path) -> None:
    """Raises DataError where nothing is kept."""
    if not kept:
        raise DataError(
            f"no question is kept, so {out} is not written; lower --min-duration-s, raise "
            "--max-covered-frac, or give other annotations"
        )


def usable(lines: Iterable[T | DataError], *, skip_bad: bool) -> tuple[list[T], int]:
    """The rows that can be used, and how many cannot: these are listed on stderr.

    Raises DataError where one cannot and `skip_bad` is not set.
    """
    rows: list[T] = []
    faults: list[DataError] = []
    for line in lines:
        if isinstance(line, DataError):
            faults.append(line)
        else:
            rows.append(line)
    if faults and not skip_bad:
        num_more = len(faults) - 1
        more = f" (and {num_more:,} more {'row' if num_more == 1 else 'rows'})" if num_more else ""
        raise DataError(
            f"{faults[0]}{more}. Correct it, or list such rows and leave them out with "
            "--skip-bad-rows"
        )
    for fault in faults[:_NUM_SHOWN]:
        print(f"left out: {fault}", file=sys.stderr)
    if len(faults) > _NUM_SHOWN:
        print(f"left out: {len(faults) - _NUM_SHOWN:,} more", file=sys.stderr)
    return rows, len(faults)


def counts_of(counts: Counts) -> dict[str, Any]:
    """The counts as JSON has them."""
    return {
        "num_videos": counts.num_videos,
        "num_questions": counts.num_questions,
        "num_segments": counts.num_segments,
        "num_kept": counts.num_kept,
        "dropped": {str(reason): number for reason, number in counts.dropped.items()},
    }


def show_counts(name: str, counts: Counts, sieve: Sieve) -> None:
    """The counts for people, on stdout."""
    print(
        f"{name}: {counts.num_videos:,} videos, {counts.num_questions:,} questions, "
        f"{counts.num_segments:,} segments"
    )
    print(f"{counts.num_kept:>7,} kept")
    show_dropped({sieve.worded(reason): number for reason, number in counts.dropped.items()})


def show_dropped(reasons: Mapping[str, int]) -> None:
    """One line per reason, on stdout."""
    for reason, number in reasons.items():
        print(f"{number:>7,} dropped: {reason}")


def wrote(num_rows: int, out: Path) -> str:
    """What was written, in words."""
    return f"wrote {num_rows:,} {'row' if num_rows == 1 else 'rows'} to {out}"


def print_summary(values: Mapping[str, Any]) -> None:
    """The summary of --json, one line."""
    print(json.dumps({"type": "summary", **values}, ensure_ascii=False), flush=True)
