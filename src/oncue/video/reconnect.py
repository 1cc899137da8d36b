"""Opening a lost source again: at first soon, then after longer and longer waits, and not for
ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from oncue.errors import SourceLostError, VideoError
from oncue.video.opening import (
    ADAPTIVE_FORMATS,
    URL_TIMEOUT_S,
    open_video,
    playlist_text,
    source_name,
    why_failed,
)

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

STOOD_STILL_S = URL_TIMEOUT_S / 2  # FFmpeg asks a playlist for longer before it gives up
DELAYS_S: tuple[float, ...] = (1, 2, 4, 8, 16, 32)  # before each attempt: a minute in all


class Reconnector:
    """The attempts since `saw_frame` was last called; a source that opens but shows nothing uses
    them up, too.

    `opened_at` is when the last attempt began, on the monotonic clock: frames come from then on,
    while FFmpeg still finds out what they are.
    """

    def __init__(self, spec: str | Path, stopped: threading.Event) -> None:
        """`stopped` ends the waiting."""
        self.num_attempts = 0
        self.opened_at = 0.0
        self._spec, self._stopped = spec, stopped

    def saw_frame(self) -> None:
        self.num_attempts = 0

    def open(
        self, why: str, say: Callable[[str], None]
    ) -> tuple[InputContainer, VideoStream] | None:
        """The source as `open_video` opens it, or None where it stays away. `say` is called before
        each attempt, with no time: that of the source is not the time shown while it is watched."""
        while self.num_attempts < len(DELAYS_S) and not self._stopped.is_set():
            delay_s = DELAYS_S[self.num_attempts]
            self.num_attempts += 1
            say(
                f"the connection was lost ({why}); connecting again in {delay_s:g} s "
                f"(attempt {self.num_attempts} of {len(DELAYS_S)})"
            )
            if self._stopped.wait(delay_s):
                break
            self.opened_at = time.monotonic()
            try:
                return open_video(self._spec)
            except VideoError as error:
                why = why_failed(error.__cause__ or error)
        return None


def why_ended(spec: str | Path, container: InputContainer, waited_s: float) -> str:
    """Why a live source ended without an error; empty where its playlist says that the broadcast is
    over.

    Raises SourceLostError for a playlist that can be read, but named nothing new for `waited_s`:
    opened again, it would only be shown again.
    """
    if container.format.name not in ADAPTIVE_FORMATS:
        return "the server ended it"
    text = playlist_text(container.name)
    if "#EXT-X-ENDLIST" in text:
        return ""
    if text and waited_s > STOOD_STILL_S:
        raise SourceLostError(
            f"{source_name(spec)}: its playlist names nothing new, and no end; check the "
            "broadcast, and watch again"
        )
    return "its playlist brought nothing more"
