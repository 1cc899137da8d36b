"""The packets of an open container, as they lie in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer


def packets_of(container: InputContainer) -> Iterator[Packet]:
    """The packets of all tracks from where the container is; without PyAV's own flush mark, one per
    track.

    PyAV has no place for a track that turns up on the way, as noise in MPEG-TS may look like one:
    its packets are left out.
    """
    while True:
        try:
            for packet in container.demux():
                if packet.size or packet.dts is not None or packet.pts is not None:
                    yield packet
            return
        except IndexError:
            continue
