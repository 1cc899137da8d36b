"""What the kit needs to know of the settings of a run, supervised or by reinforcement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, Self

from oncue.data.row_checks import Check


class RunConfig(Protocol):
    """The settings of a run. Read only: they are frozen.

    `steps_of_stages`: how many steps each stage takes. `lighter`: what to change for less memory,
    for the same run but for rounding; `smaller_flags`: flags that make another run of it.
    """

    @property
    def seed(self) -> int: ...

    @property
    def save_every_steps(self) -> int: ...

    @property
    def keep_checkpoints(self) -> int: ...

    @property
    def steps_of_stages(self) -> tuple[int, ...]: ...

    @property
    def lighter(self) -> tuple[str, ...]: ...

    @property
    def smaller_flags(self) -> str: ...

    def with_steps_of(self, other: Any) -> Self:
        """These settings with the numbers of steps of `other`, which are settings of the same
        kind."""
        ...

    def row_checks(self) -> Iterator[Check]:
        """A call for every row of the files that the run trains on; it raises for one that cannot
        be used."""
        ...


def lighter_steps(config: Any) -> tuple[str, ...]:
    """What all runs can change for less memory."""
    smaller = f"lower --micro-batch-size (now {config.micro_batch_size})"
    return (
        *((smaller,) if config.micro_batch_size > 1 else ()),
        *(() if config.gradient_checkpointing else ("set --gradient-checkpointing True",)),
    )
