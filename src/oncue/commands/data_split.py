"""`oncue data split`: rows held out by video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from oncue.commands.curating import print_summary, wrote
from oncue.errors import ConfigError
from oncue.files import prepare_folder


@dataclass(frozen=True)
class DataSplit:
    """Hold out videos: rows for supervised training, and others of videos that it never sees, such
    as those for reinforcement learning.

    All rows of a video go to one side. The side follows from a hash of the name of the video. With
    --frac a video never changes sides when others are added. With --hold-out the videos with the
    lowest hashes of each kind are held out. Rows stay as they are: JSON lines the same bytes.

    Writes train and held_out with the ending of the rows to --out, and split.json with the names.

    Example: oncue data split rows.jsonl --out split/ --hold-out web=1500 ego=400
    """

    rows: tyro.conf.Positional[Path]
    """Our rows (JSON lines or Parquet), official SFT rows, or examples of train grpo."""

    out: Path
    """Folder to write to."""

    hold_out: tuple[str, ...] = ()
    """Numbers of videos of each kind, such as web=1500 ego=400. Rows that do not say the kind of
    their video are of kind other."""

    frac: float | None = None
    """Part of the videos, from 0 to 1."""

    json: bool = False
    """The counts as one JSON object on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Read, split, write. Returns the exit code."""
        from oncue.data.formats.video_split import (
            Part,
            read_numbers,
            split_by_video,
            written_files,
        )

        if (self.frac is None) is (not self.hold_out):
            raise ConfigError("give either --hold-out web=NUMBER ego=NUMBER or --frac PART")
        how = read_numbers(self.hold_out) if self.frac is None else Part(self.frac)
        if self.rows.resolve() in (file.resolve() for file in written_files(self.out)):
            raise ConfigError(f"--out {self.out} holds the rows that are read; give another folder")
        prepare_folder(self.out)
        counts = split_by_video(self.rows, self.out, how)
        if self.json:
            print_summary(
                {
                    "num_rows": dict(counts.num_rows),
                    "num_videos": dict(counts.num_videos),
                    "files": {side: str(file) for side, file in counts.files.items()},
                }
            )
            return 0
        for side, file in counts.files.items():
            print(f"{wrote(counts.num_rows[side], file)}, of {counts.num_videos[side]:,} videos")
        return 0
