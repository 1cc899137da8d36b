"""`oncue data convert`: rows of one format as rows of another."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from oncue.commands.curating import check_out, print_summary, wrote
from oncue.commands.number_checks import check_smallest
from oncue.commands.progress import LINE_EVERY_S
from oncue.errors import ConfigError, DataError

if TYPE_CHECKING:
    from oncue.data.formats.layout import Layout
    from oncue.data.formats.registry import Format

_NUM_SHOWN = 20  # rows left out


@dataclass(frozen=True)
class DataConvert:
    """Turn proactive dialogues of one format into another: our rows, the official files of MMDuet2,
    and the rows of other trainers.

    Read: rows, parquet, sft, rl, examples, gold, swift, trl, streamo-raw, streamo-stream. Written:
    rows, parquet, sft, rl, examples, eval, gold, swift, swift-grpo, trl, trl-grpo, llama-factory.
    The format of the file is found from its content, that of --out from .jsonl (our rows) or
    .parquet. rl is a Parquet file and NAME-user_turns.json beside it. eval writes two files,
    OUT-frame_input_format.json and OUT-proactivevideoqa_format.json. docs/pipeline_formats.md says
    what each holds, and what is lost between them.

    Example: oncue data convert rows.jsonl --to sft --out sft.jsonl
    """

    rows: tyro.conf.Positional[Path]
    """The file of rows."""

    out: Path
    """File to write."""

    from_format: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Format of the file. By default the one it looks like."""

    to_format: Annotated[str | None, tyro.conf.arg(name="to")] = None
    """Format to write. By default our rows, as the ending of --out says."""

    frame_interval_s: float | None = None
    """Seconds from one frame to the next. By default that of MMDuet2."""

    frames_per_turn: int | None = None
    """Frames of a user turn. By default those of MMDuet2."""

    placement: Literal["end", "spread", "start"] = "end"
    """Turn of its span that a reply is written into: the last, one drawn, or the first."""

    frames: Path | None = None
    """Folder of picture files, VIDEO_ID/000001.jpg. By default frames are moments of the video,
    clip.mp4#t=2, which only oncue reads."""

    write_frames: bool = False
    """Write the picture files that are not in --frames yet. Needs the videos."""

    videos: Path | None = None
    """Folder of the videos. Frames name them there. By default they are named as the rows do."""

    segment_s: float = 20.0
    """Length of the segments of reinforcement learning, 20 to 60 seconds."""

    max_frames: int | None = None
    """Frames of an example in all; the oldest history is left out. By default those of MMDuet2."""

    kind: Literal["web", "ego", "other"] = "other"
    """Kind of the videos, for formats that do not say it."""

    skip_bad_rows: bool = False
    """Leave out and list rows that cannot be used. By default they are an error."""

    json: bool = False
    """The counts as one JSON object on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Read, change, write. Returns the exit code."""
        from oncue.data.formats.converting import convert
        from oncue.data.formats.registry import to_read, to_write

        check_smallest(self, frames_per_turn=1, max_frames=1)
        if self.videos is not None and not self.videos.is_dir():
            raise ConfigError(f"--videos {self.videos} is no folder; give that of the videos")
        target = to_write(self.to_format, self.out)
        source = to_read(self.from_format, self.rows)
        check_out(self.out, (self.rows,))
        counting = _Counting(self.skip_bad_rows)
        number = convert(
            self.rows,
            self.out,
            source,
            target,
            self._layout(source, target),
            counting.left_out,
            counting.step,
        )
        if self.json:
            print_summary(
                {
                    "from": source.name,
                    "to": target.name,
                    "num_rows": number,
                    "num_bad_rows": counting.num_bad,
                    "out": str(self.out),
                }
            )
        else:
            if counting.num_bad:
                print(f"{counting.num_bad:>7,} dropped: cannot be used")
            print(f"{wrote(number, self.out)} ({source.name} to {target.name})")
        return 0

    def _layout(self, source: Format, target: Format) -> Layout:
        from oncue.clock import Clock
        from oncue.data.formats.converting import needs_clock
        from oncue.data.formats.layout import Layout
        from oncue.data.source_videos import VideoKind
        from oncue.dialogue.write import Placement

        interval_s, per_turn, max_frames = (
            self.frame_interval_s,
            self.frames_per_turn,
            self.max_frames,
        )
        if None in (interval_s, per_turn, max_frames) and needs_clock(source, target):
            from oncue.data.row_examples import RowExamples
            from oncue.recipes.mmduet2 import mmduet2_3b_grpo

            published = mmduet2_3b_grpo()
            assert isinstance(published.examples, RowExamples)
            interval_s = interval_s or published.frame_interval_s
            per_turn = per_turn or published.frames_per_turn
            max_frames = max_frames or published.examples.max_frames
        try:
            clock = Clock(1.0 if interval_s is None else interval_s)
        except ValueError as error:
            raise ConfigError(f"--frame-interval-s cannot be used: {error}") from error
        return Layout(
            clock,
            per_turn or 1,
            self.segment_s,
            max_frames or 1,
            Placement(self.placement),
            self.frames,
            self.write_frames,
            self.videos,
            VideoKind(self.kind),
        )


class _Counting:
    """Says how far it is and which rows are left out, on stderr."""

    def __init__(self, skip_bad: bool) -> None:
        self.skip_bad, self.num_bad, self.num_done = skip_bad, 0, 0
        self._started = self._reported = time.monotonic()

    def left_out(self, error: DataError) -> None:
        """Lists a row, or raises what is wrong with it."""
        if not self.skip_bad:
            raise DataError(
                f"{error}. Correct it, or list such rows and leave them out with --skip-bad-rows"
            ) from error
        self.num_bad += 1
        if self.num_bad <= _NUM_SHOWN:
            print(f"left out: {error}", file=sys.stderr)
        elif self.num_bad == _NUM_SHOWN + 1:
            print("left out: more, which are only counted", file=sys.stderr)

    def step(self) -> None:
        """One more is done."""
        self.num_done += 1
        now = time.monotonic()
        if now - self._reported >= LINE_EVERY_S:
            self._reported = now
            print(f"rows: {self.num_done:,}, {now - self._started:.0f} s", file=sys.stderr)
