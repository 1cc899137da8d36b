"""What people see on a terminal: colours, and a line that moves below everything that is printed.

Each stream keeps what is written to it, whatever the other one is: only where a stream is a
terminal itself is its text printed above the moving line.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live


def console_on(stream: TextIO) -> Console:
    """A console that prints to `stream`: colours on a terminal, plain text elsewhere, FORCE_COLOR
    or not.

    JSON, pipes and files so never hold codes of a terminal. NO_COLOR and TERM=dumb take the colours
    from a terminal.
    """
    from rich.console import Console

    return Console(file=stream, force_terminal=stream.isatty(), highlight=False, soft_wrap=True)


class MovingLine:
    """Shows `shown` as the last line of a console, again and again as it changes, from `start` to
    `stop`.

    Lines that are printed meanwhile to a stream that is a terminal appear above it. Nothing is
    shown where the console cannot move its cursor: on files, pipes, and dumb terminals.
    """

    def __init__(self, console: Console, shown: RenderableType) -> None:
        self._console, self._shown = console, shown
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._streams: dict[str, _Above] = {}

    def start(self) -> None:
        """Show it, until `stop`."""
        if not self._console.is_interactive or self._live is not None:
            return
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream.isatty():
                self._streams[name] = _Above(stream, self)
                setattr(sys, name, self._streams[name])
        with self._lock:
            self._live = self._new_live()

    def stop(self) -> None:
        """Erase it. Text without an end of line, held back until now, is printed."""
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None
        for name, above in self._streams.items():
            if getattr(sys, name) is above:
                setattr(sys, name, above.stream)
            above.release()
        self._streams = {}

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Takes the line away while something else is printed in its place."""
        with self._lock:
            live, self._live = self._live, None
            if live is not None:
                live.stop()
            try:
                yield
            finally:
                if live is not None:
                    self._live = self._new_live()

    def _new_live(self) -> Live:
        """A display of its own each time: one that is started again would erase the lines it had
        before."""
        from rich.live import Live

        live = Live(
            self._shown,
            console=self._console,
            refresh_per_second=10,
            transient=True,
            redirect_stdout=False,  # it would print what is meant for one stream to the other
            redirect_stderr=False,
        )
        live.start(refresh=True)
        return live


class _Above:
    """A terminal's stream while a line moves on it: passes on whole lines, each above that line."""

    def __init__(self, stream: TextIO, line: MovingLine) -> None:
        self.stream = stream
        self._line: MovingLine | None = line
        self._held = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Prints the lines that are whole, and keeps the rest."""
        if self._line is None:
            return self.stream.write(text)
        whole, end, self._held = (self._held + text).rpartition("\n")
        if end:
            with self._line.lifted():
                self.stream.write(whole + end)
                self.stream.flush()
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def release(self) -> None:
        """Prints the rest. From now on, text goes straight to the stream."""
        self._line = None
        self.stream.write(self._held)
        self.stream.flush()
