"""Commands run with a real pseudo-terminal as their stderr, or as stdout and stderr, and what is
then to be seen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

WIDTH, HEIGHT = 240, 60
_CODE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])")


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left: its exit code, stdout and stderr where these were pipes, and all bytes
    of the terminal."""

    code: int
    out: str
    err: str
    typed: str

    @property
    def screen(self) -> list[str]:
        """The lines of the terminal in the end."""
        return seen(self.typed)


def run_on_terminal(
    words: Sequence[str], *, terminal: Sequence[str], environment: Mapping[str, str] | None = None
) -> Ran:
    """Runs `python WORDS...`. `terminal`: which of stdout and stderr are the same terminal; the
    others are pipes."""
    pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")
    import fcntl
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    typed = bytearray()
    reader = threading.Thread(target=_read, args=(master, typed))
    reader.start()
    clean = {
        k: v
        for k, v in os.environ.items()
        if k not in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES")
    }
    streams = {
        name: slave if name in terminal else subprocess.PIPE for name in ("stdout", "stderr")
    }
    try:
        ended = subprocess.run(
            [sys.executable, *words],
            stdout=streams["stdout"],
            stderr=streams["stderr"],
            env={**clean, "TERM": "xterm", **(environment or {})},
            check=False,
            timeout=300,
        )
    finally:
        os.close(slave)
        reader.join()
        os.close(master)
    return Ran(
        ended.returncode,
        (ended.stdout or b"").decode(),
        (ended.stderr or b"").decode(),
        typed.decode(),
    )


def _read(master: int, typed: bytearray) -> None:
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # nobody has the other end any more
            return
        if not part:
            return
        typed += part


def seen(typed: str) -> list[str]:
    """The lines on a terminal that never scrolls after `typed` came to it."""
    lines: list[list[str]] = [[]]
    row = column = at = 0
    while at < len(typed):
        code = _CODE.match(typed, at)
        if code is not None:
            at = code.end()
            if code[2] == "A":
                row -= int(code[1] or 1)
            elif code[2] == "K":
                assert code[1] == "2"
                lines[row] = []
            else:
                assert code[2] in "mhl", code[0]
            continue
        character, at = typed[at], at + 1
        if character == "\r":
            column = 0
        elif character == "\n":
            row += 1
            lines += [[]] * (row == len(lines))
        else:
            lines[row] += [" "] * (column + 1 - len(lines[row]))
            lines[row][column] = character
            column += 1
    return ["".join(line).rstrip() for line in lines]
