"""Signals that ask for an end, turned into a KeyboardInterrupt at a moment that suits the work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopper:
    """Turns Ctrl-C, SIGTERM and a closed terminal (SIGHUP) into a KeyboardInterrupt that never
    lands in the middle of a line or a record.

    Inside `undisturbed` a signal waits for the end of the block; elsewhere, a blocking read
    included, it acts at once. `patient` turns this round: a signal waits everywhere but inside
    `interruptible`. `second_leaves`: whoever asks a second time is not kept waiting, wherever the
    work may be.
    """

    def __init__(self, *, patient: bool = False, second_leaves: bool = False) -> None:
        self.stopped = False
        self._held = int(patient)
        self._second_leaves = second_leaves
        self._waiting = False

    @contextmanager
    def listening(self) -> Iterator[Stopper]:
        """Take these signals over for the length of the block. Outside the main thread, signals are
        left alone."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        ending = {signal.SIGINT, signal.SIGTERM}
        hang_up: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows has none
        # Ignored: as nohup leaves it
        if hang_up is not None and signal.getsignal(hang_up) != signal.SIG_IGN:
            ending.add(hang_up)
        previous = {number: signal.signal(number, self._receive) for number in ending}
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """A block in which a signal waits for the end of it."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self._waiting and not self._held:
            self._waiting = False
            raise KeyboardInterrupt

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A block in which a signal acts at once. One that came before acts at its beginning: it
        has waited, or Python has ignored what it raised, as it does in finalizers and in callbacks
        of a fork."""
        held, self._held = self._held, 0
        try:
            if self.stopped:
                raise KeyboardInterrupt
            yield
        finally:
            self._held = held

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        is_second, self.stopped = self.stopped, True
        if self._held and not (is_second and self._second_leaves):
            self._waiting = True
        else:
            raise KeyboardInterrupt
