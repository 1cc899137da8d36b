"""What `--server` means, for every command that has it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from oncue.errors import ConfigError
from oncue.types import Question

if TYPE_CHECKING:
    from oncue.policy.open_policy import ServerModel


class ServerFlags(Protocol):
    """The flags that name a model on a server, and bound what it is shown and says."""

    @property
    def server(self) -> str | None: ...

    @property
    def model(self) -> str | None: ...

    @property
    def max_new_tokens(self) -> int: ...

    @property
    def max_pixels(self) -> int | None: ...

    @property
    def context_tokens(self) -> int | None: ...


def server_model(
    flags: ServerFlags,
    local_only: Iterable[str],
    questions: Iterable[Question] = (),
    *,
    verify_silence: bool = False,
) -> ServerModel:
    """What `open_policy` opens for `--server`: the model of `--model`, or its only one where that
    flag was left out.

    `questions` are those that will be asked. Raises ConfigError for a flag of `local_only` that was
    given, for it would do nothing, and InputError for a question with a chat mark in it.
    """
    from oncue.policy.chat_prompt import check_text
    from oncue.policy.chat_server import ServerOptions
    from oncue.policy.open_policy import ServerModel
    from oncue.render.qwen_vl import MMDUET2_MAX_PIXELS

    assert flags.server is not None
    for name in local_only:
        if getattr(flags, name) != getattr(type(flags), name):
            flag = "--" + name.replace("_", "-")
            raise ConfigError(
                f"{flag} is for models that run here; leave it out, or leave --server out"
            )
    for question in questions:
        check_text(question.text)
    max_pixels = MMDUET2_MAX_PIXELS if flags.max_pixels is None else flags.max_pixels
    options = ServerOptions(
        flags.max_new_tokens,
        max_pixels,
        verify_silence=verify_silence,
        context_tokens=flags.context_tokens,
    )
    return ServerModel(flags.server, flags.model, options)
