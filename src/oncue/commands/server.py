"""What `--server` means, for every command that has it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from oncue.errors import ConfigError

if TYPE_CHECKING:
    from oncue.policy.openai import ChatServer, ServerOptions


class ServerFlags(Protocol):
    """The flags that name a model on a server."""

    @property
    def server(self) -> str | None: ...

    @property
    def model(self) -> str: ...


def connect_to(flags: ServerFlags, options: ServerOptions, local_only: Iterable[str]) -> ChatServer:
    """The server of `--server`, with the model of `--model`, or its only one where that flag was left out.

    Raises ConfigError for a flag of `local_only` that was given, for it would do nothing, and what `connect` raises.
    """
    from oncue.policy.openai import connect

    assert flags.server is not None
    for name in local_only:
        if getattr(flags, name) != getattr(type(flags), name):
            flag = "--" + name.replace("_", "-")
            raise ConfigError(f"{flag} is for models that run here; leave it out, or leave --server out")
    left_out = flags.model == type(flags).model
    return connect(flags.server, None if left_out else flags.model, options)
