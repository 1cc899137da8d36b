"""A filter before a policy: turns in which nothing has changed are silent, and cost no forward and
no context."""

from __future__ import annotations

import time

import numpy as np

from oncue.errors import ConfigError
from oncue.types import EnvTurn, PolicySession, PolicyTurn, Silence
from oncue.video.change import grey_difference, small_grey


class SkipUnchanged:
    """A PolicySession that shows `session` only what is new, and answers the rest with silence
    itself.

    A turn is skipped if it has frames and no text, and the mean grey difference (`video.change`) of
    each of its frames from the last frame that was really shown is below `threshold` (levels of
    255). So a slow drift adds up until it is shown. A skipped turn counts as a turn of the policy's
    own (`sampled`) with no token ids, as of any policy that has none; it leaves nothing in the
    context of `session`, which therefore cannot tell how long the picture stood still. For
    watching, not for rollouts that are trained on. Closing it closes `session`.

    Raises ConfigError for a threshold that is not above 0 and at most 255.
    """

    def __init__(self, session: PolicySession, threshold: float) -> None:
        check_threshold(threshold)
        self._session = session
        self._threshold = threshold
        self._shown: np.ndarray | None = None
        self._num_skipped = 0

    @property
    def num_skipped(self) -> int:
        """How many turns `session` has not been shown."""
        return self._num_skipped

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        """The answer of `session`, or silence. After an error of `session` the turn counts as not
        shown."""
        started = time.perf_counter()
        greys = [small_grey(pixels) for pixels in observed.pictures]
        if greys and not observed.text and all(self._is_known(grey) for grey in greys):
            self._num_skipped += 1
            return PolicyTurn(Silence(), latency_ms=(time.perf_counter() - started) * 1000)
        turn = await self._session.respond(observed)
        if greys:
            self._shown = greys[-1]
        return turn

    def close(self) -> None:
        self._session.close()

    def _is_known(self, grey: np.ndarray) -> bool:
        return self._shown is not None and grey_difference(grey, self._shown) < self._threshold


def check_threshold(threshold: float) -> None:
    """Raise ConfigError for a threshold that would skip nothing at all, or everything."""
    if not 0 < threshold <= 255:
        raise ConfigError(
            "the threshold for unchanged frames (--skip-unchanged) must be above 0 and at most 255 "
            "grey levels, "
            f"got {threshold:g}"
        )
