"""What --model_args may hold, and the command of oncue that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MODES = ("retrieval", "single_turn")
_ON_ERROR = ("stop", "empty")
_RETRIEVAL_ONLY = ("budget", "max_turns", "unit", "marks", "thinking")
_FLAGS = (
    *("model", "server", "frames", *_RETRIEVAL_ONLY, "device", "dtype", "at_once"),
    *("temperature", "seed", "max_new_tokens", "context_tokens", "max_pixels"),
)


def command_of(python: str, mode: str, on_error: str, given: Mapping[str, Any]) -> list[str]:
    """The command that answers questions; `given`: the settings that are flags of it. Raises
    ValueError for what cannot be."""
    if not python:
        raise ValueError(
            "give the Python of the environment that has oncue: "
            "--model_args python=/path/to/bin/python,..."
        )
    for name, chosen, known in (("mode", mode, _MODES), ("on_error", on_error, _ON_ERROR)):
        if chosen not in known:
            raise ValueError(f"{name} is {' or '.join(known)}, got {chosen!r}")
    flags = dict(given)
    if unknown := sorted(set(flags) - set(_FLAGS)):
        raise ValueError(
            f"unknown settings {', '.join(unknown)}; expected python, mode, timeout_s, on_error, "
            f"{', '.join(_FLAGS)}"
        )
    if mode == "single_turn":
        if "frames" not in flags or set(flags) & set(_RETRIEVAL_ONLY):
            raise ValueError(
                f"mode=single_turn needs frames=N, and has no {', '.join(_RETRIEVAL_ONLY)}; got "
                f"{', '.join(flags) or 'nothing'}"
            )
        flags["single_turn"] = flags.pop("frames")
    if "server" in flags:
        flags.pop("device", None)  # lmms-eval names one by itself
    pairs = ((f"--{name.replace('_', '-')}", str(value)) for name, value in flags.items())
    return [str(python), "-m", "oncue", "ask-lines", *(word for pair in pairs for word in pair)]
