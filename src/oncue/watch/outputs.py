"""What a run of `oncue watch` leaves behind: lines while it happens, then files and a summary."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from oncue.errors import InputError
from oncue.policy.skip_unchanged import SkipUnchanged
from oncue.types import FrameSource, GoldTurn
from oncue.video.opening import source_name
from oncue.watch.export import write_exports
from oncue.watch.record import Recorder, SpokenReply, Watched
from oncue.watch.report import JsonLines, Lines
from oncue.watch.run import WatchEvents
from oncue.watch.watch_page import to_page

if TYPE_CHECKING:
    from oncue.video.probe import VideoInfo


class WatchOutputs:
    """Where the replies of one run go, and what its report needs to know.

    `address`: the source as the user gave it. `model`: its name in the summary. `out`: the folder
    of the files, None for none. `json`: one object per line on stdout. What is known only once
    source and model are open (`video_s`, `load_s`, ...) is set by whoever opens them.
    """

    def __init__(
        self,
        address: str,
        model: str,
        recorder: Recorder,
        screen: Lines,
        *,
        gold: tuple[GoldTurn, ...] = (),
        out: Path | None = None,
        json: bool = False,
    ) -> None:
        self.address, self.model, self.out = address, model, out
        self.recorder, self.screen, self.gold = recorder, screen, gold
        self.stream = JsonLines() if json else None
        self.started = time.perf_counter()
        self.load_s = 0.0
        self.video_s: float | None = None
        self.info: VideoInfo | None = None
        self.filter: SkipUnchanged | None = None
        self.opened: FrameSource | None = None
        self.source: FrameSource | None = None  # as it is watched: read ahead or paced, perhaps
        self.is_live = False

    def events(self) -> WatchEvents:
        """What the screen and the stream show while it happens."""
        return WatchEvents(
            asked=self.screen.asked,
            replied=self._replied,
            malformed=self.screen.malformed,
            turned=self.screen.watched,
        )

    def _replied(self, reply: SpokenReply) -> None:
        if self.stream is not None:
            self.stream.write(reply.as_json())
        self.screen.replied(reply)

    def check_all_asked(self) -> None:
        """Raises InputError where the video ended before a question was due."""
        if late := self.recorder.unasked:
            raise InputError(
                f"question {late[0].text!r} is at {late[0].time_s:g} s and was never asked: the "
                f"video ended at {self.recorder.clock_s:g} s; give it an earlier time"
            )

    def report(self, stop: str) -> None:
        """Write the files, then the summary: whoever reads the last line finds them there."""
        watched = self.save(stop)
        if self.stream is not None:
            self.stream.write(watched.summary.as_json())
        self.screen.finished(watched.summary)
        if self.out is not None and self._is_worth_writing(stop):
            self.screen.noted(
                f"wrote {self.out / 'index.html'} and replies.jsonl, .srt, .vtt beside it"
            )

    def _is_worth_writing(self, stop: str) -> bool:
        """Whoever stops before the first turn keeps what an earlier run wrote."""
        return self.recorder.num_turns > 0 or stop != "cancelled"

    def save(self, stop: str) -> Watched:
        """What was seen, written to the folder of `--out` where one is given."""
        name = source_name(self.address)
        watched = self.recorder.finish(
            source=name,
            model=self.model,
            video_s=self.video_s,
            load_s=self.load_s,
            stop=stop,
            num_skipped=self.filter.num_skipped if self.filter is not None else 0,
            max_lag_s=getattr(self.source, "max_lag_s", None),
            num_dropped=getattr(self.source, "num_dropped", 0),
        )
        if self.out is not None and self._is_worth_writing(stop):
            title = name.rsplit("/", 1)[-1] or name
            page = to_page(watched, title=title, gold=self.gold)
            start_s, end_s = (
                getattr(self.opened, "second_0_s", 0.0),
                getattr(self.opened, "end_s", None),
            )
            write_exports(self.out, watched, page, start_s, end_s)
        return watched
