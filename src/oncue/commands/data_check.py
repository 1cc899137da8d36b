"""`oncue data check`: all that is wrong with rows, before a run finds it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from oncue.commands.curating import print_summary
from oncue.commands.judging import JudgeServer
from oncue.commands.number_checks import check_smallest
from oncue.commands.progress import Progress
from oncue.commands.turn_flags import TurnFlags
from oncue.errors import ConfigError
from oncue.startup import loading

if TYPE_CHECKING:
    from oncue.data.quality.checking import Checks
    from oncue.data.quality.faults import Fault
    from oncue.data.quality.token_counts import TokenCounter
    from oncue.scoring.judge import Judge


@dataclass(frozen=True)
class DataCheck:
    """Say everything that is wrong with rows of proactive dialogues: file, row, turn and remedy,
    one line for each fault. The exit code is 2 where there is one.

    Looks at the rows alone. With --videos also at the videos they name, with --model at their
    length in tokens, with --judge at whether a judge gives each gold reply full marks. --sft checks
    rows in the official SFT format.

    Example: oncue data check rows.jsonl --videos videos/ --judge lexical
    """

    rows: tyro.conf.Positional[tuple[Path, ...]] = ()
    """JSON-lines files of proactive dialogues."""

    sft: tuple[Path, ...] = ()
    """Files of rows in the official SFT format, with the pictures they name."""

    skip_pictures: bool = False
    """Do not look at the pictures of --sft rows."""

    videos: Path | None = None
    """The folder of the videos of ROWS. By default videos are not looked at."""

    decode: bool = False
    """Decode whole videos. By default their first frame alone, which misses a damaged end."""

    model: str | None = None
    """Count tokens with the tokenizer and image processor of this model, a folder or hub id. Frames
    have the size of the video, so ROWS need --videos."""

    max_tokens: int | None = None
    """Longest dialogue in tokens. By default that of the MMDuet2 recipe."""

    max_pixels: int | None = None
    """Largest frame, in pixels. By default that of the MMDuet2 recipe."""

    turns: tyro.conf.OmitArgPrefixes[TurnFlags] = field(default_factory=TurnFlags)

    judge: str | None = None
    """Judge that must give every gold reply full marks: lexical, exact, or openai:MODEL@URL. By
    default none."""

    judge_server: JudgeServer = field(default_factory=JudgeServer)

    json: bool = False
    """One JSON object for each fault on stdout, and a summary last; everything else goes to
    stderr."""

    def run(self) -> int:
        """Check, and print. Returns the exit code."""
        from oncue.data.quality.checking import check_rows, check_sft_rows, num_rows

        self._check_flags()
        checks = self._checks()
        total = num_rows((*self.rows, *self.sft))
        counts: Counter[str] = Counter()
        with Progress("rows", total) as progress:
            for fault in chain(
                check_rows(self.rows, checks, progress.step),
                check_sft_rows(self.sft, checks, progress.step),
            ):
                self._print(fault)
                counts[fault.finding.kind.value] += 1
        self._summarize(total, counts)
        return 2 if counts else 0

    def _check_flags(self) -> None:
        check_smallest(self, max_tokens=1, max_pixels=1)
        if not self.rows and not self.sft:
            raise ConfigError("no rows to check; give files of proactive dialogues, or --sft FILE")
        if self.videos is not None and not self.videos.is_dir():
            raise ConfigError(f"--videos {self.videos} is no folder; give that of the videos")
        if self.decode and self.videos is None and not self.sft:
            raise ConfigError("--decode needs videos to decode; give their folder with --videos")
        if self.model is None and (self.max_tokens, self.max_pixels) != (None, None):
            raise ConfigError("--max-tokens and --max-pixels need --model, which counts tokens")
        if self.model is not None and self.rows and self.videos is None:
            raise ConfigError("--model needs the size of frames; give the videos with --videos")
        if self.model is not None and self.sft and self.skip_pictures:
            raise ConfigError("--model needs the size of pictures; leave out --skip-pictures")
        if self.judge is not None and not self.rows:
            raise ConfigError("--judge is for ROWS of proactive dialogues; leave it out for --sft")
        if self.judge is None:
            self.judge_server.check_unused("none", "--judge-server.")

    def _checks(self) -> Checks:
        from oncue.data.quality.checking import Checks
        from oncue.data.quality.media import Media

        return Checks(
            self.turns.grid(),
            Media(self.videos, decode=self.decode),
            self._tokens(),
            self._judge(),
            not self.skip_pictures,
        )

    def _tokens(self) -> TokenCounter | None:
        if self.model is None:
            return None
        from oncue.data.quality.token_counts import TokenCounter

        with loading():
            from oncue.recipes.mmduet2 import mmduet2_3b_sft
            from oncue.render.qwen_vl import QwenVLRenderer

            recipe = mmduet2_3b_sft()
            max_pixels = self.max_pixels or recipe.max_pixels
            renderer = QwenVLRenderer.from_pretrained(self.model, max_pixels)
        return TokenCounter(renderer, self.max_tokens or recipe.max_tokens)

    def _judge(self) -> Judge | None:
        if self.judge is None:
            return None
        return self.judge_server.judge(self.judge, 4, "--judge-server.")

    def _print(self, fault: Fault) -> None:
        if self.json:
            print(json.dumps({"type": "fault", **fault.plain()}, ensure_ascii=False), flush=True)
        else:
            print(fault.line(), flush=True)

    def _summarize(self, num_rows: int, counts: Counter[str]) -> None:
        faults = dict(sorted(counts.items()))
        if self.json:
            print_summary({"num_rows": num_rows, "num_faults": counts.total(), "faults": faults})
            return
        rows = f"{num_rows:,} row" + ("" if num_rows == 1 else "s")
        if not counts:
            print(f"{rows}, no fault")
            return
        listed = ", ".join(f"{number:,} {kind}" for kind, number in faults.items())
        print(f"{rows}, {counts.total():,} fault{'' if counts.total() == 1 else 's'}: {listed}")
