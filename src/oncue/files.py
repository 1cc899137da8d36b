"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oncue.errors import ConfigError, InputError
from oncue.out_of_memory import readable_bytes

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and is removed
    when it does not.

    A link stays, and what it points to is replaced. A file that was there keeps its mode, and a new
    one has that of any new file. Raises InputError where there is something that is no file.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise InputError(
            f"{path} is there and is no file, so it cannot be replaced; give the path of a file"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(
            temporary, stat.S_IMODE(path.stat().st_mode) if path.exists() else _new_file_mode()
        )
        os.replace(temporary, path)
    except OSError as error:
        if is_full(error) and error.filename is None:  # a write does not know what it writes to
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def prepare_folder(
    folder: Path, remedy: str = "give another --out", files: Sequence[str] = ()
) -> None:
    """Create `folder`, and find out now rather than after an hour of work whether it can be written
    to, and `files` in it.

    Raises InputError where it cannot; `remedy` says what to do instead. A full disk stays an
    OSError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if is_full(error):
            raise
        raise InputError(
            f"cannot write to the folder {folder} ({error.strerror}); {remedy}"
        ) from error
    for name in files:
        if (folder / name).is_dir():
            raise InputError(f"{folder / name} is there and is no file; {remedy}")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keeps a second process from the run in `folder`, such as one whose parent was killed. The
    lock goes with the process. Raises ConfigError where there is one at work."""
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"another process is at work in {folder}; wait for it, or stop it"
            ) from error
        yield


def is_full(error: OSError) -> bool:
    """Whether the place was right, but has no room: a full disk, a quota, the largest file there
    may be."""
    return error.errno in _FULL


def system_error(error: BaseException, path: Path) -> OSError | None:
    """What the system said when `path` could not be written, with its name; None where it said
    nothing.

    Some writers say it in a text of their own, or raise another error while the first is handled.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno:
            return OSError(found.errno, os.strerror(found.errno), str(path))
        if number := re.search(r"\(os error (\d+)\)", str(found)):  # of safetensors
            return OSError(int(number[1]), os.strerror(int(number[1])), str(path))
        found = found.__cause__ or found.__context__
    return None


def free_bytes(path: Path) -> int:
    """The room on the disk that `path` is on, or would be."""
    return shutil.disk_usage(_existing(path)).free


def disk_of(path: Path) -> str:
    """The disk that `path` is on, or would be, and its room, such as "the disk at /data has 1.5 GiB
    free"."""
    place = _existing(path)
    while not os.path.ismount(place):
        place = place.parent
    return f"the disk at {place} has {readable_bytes(free_bytes(path))} free"


def _existing(path: Path) -> Path:
    place = Path(os.path.realpath(path))
    while not place.exists():
        place = place.parent
    return place


def append_text(path: Path, text: str) -> None:
    """Adds UTF-8 text to the end of a file, all of it or, where that fails, nothing."""
    with path.open("ab", buffering=0) as file:
        num_before = file.seek(0, os.SEEK_END)
        try:
            left = memoryview(text.encode("utf-8"))
            while left:
                left = left[file.write(left) :]
        except OSError as error:
            file.truncate(num_before)
            error.filename = error.filename or str(path)
            raise


def as_new_files(folder: Path) -> None:
    """Gives every file in `folder` the mode of any new file; some writers make theirs for the owner
    alone."""
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(_new_file_mode())


def user_cache() -> Path:
    """Where things are kept that can be made again, unless set otherwise: `oncue` in the user's
    cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "oncue"


def _new_file_mode() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def printable(name: str) -> str:
    """A file's name as text: bytes of it that are no text are shown as U+FFFD."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text in one step. What has no form in it (half of a surrogate pair) is
    escaped."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON in one step. Values that JSON has no form for, NaN included, raise
    ValueError."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
