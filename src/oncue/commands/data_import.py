"""`oncue data import`: rows of others as rows for retrieval."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from oncue.commands.curating import check_out, print_summary, usable, wrote
from oncue.commands.number_checks import check_smallest
from oncue.errors import ConfigError, DataError

if TYPE_CHECKING:
    from oncue.data.row_import import ImportedRows


@dataclass(frozen=True)
class DataImport:
    """Turn rows of Video-R1, or the released rows of Video-MTR, into rows for retrieval.

    The file is JSON lines or a JSON array of {problem_id, problem, data_type, problem_type,
    options, solution: "<answer>B</answer>", path, data_source}, with relevant_sample_frames where
    it is known. Ids become text. Options may be "A. x", "(A) x" or plain texts; the answer may be a
    letter or the text of an option. Rows about pictures are left out. Each line of --out is such a
    row in one form: options "A. x", the answer a letter.

    Example: oncue data import qv-nextgqa_merge_8k.json --videos videos/ --out rows.jsonl
    """

    rows: tyro.conf.Positional[Path]
    """The file of rows."""

    out: Path
    """File for the rows: JSON lines, or one array where the name ends in .json."""

    videos: Path | None = None
    """The folder of the videos. A row whose video is not there cannot be used. By default videos
    are not looked for."""

    pool_frames: int | None = None
    """Size of the pool that relevant_sample_frames count in, for rows without num_frames. By
    default one frame a second, at most 64, as in the released rows of Video-MTR."""

    skip_bad_rows: bool = False
    """Leave out and list rows that cannot be used. By default they are an error."""

    json: bool = False
    """The counts as one JSON object on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Read, check, write. Returns the exit code."""
        from oncue.data.retrieval_rows import write_rows
        from oncue.data.row_import import import_rows

        check_smallest(self, pool_frames=1)
        if self.videos is not None and not self.videos.is_dir():
            raise ConfigError(f"--videos {self.videos} is no folder; give that of the videos")
        check_out(self.out, (self.rows,))
        imported = import_rows(self.rows, self.pool_frames, self.videos)
        usable((*imported.rows, *imported.faults), skip_bad=self.skip_bad_rows)
        if not imported.rows:
            raise DataError(f"{self.rows} has no row about a video that can be used")
        write_rows(self.out, imported.rows)
        self._report(imported)
        return 0

    def _report(self, imported: ImportedRows) -> None:
        num_rows, num_bad = len(imported.rows), len(imported.faults)
        if self.json:
            print_summary(
                {
                    "num_read": num_rows + num_bad + imported.num_pictures,
                    "num_rows": num_rows,
                    "num_pictures": imported.num_pictures,
                    "num_bad_rows": num_bad,
                    "num_repeated_ids": imported.num_repeated_ids,
                    "num_with_evidence": imported.num_with_evidence,
                    "problem_types": imported.num_by_type,
                    "out": str(self.out),
                }
            )
            return
        for kind, number in imported.num_by_type.items():
            print(f"{number:>7,} of type {kind}")
        print(f"{imported.num_with_evidence:>7,} that say where the answer can be seen")
        print(f"{imported.num_repeated_ids:>7,} with the id of a row before them")
        print(f"{imported.num_pictures:>7,} dropped: about pictures")
        print(f"{num_bad:>7,} dropped: cannot be used")
        print(wrote(num_rows, self.out))
