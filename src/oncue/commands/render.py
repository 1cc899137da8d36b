"""`oncue render`: what a dialogue is for the model."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from oncue.errors import ConfigError
from oncue.hub import name_or_bundled


@dataclass(frozen=True)
class Render:
    """Show the exact chat text of a dialogue, each frame as <image>, or its token ids.

    Example: oncue render dialogue.json --mask
    """

    dialogue: tyro.conf.Positional[Path]
    """A row in MMDuet2's SFT format (JSON), or a file of such rows (JSON lines or a list)."""

    row: int | None = None
    """Which row of a file of several, from 1."""

    mask: bool = False
    """Show what is trained: in ⟦ ⟧ in the text; as a second column, 1 or 0, beside the ids, and as
    a third the id that is trained where it is not the one in that place."""

    ids: bool = False
    """Print one token id per line instead of the text."""

    model: str | None = None
    """The model whose tokenizer gives the ids: a folder, a hub id (owner/name) or mini (only for
    --ids). By default mini."""

    decision_format: Annotated[Literal["text", "token"] | None, tyro.conf.arg(name="format")] = None
    """How silence is said: text (NO REPLY) or token (nothing is added). By default text, with --ids
    that of --model."""

    frame_size: tuple[int, int] | None = None
    """Width and height of the frames in pixels, where the row's images are not at hand (only for
    --ids)."""

    max_pixels: int | None = None
    """Largest area of a frame in pixels before it is scaled down (only for --ids)."""

    def run(self) -> int:
        """Write to stdout. Returns the exit code."""
        from oncue.dialogue.show import show_dialogue

        for name in ("model", "frame_size", "max_pixels"):
            if not self.ids and getattr(self, name) is not None:
                raise ConfigError(
                    f"--{name.replace('_', '-')} is for token ids; leave it out, or add --ids"
                )
        show_dialogue(
            self.dialogue,
            model=name_or_bundled(self.model),
            mask=self.mask,
            ids=self.ids,
            out=sys.stdout,
            row=self.row,
            frame_size=self.frame_size,
            max_pixels=self.max_pixels,
            decision_name=self.decision_format,
        )
        return 0
