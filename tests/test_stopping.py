"""A stop that was asked for is never lost."""

from __future__ import annotations

import signal

import pytest

from oncue.stopping import Stopper


class StoppedAsItGoes:
    """Python ignores what is raised while this is deleted."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stop_that_python_ignored_acts_at_the_next_block() -> None:
    stopper = Stopper(patient=True, second_leaves=True)
    with stopper.listening():
        with stopper.interruptible():
            going = StoppedAsItGoes()
            del going
        with pytest.raises(KeyboardInterrupt), stopper.interruptible():
            pytest.fail("went on after the stop")


def test_a_stop_between_blocks_waits_for_the_next_and_a_second_one_does_not() -> None:
    stopper = Stopper(patient=True, second_leaves=True)
    with stopper.listening():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt), stopper.interruptible():
            pytest.fail("went on after the stop")
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
