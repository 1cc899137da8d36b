"""Packages that oncue can do without, as its extras name them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator

from packaging.requirements import Requirement

_OURS = ("dev",)  # for those who work on oncue
_SELF = "oncue"


def optional_packages() -> Iterator[tuple[str, Requirement]]:
    """(extra, what it asks for) of every package of every extra that a user may want. None where
    oncue runs from a source tree and is not installed."""
    try:
        installed = importlib.metadata.distribution(_SELF)
    except importlib.metadata.PackageNotFoundError:
        return
    requirements = [Requirement(line) for line in installed.requires or ()]
    extras = installed.metadata.get_all("Provides-Extra") or ()
    for extra in (name for name in extras if name not in _OURS):
        for requirement in requirements:
            if requirement.name == _SELF:  # one extra that includes another
                continue
            marker = requirement.marker
            # Not what is needed without the extra, too
            if marker and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""}):
                yield extra, requirement


def pip_install(requirement: Requirement) -> str:
    """The command that installs what `requirement` asks for."""
    return f"pip install '{requirement.name}{requirement.specifier}'"


def install_command(distribution: str) -> str:
    """The command that installs an optional package in a version that fits."""
    fitting = (found for _, found in optional_packages() if found.name == distribution)
    return pip_install(next(fitting, Requirement(distribution)))
