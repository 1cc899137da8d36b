"""What a record of scores says of how the model ran; without it, two of the same name could not be told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oncue.errors import shown_address

if TYPE_CHECKING:
    from oncue.model.loading import LoadedModel
    from oncue.policy.chat_server import ChatServer


def ran_here(loaded: LoadedModel, context_tokens: int | None) -> dict[str, Any]:
    """Of a model that runs here; `context_tokens` bounds the context, None does not."""
    return {
        "server": None,
        "device": loaded.device.type,
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "max_pixels": loaded.renderer.frame_processor.max_pixels,
        "context_tokens": context_tokens,
    }


def ran_on(address: str, server: ChatServer) -> dict[str, Any]:
    """Of a model on the server at `address`: what runs there, and how, is its own affair."""
    return {
        "server": shown_address(address),
        "device": None,
        "dtype": None,
        "max_pixels": server.options.max_pixels,
        "context_tokens": server.options.context_tokens,
    }
