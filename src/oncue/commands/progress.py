"""How far long work is, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

LINE_EVERY_S = 10.0


class Progress:
    """Counts `total` pieces of work called `what`. Use it in a `with` statement and call `step` after each piece."""

    def __init__(self, what: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bar

        self.what, self.total, self.num_done = what, total, 0
        console = Console(file=sys.stderr)
        self._bar: Any = Bar(console=console, transient=True) if console.is_terminal else None
        self._started = self._told = time.monotonic()

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        print(f"{self.what}: {self.num_done} of {self.total}, {self._elapsed_s():.1f} s", file=sys.stderr)

    def step(self) -> None:
        """One more is done."""
        self.num_done += 1
        if self._bar is not None:
            self._bar.advance(self._task)
        elif time.monotonic() - self._told >= LINE_EVERY_S and self.num_done < self.total:
            self._told = time.monotonic()
            print(f"{self.what}: {self.num_done} of {self.total}, {self._elapsed_s():.0f} s", file=sys.stderr)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started
