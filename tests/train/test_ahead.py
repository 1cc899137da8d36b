"""Data made in other processes: in order, with errors as if made here, and never waited for in vain."""

from __future__ import annotations

import os
import signal

import pytest

from oncue.errors import DataError, RunStoppedError
from oncue.train.ahead import made_ahead


def square(i: int) -> int:
    return i * i


def breaks_at_2(i: int) -> int:
    if i == 2:
        raise DataError("row 2 is broken")
    return i


def fails_at_2(i: int) -> int:
    return i // (2 - i)


def killed_at_2(i: int) -> int:
    if i == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return i


@pytest.mark.parametrize("num_workers", [0, 2])
def test_all_come_in_order(num_workers: int) -> None:
    assert list(made_ahead(square, 5, num_workers)) == [0, 1, 4, 9, 16]
    assert list(made_ahead(square, 0, num_workers)) == []


@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_is_wrong_with_the_data_arrives_as_it_was_raised(num_workers: int) -> None:
    made = made_ahead(breaks_at_2, 5, num_workers)
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(DataError) as error:
        next(made)
    assert str(error.value) == "row 2 is broken"


def test_a_defect_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError, match="fails_at_2"):
        list(made_ahead(fails_at_2, 5, 1))


def test_a_killed_process_is_told_of() -> None:
    with pytest.raises(RunStoppedError, match=r"ended from outside.*--resume auto"):
        list(made_ahead(killed_at_2, 5, 1))
