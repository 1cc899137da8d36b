"""The `oncue` command: finds the verb, reads its flags, turns errors a user can fix into one line.

Exit codes: 0 done, 1 failure, 2 bad usage or input, 130 stopped by Ctrl-C or SIGTERM, 141 the
reader of stdout is gone. Output is UTF-8 everywhere. Nothing heavy is imported before a verb is
known, so that help comes at once.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from oncue import __version__
from oncue.commands.verbs import VERBS, Verb
from oncue.errors import (
    BackendError,
    InputError,
    OutOfMemoryError,
    RunStoppedError,
    SourceLostError,
)
from oncue.out_of_memory import lack_of_memory
from oncue.startup import threads_wait_asleep

_NEED_MEMORY = (  # flags that need the more memory the higher they are
    *(
        "max_pixels",
        "frames",
        "context_tokens",
        "frames_per_turn",
        "micro_batch_size",
        "max_tokens",
        "group_size",
        "prompts",
    ),
    *("turns", "sessions", "budget", "at_once"),
)
_EXIT_FAILURE, _EXIT_INPUT, _EXIT_STOPPED, _EXIT_NO_READER = 1, 2, 130, 141


class UsageError(Exception):
    """The words or flags on the command line are wrong."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    _speak_utf8()
    stock_format, warnings.formatwarning = warnings.formatwarning, _one_line_warning
    try:
        try:
            return _run(words)
        finally:
            sys.stdout.flush()  # now, while what goes wrong with it can still be said in one line
    except UsageError as error:
        return _complain(str(error), _EXIT_INPUT)
    except KeyboardInterrupt as stop:
        return _complain(str(stop) or "stopped", _EXIT_STOPPED)
    except BrokenPipeError:
        _drop_stdout()
        return _EXIT_NO_READER
    except OSError as error:
        trouble = _trouble_with_place(error)
        if trouble is None:
            raise
        _drop_stdout_if_stuck()
        return _complain(*trouble)
    except (ValueError, RuntimeError) as error:
        code = _exit_code(error)
        if code is None:
            raise
        return _complain(str(error), code)
    finally:
        warnings.formatwarning = stock_format


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0 if words else _EXIT_INPUT
    if words[0] in ("-V", "--version"):
        print(f"oncue {__version__}")
        return 0
    verb, flags = _find_verb(words)
    if verb is None:
        print(help_text(" ".join(flags)))
        return 0
    threads_wait_asleep()
    command = _parse(verb, flags)
    try:
        return int(command.run())
    except (MemoryError, OSError, RuntimeError, ValueError) as error:
        lack = lack_of_memory(error)
        if lack is None:
            raise
        raise OutOfMemoryError(f"{lack}; {_memory_advice(command)}") from error


def help_text(group: str = "") -> str:
    """The verbs (of one group) with a line each."""
    shown = [verb for verb in VERBS if verb.words.startswith(group)]
    width = max(len(verb.words) for verb in shown) + 3
    lines = [f"  {verb.words:<{width}}{verb.summary}" for verb in shown]
    usage = f"usage: oncue {group + ' ' if group else ''}VERB ... (oncue VERB --help says more)"
    about = (
        []
        if group
        else ["", "Proactive video models: watch a stream, decide when to speak, say it once."]
    )
    example = (
        []
        if group
        else ["", 'example: oncue watch clip.mp4 --ask "Tell me whenever something appears."']
    )
    return "\n".join([usage, *about, "", *lines, *example])


def _memory_advice(command: Any) -> str:
    """The flags of the verb that make it need less memory."""
    settings = getattr(command, "config", command)  # of training commands
    flags = [f"--{name.replace('_', '-')}" for name in _NEED_MEMORY if hasattr(settings, name)]
    lower = (
        [f"lower {' or '.join(filter(None, [', '.join(flags[:-1]), flags[-1]]))}"] if flags else []
    )
    smaller = ["load the model with --dtype bfloat16"] if hasattr(settings, "dtype") else []
    return ", or ".join([*lower, *smaller, "use a machine with more memory"])


def _find_verb(words: list[str]) -> tuple[Verb | None, list[str]]:
    """The verb named by the first words, and the rest; None and the words of the group where help
    for a group is wanted."""
    for verb in VERBS:
        names = verb.words.split()
        if words[: len(names)] == names:
            return verb, words[len(names) :]
    num_group, members = 0, _members(())
    while num_group < len(words) and (below := _members(words[: num_group + 1])):
        num_group, members = num_group + 1, below
    if not num_group:
        raise UsageError(
            f"unknown command {words[0]!r}; expected one of: {', '.join(members)} "
            "(see oncue --help)"
        )
    group, left = words[:num_group], words[num_group:]
    if left and left[0] in ("-h", "--help"):
        return None, group
    given = f"{left[0]!r}" if left else "nothing"
    raise UsageError(
        f"'{' '.join(group)}' must be followed by one of: {', '.join(members)}; got {given}"
    )


def _members(group: Sequence[str]) -> list[str]:
    """The words that may follow those of a group; none where they are no group."""
    found = [names for verb in VERBS if (names := verb.words.split())[: len(group)] == list(group)]
    return list(dict.fromkeys(names[len(group)] for names in found if len(names) > len(group)))


def _parse(verb: Verb, flags: list[str]) -> Any:
    """The verb's flags as an instance of its class. Raises UsageError, one line, for flags that are
    wrong."""
    import tyro

    command_class = getattr(importlib.import_module(verb.module), verb.class_name)
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            if hasattr(command_class, "from_flags"):
                return command_class.from_flags(flags, prog=f"oncue {verb.words}")
            shape = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)
            return tyro.cli(command_class, args=flags, prog=f"oncue {verb.words}", config=shape)
    except SystemExit as leaving:
        if not leaving.code:
            raise
        raise UsageError(f"{_one_line(said.getvalue())} (see oncue {verb.words} --help)") from None


def _one_line(boxed: str) -> str:
    """What is wrong, from the parser's framed message: the words above its first rule, without the
    frame."""
    lines: list[str] = []
    for line in boxed.splitlines():
        words = line.strip().strip("│").strip()
        if set(words) <= set("─"):
            break
        if words and words[0] not in "╭╰":
            lines.append(words)
    message = re.sub(r"\s+", " ", " ".join(lines))
    return message or "the flags cannot be read"


def _exit_code(error: Exception) -> int | None:
    """The exit code of an error whose text says everything; None for a defect of ours."""
    if isinstance(error, InputError):
        return _EXIT_INPUT
    failures = BackendError | OutOfMemoryError | RunStoppedError | SourceLostError
    return _EXIT_FAILURE if isinstance(error, failures) else None


def _trouble_with_place(error: OSError) -> tuple[str, int] | None:
    """What to say of a file or disk that cannot be used, and the exit code; None for what no user
    can fix."""
    from oncue.files import disk_of, is_full

    # Of two that were to be exchanged, the one that was there
    place = error.filename2 or error.filename
    if is_full(error):
        room = f"; {disk_of(Path(place))}" if place else ""
        return (
            f"cannot write {place or 'the output'} ({error.strerror}{room}); make room, or give "
            "another place",
            _EXIT_FAILURE,
        )
    if place is None:
        return None
    return (
        f"cannot use {place} ({error.strerror}); give another place, or fix this one",
        _EXIT_INPUT,
    )


def _one_line_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Warnings for users, such as a corrupt stretch of video, look like our errors; others name
    their kind."""
    del filename, lineno, line
    kind = "" if category.__module__.startswith("oncue") else f"{category.__name__}: "
    return f"oncue: warning: {kind}{message}\n"


def _complain(message: str, code: int) -> int:
    print("oncue: " + " ".join(message.split()), file=sys.stderr)
    return code


def _open_closed_streams() -> None:
    """A stream closed from the start (`>&-`) is one nobody reads."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - to the end of the process


def _speak_utf8() -> None:
    """UTF-8 whatever the environment says, since replies and marks may hold any character; a broken
    one is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _drop_stdout_if_stuck() -> None:
    """Keep what can still be printed."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop_stdout()


def _drop_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not complain too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
