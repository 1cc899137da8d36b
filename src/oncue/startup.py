"""A quick start: what a model brings along is loaded once and stays, so nobody need search it for
garbage."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import and load in this block: the garbage collector rests meanwhile, and afterwards passes
    by what is there.

    Half a million objects are made, and the collector would walk all of them several times on the
    way, now and then later, and once more at the end of the process. For a process of our own, not
    for one that we are a guest in: what is garbage when the first such block ends is never
    collected.
    """
    was_at_work = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_at_work:
            if not gc.get_freeze_count():  # once: a second model may have to go again
                gc.freeze()
            gc.enable()


def threads_wait_asleep() -> None:
    """Let the threads of torch sleep while they wait for each other, unless the user's environment
    says otherwise.

    GNU OpenMP lets them spin by default. Where another process wants the cores, too, each of the
    hundreds of meetings in a forward then lasts until the system takes the core from the one that
    spins. Must be called before torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
