"""How far long work is, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from oncue.terminal import MovingLine, console_on

LINE_EVERY_S = 10.0


class Progress:
    """Counts `total` pieces of work called `what`. Use it in a `with` statement and call `step`
    after each piece. `note()` is shown behind the counts."""

    def __init__(self, what: str, total: int, note: Callable[[], str] = lambda: "") -> None:
        from rich.progress import Progress as Bar

        self.what, self.total, self.num_done, self._note = what, total, 0, note
        console = console_on(sys.stderr)
        self._bar = Bar(console=console, auto_refresh=False)
        self._task = self._bar.add_task(what, total=total)
        self._line = MovingLine(console, self._bar)
        self._shows_bar = console.is_interactive
        self._started = self._reported = time.monotonic()

    def __enter__(self) -> Progress:
        self._line.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._line.stop()
        print(
            f"{self.what}: {self.num_done} of {self.total}, {self._elapsed_s():.1f} s"
            f"{self._more()}",
            file=sys.stderr,
        )

    def step(self) -> None:
        """One more is done."""
        self.num_done += 1
        self._bar.update(self._task, advance=1, description=f"{self.what}{self._more()}")
        due = not self._shows_bar and time.monotonic() - self._reported >= LINE_EVERY_S
        if due and self.num_done < self.total:
            self._reported = time.monotonic()
            print(
                f"{self.what}: {self.num_done} of {self.total}, {self._elapsed_s():.0f} s"
                f"{self._more()}",
                file=sys.stderr,
            )

    def _more(self) -> str:
        note = self._note()
        return f" ({note})" if note else ""

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started
