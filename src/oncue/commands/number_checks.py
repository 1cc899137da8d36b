"""Numbers of the command line that are too small, reported by their flag and before anything is
loaded."""

from __future__ import annotations

from oncue.errors import ConfigError


def check_smallest(flags: object, **smallest_of: int) -> None:
    """Raises ConfigError for the first of these fields of `flags` that is below its smallest value;
    None is none."""
    for name, smallest in smallest_of.items():
        given = getattr(flags, name)
        if given is not None and not given >= smallest:
            raise ConfigError(
                f"--{name.replace('_', '-')} must be at least {smallest}, got {given}"
            )
