"""What becomes of a row that cannot be used: it stops the run, or the next row takes its place.

The place of every other row stays as it is, so what a step reads follows from its number and the
files alone: a run that was resumed skips what one that was never stopped would have skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from oncue.errors import DataError, DialogueError

Made = TypeVar("Made")


def first_usable(
    make: Callable[[int], Made], index: int, num_rows: int | None, *, skip: bool
) -> tuple[Made, str]:
    """`make(index)`; or, with `skip`, that of the first row after it in the same epoch which can be
    used, and what was wrong with its own ("" where nothing was).

    `num_rows`: rows of an epoch, None for a supply that has none. `make` names the row in what it
    raises. Raises its DataError or DialogueError, with what to do, and DataError where no row can
    be used.
    """
    if num_rows is None:
        return make(index), ""
    epoch, place = divmod(index, num_rows)
    wrong = ""
    for step in range(num_rows):
        try:
            return make(epoch * num_rows + (place + step) % num_rows), wrong
        except (DataError, DialogueError) as error:
            if not skip:
                raise type(error)(
                    f"{error}. Correct the row and go on with --resume auto --allow-changed-data, "
                    "or leave out such "
                    "rows with --skip-bad-rows"
                ) from error
            wrong = wrong or str(error)
    raise DataError(f"none of {num_rows} rows can be used; the first tried: {wrong}")


def skipped_warning(wrong: Sequence[str]) -> list[str]:
    """What to warn of where rows were skipped, one line at most. `wrong`: what was wrong with
    each."""
    if not wrong:
        return []
    return [
        f"{len(wrong)} {'row was' if len(wrong) == 1 else 'rows were'} skipped, such as {wrong[0]}"
    ]
