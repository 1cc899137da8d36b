"""Replies on the screen while the video is being watched: lines that stay, and on a terminal one
that moves."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, TextIO

from oncue.terminal import MovingLine, console_on
from oncue.types import Question
from oncue.watch.record import SpokenReply, WatchSummary

if TYPE_CHECKING:
    from oncue.watch.record import Recorder


class Lines:
    """Prints questions and replies for people on `stream`; plain lines where that is not a
    terminal."""

    def __init__(self, stream: TextIO) -> None:
        from rich.spinner import Spinner

        self.console = console_on(stream)
        self._status = Spinner("dots", "opening the video and the model", style="status.spinner")
        self._line = MovingLine(self.console, self._status)
        self._line.start()

    def asked(self, question: Question) -> None:
        self._print(question.time_s, "ask", question.text, style="cyan")

    def replied(self, reply: SpokenReply) -> None:
        note = f"{reply.latency_ms:.0f} ms" + (
            ", cut at the token limit" if reply.truncated else ""
        )
        self._print(reply.time_s, "reply", reply.text, note, style="bold")

    def malformed(self, time_s: float, text: str) -> None:
        self._print(time_s, "unreadable", text, style="yellow")

    def watched(self, recorder: Recorder) -> None:
        """Move the bottom line of a terminal."""
        speed = recorder.clock_s / max(recorder.wall_s, 1e-9)
        counts = f"silent {len(recorder.silent_s)}, replies {len(recorder.replies)}"
        self._status.update(
            text=f"watching {clock_text(recorder.clock_s)}   {counts}   {speed:.1f} x real time"
        )

    def finished(self, summary: WatchSummary) -> None:
        self.stop()
        self.console.print(summary_text(summary), markup=False)
        self.console.file.flush()

    def noted(self, text: str) -> None:
        self.console.print(text, markup=False, style="dim")

    def stop(self) -> None:
        self._line.stop()

    def _print(self, time_s: float, kind: str, text: str, note: str = "", *, style: str) -> None:
        from rich.text import Text

        words = inert(text)
        line = Text.assemble(
            (f"{clock_text(time_s):>9}  ", "dim"), (f"{kind:<6} ", "dim"), (words, style)
        )
        if note:
            line.append(f"  ({note})", style="dim")
        self.console.print(line)
        self.console.file.flush()


class JsonLines:
    """The stream of `--json`: one object per reply as it is made, the summary last, each flushed at
    once."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def write(self, values: dict[str, object]) -> None:
        self._stream.write(json.dumps(values, ensure_ascii=False) + "\n")
        self._stream.flush()


_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)))  # a reply must not steer the terminal


def inert(text: str) -> str:
    """`text` in one line, without what could steer a terminal."""
    return " ".join(text.split()).translate(_CONTROLS)


def clock_text(time_s: float) -> str:
    """Video time for people: 7.5 -> 0:07.5, 3671 -> 1:01:11.0."""
    tenths = round(time_s * 10)
    seconds, tenths = divmod(tenths, 10)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours}:{minutes:02d}:{seconds:02d}.{tenths}"
        if hours
        else f"{minutes}:{seconds:02d}.{tenths}"
    )


def summary_text(summary: WatchSummary) -> str:
    """The closing line: what was watched, how often it spoke, how fast."""
    parts = [f"watched {_counted(summary.num_turns, 'turn')} ({summary.duration_s:.1f} s of video)"]
    skipped = f" ({summary.num_skipped} skipped as unchanged)" if summary.num_skipped else ""
    parts += [f"silent {summary.num_silent}{skipped}", f"replies {summary.num_replies}"]
    parts += [f"unreadable {summary.num_malformed}"] if summary.num_malformed else []
    parts += [f"{summary.wall_s:.1f} s, {summary.real_time_factor:.1f} x real time"]
    parts += [] if summary.max_lag_s is None else [f"at most {summary.max_lag_s:.2f} s behind it"]
    parts += (
        [f"{_counted(summary.num_dropped, 'frame')} dropped to stay current"]
        if summary.num_dropped
        else []
    )
    parts += [f"after {summary.load_s:.1f} s of loading"]
    return ", ".join(parts) + (" (stopped early)" if summary.stop == "cancelled" else "")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
