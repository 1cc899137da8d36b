"""How a run ends before its last step: what is said where memory ran out or somebody stopped it."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import NoReturn

from oncue.errors import RunStoppedError
from oncue.out_of_memory import lack_of_memory
from oncue.train.run_config import RunConfig


def let_go(error: BaseException) -> None:
    """Frees what the failed work has made, where memory ran out: saving the run needs some."""
    if lack_of_memory(error):
        traceback.clear_frames(error.__traceback__)


def end(error: BaseException, config: RunConfig, step: int, kept: Path | None) -> NoReturn:
    """Raises `error`, which ended the run in step `step` + 1, again. A stop by signal and a lack of
    memory are said in words of the run. `kept`: its newest checkpoint."""
    goes_on = f"the run is saved in {kept}" if kept else "no step was finished, so nothing is saved"
    if isinstance(error, KeyboardInterrupt):
        again = ", and the same command with --resume auto goes on from there" if kept else ""
        raise KeyboardInterrupt(f"stopped in step {step + 1}; {goes_on}{again}") from error
    if lack := lack_of_memory(error):
        raise RunStoppedError(
            f"{lack} in step {step + 1}; {goes_on}; {less_memory(config, kept)}"
        ) from error
    raise error


def less_memory(config: RunConfig, kept: Path | None) -> str:
    """What to lower: first what leaves the run the same but for rounding, then what makes another
    one of it."""
    same, smaller = config.lighter, config.smaller_flags
    if kept is None:
        return " or ".join([*same, f"lower {smaller}"])
    another = f"start another --out with --model {kept} and lower {smaller}"
    return f"{' or '.join(same)}, with --resume auto; or {another}" if same else another
