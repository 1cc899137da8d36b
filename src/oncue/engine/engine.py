"""The one inference engine, as its users see it: it opens sessions on a model."""

from __future__ import annotations

from dataclasses import replace

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

    def window_of_turns(self, last_turns: int, window: Window | None = None) -> Window:
        """`window` (by default the engine's; without one, all the model has room for) that also
        keeps no more than the last `last_turns` turns."""
        window = window or self._window
        if window is None:
            window = Window(self._max_prefix_tokens, when_full=True)
        return replace(window, last_turns=last_turns)

    def window_when_full(self, num_tokens: int) -> Window:
        """The window that cuts nothing before the model is full; from then on the prefix has at
        most `num_tokens`, or what the model has room for."""
        return Window(min(num_tokens, self._max_prefix_tokens), when_full=True)
