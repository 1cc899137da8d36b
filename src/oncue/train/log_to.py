"""Where metrics go beside `metrics.jsonl`: TensorBoard and W&B, each a package of its own.

What is shown is what `metrics.jsonl` holds, every row once, also where a run is resumed and makes
the steps after its checkpoint again. A log that is new gets the rows of before.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, get_args

from oncue.config import to_plain
from oncue.errors import ConfigError
from oncue.extras import install_command
from oncue.files import prepare_folder, write_text

LogName = Literal["tensorboard", "wandb"]
Row = Mapping[str, Any]

_MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}
_NOT_DRAWN = ("step", "total_steps")


class LogWriter(Protocol):
    """Takes the rows of `metrics.jsonl` as they are logged."""

    def write(self, row: Row) -> None:
        """Shows the numbers of `row` at its step. Raises OSError where they cannot be written."""

    def close(self, *, failed: bool) -> None:
        """Ends the log. `failed`: whether an error ended the run."""


class RunLogs:
    """The logs of a run beside its own, closed when the block ends. Without names there are
    none."""

    def __init__(self, names: Sequence[LogName] = ()) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._writers: list[LogWriter] = []

    def open(self, folder: Path, config: Any, rows: Sequence[Row], step: int) -> None:
        """Opens the logs of the run in `folder`, which goes on after `step` and has logged `rows`
        up to there.

        Raises ConfigError for a log that cannot be opened, InputError for a folder that cannot be
        written to.
        """
        check_log_to(self._names)
        for name in self._names:
            self._writers.append(_WRITERS[name](folder, config, rows, step))

    def write(self, row: Row) -> None:
        """Shows `row` everywhere. Raises OSError where it cannot be written."""
        for writer in self._writers:
            writer.write(row)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for writer in self._writers:
            # What is to be said is what ended the run
            with suppress(OSError) if error else nullcontext():
                writer.close(failed=error is not None)


NO_LOGS = RunLogs()


def check_log_to(names: Sequence[str]) -> None:
    """Raises ConfigError for a log that is unknown, or whose package is not there."""
    for name in names:
        if name not in _MODULES:
            known = " or ".join(get_args(LogName))
            raise ConfigError(f"metrics cannot go to {name!r}; --log-to takes {known}")
        try:
            module = import_module(_MODULES[name])
            if module.__file__ is None:  # Python takes any folder of that name for a package
                raise ImportError(f"{name} is a folder without code here")
        except ImportError as error:
            raise ConfigError(
                f"--log-to {name} needs the package {name}, which cannot be imported ({error}); "
                f"{install_command(name)}"
            ) from error


def _numbers(row: Row) -> dict[str, float]:
    """What of a row is a curve."""
    return {
        name: value
        for name, value in row.items()
        if isinstance(value, int | float) and name not in _NOT_DRAWN
    }


@contextmanager
def _written_to(path: Path) -> Iterator[None]:
    """Names the place in an OSError that does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


class TensorBoardWriter:
    """Event files in `tensorboard/` of the run."""

    def __init__(self, folder: Path, config: Any, rows: Sequence[Row], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        del config  # is no curve
        self._folder = folder / "tensorboard"
        prepare_folder(self._folder)
        is_new = not any(self._folder.glob("events.out.tfevents.*"))
        self._hook, threading.excepthook = threading.excepthook, self._said_by_thread
        with _written_to(self._folder):
            self._writer = SummaryWriter(str(self._folder), purge_step=step + 1)
            for row in rows if is_new else ():
                self._add(row)
            self._writer.flush()

    def write(self, row: Row) -> None:
        with _written_to(self._folder):
            self._add(row)
            self._writer.flush()

    def close(self, *, failed: bool) -> None:
        del failed
        try:
            with _written_to(self._folder):
                self._writer.close()
        finally:
            threading.excepthook = self._hook

    def _said_by_thread(self, said: threading.ExceptHookArgs) -> None:
        """Passes on what ends a thread. That of TensorBoard would print what `flush` raises."""
        if not type(said.thread).__module__.startswith("tensorboard."):
            self._hook(said)

    def _add(self, row: Row) -> None:
        for name, value in _numbers(row).items():
            self._writer.add_scalar(name, value, row["step"])


class WandbWriter:
    """A run of W&B in `wandb/` of the run: offline, unless WANDB_MODE says otherwise.

    Offline, every start writes all of the run and takes the place of what was there: one folder to
    sync. Online, the run of the same id goes on.
    """

    def __init__(self, folder: Path, config: Any, rows: Sequence[Row], step: int) -> None:
        import wandb

        del step  # W&B knows its own
        self._folder, self._failure = folder / "wandb", wandb.Error
        prepare_folder(self._folder)
        offline = set(self._folder.glob("offline-run-*"))
        try:
            self._run = wandb.init(
                dir=str(folder),
                mode=os.environ.get("WANDB_MODE") or "offline",
                project=os.environ.get("WANDB_PROJECT") or "oncue",
                name=folder.resolve().name,
                id=self._id(),
                resume="allow",
                config=to_plain(config),
                settings=wandb.Settings(console="off", quiet=True),
            )
        except wandb.Error as error:
            raise ConfigError(
                f"W&B cannot be started ({error}); unset WANDB_MODE to log offline"
            ) from error
        self._first = self._run.step
        for row in rows:
            self.write(row)
        now = Path(self._run.dir).parent.resolve()
        if now.parent == self._folder.resolve():  # not where W&B is disabled
            for old in (path for path in offline if path.resolve() != now):
                shutil.rmtree(old)

    def _id(self) -> str:
        path = self._folder / "run_id.txt"
        if not path.exists():
            write_text(path, secrets.token_hex(4) + "\n")
        return path.read_text("utf-8").strip()

    def write(self, row: Row) -> None:
        if row["step"] < self._first:  # is there, from before the run was resumed
            return
        try:
            self._run.log(_numbers(row), step=row["step"])
        except self._failure as error:
            raise OSError(errno.EIO, f"W&B: {error}", str(self._folder)) from error

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


_WRITERS: Mapping[str, Callable[[Path, Any, Sequence[Row], int], LogWriter]] = {
    "tensorboard": TensorBoardWriter,
    "wandb": WandbWriter,
}
