"""Frames on their way into the model: patched once, encoded once, shared by the sessions that are
shown the same."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch

from oncue.render.base import Grid, PatchedFrame


@dataclass(slots=True, eq=False)
class CachedFrame:
    """One frame of a dialogue: first its patches, then, once encoded, its vision tokens instead.

    `features` (1 + depths, tokens, width): the tokens in the text, and for models that
    feed the vision encoder into several layers (DeepStack) those of each further depth.
    `keeps_patches`: they stay beside the vision tokens, for a trace.
    """

    grid: Grid
    patched: PatchedFrame | None
    features: torch.Tensor | None = None
    keeps_patches: bool = False

    @classmethod
    def of(cls, frame: PatchedFrame, *, keeps_patches: bool = False) -> CachedFrame:
        return cls(frame.grid, frame, keeps_patches=keeps_patches)

    def encoded(self, features: torch.Tensor) -> None:
        """Keep the vision tokens; the patches are many times their size."""
        self.features = features
        if not self.keeps_patches:
            self.patched = None


class EncoderCache:
    """The newest frames shown to anyone, by their pixels. What two sessions are shown is patched
    and encoded once.

    Threads may share it: one patches a frame, and whoever is shown the same meanwhile waits for it.
    `keeps_patches` as of its frames.
    """

    def __init__(self, capacity: int = 256, *, keeps_patches: bool = False) -> None:
        self._capacity, self._keeps_patches = capacity, keeps_patches
        self._frames: OrderedDict[bytes, Future[CachedFrame]] = OrderedDict()
        self._lock = threading.Lock()

    def frame(self, pixels: np.ndarray, patch: Callable[[np.ndarray], PatchedFrame]) -> CachedFrame:
        """The shown frame of `pixels` (H, W, 3) uint8; `patch` is called where it is new. Raises
        what that raises."""
        digest = hashlib.blake2b(
            np.ascontiguousarray(pixels).data, digest_size=16, salt=_salt(pixels.shape)
        ).digest()
        with self._lock:
            known = self._frames.pop(digest, None)
            self._frames[digest] = shown = known or Future()
            if len(self._frames) > self._capacity:
                self._frames.popitem(last=False)
        if known is None:
            try:
                shown.set_result(CachedFrame.of(patch(pixels), keeps_patches=self._keeps_patches))
            except BaseException as error:
                # Whoever waits for this frame gets the same error; the next one tries again
                shown.set_exception(error)
                with self._lock:
                    if self._frames.get(digest) is shown:
                        del self._frames[digest]
        return shown.result()


def _salt(shape: tuple[int, ...]) -> bytes:
    return shape[0].to_bytes(8, "little") + shape[1].to_bytes(8, "little")
