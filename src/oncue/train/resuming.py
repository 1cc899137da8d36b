"""Going on with a run in other ways than it was started: for more steps, or for fewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oncue.errors import ConfigError
from oncue.train.checkpoint import latest_checkpoint
from oncue.train.rl.settings import GrpoConfig
from oncue.train.run_dir import RunDirectory, check_same, stored_settings
from oncue.train.sft.settings import SftConfig, stage_steps


def change_settings(folder: Path, config: SftConfig | GrpoConfig) -> str | None:
    """Makes `config` the settings of the run in `folder`, where a run may be resumed so.

    Returns what to say of it where the number of steps is another. What was learned stays as it is, and the learning
    rate follows the schedule of the new number from there on. Raises ConfigError for steps that are done and would not
    be in it, and for any other difference that `RunDirectory.open` refuses.
    """
    run = RunDirectory(folder)
    if not run.has_started():
        return None
    before = stored_settings(folder, type(config))
    if before == config:
        return None
    check_same(_with_steps_of(config, before), config, folder)
    checkpoint = latest_checkpoint(run.checkpoints)
    done = 0 if checkpoint is None else int(checkpoint.name.removeprefix("step_"))
    old, new = _steps(before), _steps(config)
    _check_done(folder, old, new, done)
    run.write_settings(config)
    if old == new:
        return None
    if sum(new) > done:
        run.reopen()
    return (
        f"{folder} goes on from step {done} to step {sum(new)}, not {sum(old)}; the learning rate follows the schedule "
        f"of {sum(new)} steps from there on"
    )


def _steps(config: SftConfig | GrpoConfig) -> tuple[int, ...]:
    """The number of steps of each stage."""
    if isinstance(config, GrpoConfig):
        return (config.num_steps,)
    return tuple(stage_steps(stage) for stage in config.stages)


def _with_steps_of(config: Any, before: Any) -> Any:
    """`before`, with the numbers of steps of `config`."""
    if isinstance(config, GrpoConfig):
        return replace(before, num_steps=config.num_steps)
    stages = [replace(old, num_steps=new.num_steps) for old, new in zip(before.stages, config.stages, strict=False)]
    return replace(before, stages=(*stages, *before.stages[len(stages) :]))


def _check_done(folder: Path, old: Sequence[int], new: Sequence[int], done: int) -> None:
    """Raises ConfigError where the first `done` steps would be others, or too many."""
    if sum(new) < done:
        raise ConfigError(f"{folder} has {done} steps behind it and cannot stop at {sum(new)}; give at least {done}")
    left = done
    for index, (was, now) in enumerate(zip(old, new, strict=True)):
        here = min(was, left)
        left -= here
        if min(now, here + left) != here:
            raise ConfigError(
                f"stages.{index}.num_steps was {was}, now {now}; {folder} has {done} steps behind it, and they would "
                "belong to other stages. Give more steps to its last stage, or another --out"
            )
