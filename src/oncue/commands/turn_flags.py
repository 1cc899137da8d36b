"""The turns of a model that rows are made for: flags that commands about rows share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oncue.errors import ConfigError
from oncue.startup import loading

if TYPE_CHECKING:
    from oncue.data.quality.turn_grid import TurnGrid


@dataclass(frozen=True)
class TurnFlags:
    """How a model will be shown the videos."""

    frame_interval_s: float | None = None
    """Seconds between frames. By default those of the MMDuet2 recipe."""

    frames_per_turn: int | None = None
    """Frames of a turn. By default those of the MMDuet2 recipe."""

    def grid(self) -> TurnGrid:
        """The turns. Raises ConfigError for numbers out of range."""
        from oncue.clock import Clock
        from oncue.data.quality.turn_grid import TurnGrid

        interval_s, per_turn = self.frame_interval_s, self.frames_per_turn
        if interval_s is None or per_turn is None:
            with loading():
                from oncue.recipes.mmduet2 import mmduet2_3b_sft
            recipe = mmduet2_3b_sft()
            interval_s = recipe.frame_interval_s if interval_s is None else interval_s
            per_turn = recipe.frames_per_turn if per_turn is None else per_turn
        if per_turn < 1:
            raise ConfigError(f"--frames-per-turn must be at least 1, got {per_turn}")
        try:
            return TurnGrid(Clock(interval_s), per_turn)
        except ValueError as error:
            raise ConfigError(str(error)) from error
