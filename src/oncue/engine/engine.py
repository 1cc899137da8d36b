"""The one inference engine, as its users see it: it opens sessions on a model."""

from __future__ import annotations

from oncue.engine.core import EngineCore
from oncue.engine.sampling import SamplingParams
from oncue.engine.session import EngineSession
from oncue.engine.static_shapes import StaticShapes
from oncue.engine.window import Window
from oncue.render.base import ActionFormat

__all__ = ["Engine", "SamplingParams", "StaticShapes", "Window"]


class Engine(EngineCore):
    """Opens sessions on one model and answers their turns together. Arguments as of
    `EngineCore`."""

    def open(
        self,
        system: str | None = None,
        seed: int | None = None,
        window: Window | None = None,
        action_format: ActionFormat | None = None,
    ) -> EngineSession:
        """A new session. `system` None takes the message for streams of the model's decision
        format.

        `seed` starts the session's random numbers; by default they follow from the engine's seed
        and from how many sessions it has opened before, so that sessions differ and a repeated run
        does not. `window` bounds its prefix; raises ConfigError where it allows more tokens than
        the model has positions for. `action_format`: the grammar that answers are read by,
        `TextFormat` by default; raises ConfigError for one that does not go with the model or the
        sampling. Its `instruction` is not shown by itself: that is for `system` or the turns.
        """
        return EngineSession(self, self.new_state(system, seed, window, action_format))
