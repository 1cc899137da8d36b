"""Going on with a run in other ways than it was started: for more steps, or for fewer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oncue.errors import ConfigError
from oncue.train.checkpoint import latest_checkpoint
from oncue.train.run_config import RunConfig
from oncue.train.run_dir import RunDirectory, check_same, stored_settings


def change_settings(
    folder: Path, config: RunConfig, *, allow_changed_data: bool = False
) -> str | None:
    """Makes `config` the settings of the run in `folder`, where a run may be resumed so.

    Returns what to say of it where the number of steps is another. What was learned stays as it is,
    and the learning rate follows the schedule of the new number from there on. Raises ConfigError
    for steps that are done and would not be in it, and for any other difference that
    `RunDirectory.open` refuses. The run is then as it was before.
    """
    run = RunDirectory(folder)
    if not run.has_started():
        return None
    before = stored_settings(folder, type(config))
    if before == config:
        return None
    check_same(before.with_steps_of(config), config, folder)
    checkpoint = latest_checkpoint(run.checkpoints)
    done = 0 if checkpoint is None else int(checkpoint.name.removeprefix("step_"))
    old, new = before.steps_of_stages, config.steps_of_stages
    _check_done(folder, old, new, done)
    run.check_data(config, allow_changed=allow_changed_data)
    run.write_settings(config)
    if old == new:
        return None
    if sum(new) > done:
        run.reopen()
    return (
        f"{folder} goes on from step {done} to step {sum(new)}, not {sum(old)}; the learning rate "
        "follows the schedule "
        f"of {sum(new)} steps from there on"
    )


def _check_done(folder: Path, old: Sequence[int], new: Sequence[int], done: int) -> None:
    """Raises ConfigError where the first `done` steps would be others, or too many."""
    if sum(new) < done:
        raise ConfigError(
            f"{folder} has {done} steps behind it and cannot stop at {sum(new)}; give at least "
            f"{done}"
        )
    left = done
    for index, (was, now) in enumerate(zip(old, new, strict=True)):
        here = min(was, left)
        left -= here
        if min(now, here + left) != here:
            raise ConfigError(
                f"stages.{index}.num_steps was {was}, now {now}; {folder} has {done} steps behind "
                "it, and they would "
                "belong to other stages. Give more steps to its last stage, or another --out"
            )
