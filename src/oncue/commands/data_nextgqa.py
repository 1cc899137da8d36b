"""`oncue data curate nextgqa`: training rows from NExT-GQA."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from oncue.commands.curating import (
    SieveFlags,
    check_out,
    check_some,
    counts_of,
    print_summary,
    show_counts,
    usable,
    wrote,
)


@dataclass(frozen=True)
class DataCurateNextgqa:
    """Make rows for retrieval from NExT-GQA: its questions, and the frames that show the answer.

    The files are CSV files of questions {video_id, question, answer, qid, type, a0 to a4}, with the
    JSON files of their segments, gsub_val.json: {video: {duration, location: {qid: [[start_s,
    end_s], ...]}}}. Lists in the form of VideoChat-R1 need no other file: [{id, video, question,
    options, duration, glue, type, answer}]. The videos themselves are not needed.

    Each line of --out is a row: {problem_id, problem, data_type, problem_type, options, solution,
    path, data_source, relevant_sample_frames, num_frames, spans, duration, task_type}. Only val and
    test have segments: who trains on them must not report accuracy there.

    Example: oncue data curate nextgqa val.csv gsub_val.json --out rows.jsonl
    """

    annotations: tyro.conf.Positional[tuple[Path, ...]]
    """CSV and JSON files, in any order."""

    out: Path
    """File for the rows: JSON lines, or one array where the name ends in .json."""

    video_map: Path | None = None
    """The data set's map_vid_vidorID.json, where videos lie in folders as it says. By default a
    video is NAME.mp4."""

    keep: tyro.conf.OmitArgPrefixes[SieveFlags] = field(default_factory=SieveFlags)

    skip_bad_rows: bool = False
    """Leave out and list rows that break the format. By default they are an error."""

    json: bool = False
    """The counts as one JSON object on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Read, sift, write. Returns the exit code."""
        from oncue.data.curate.nextgqa import SOURCE, num_unasked_videos, read_nextgqa
        from oncue.data.curate.sieve import sift
        from oncue.data.retrieval_rows import write_rows

        sieve = self.keep.sieve()
        check_out(self.out, self.annotations)
        lines = read_nextgqa(self.annotations, self.video_map)
        rows, num_bad = usable(lines, skip_bad=self.skip_bad_rows)
        kept, counts = sift(rows, sieve)
        num_videos = counts.num_videos + num_unasked_videos(self.annotations)
        counts = replace(counts, num_videos=num_videos)
        if not self.json:
            show_counts(SOURCE, counts, sieve)
        check_some(kept, self.out)
        write_rows(self.out, (sieve.finished(row, self.keep.video_folder) for row in kept))
        if self.json:
            summary = {"source": SOURCE, **counts_of(counts), "num_bad_rows": num_bad}
            print_summary({**summary, "out": str(self.out)})
        else:
            print(wrote(len(kept), self.out))
        return 0
