"""Opening a video and choosing its track. Everything that can be wrong before the first packet is said here."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import url2pathname

from oncue.errors import VideoError, shown_address
from oncue.files import printable

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

URL_TIMEOUT_S = 15.0  # a network source that says nothing for so long has failed
NUM_THREADS = 2
# FFmpeg draws plain text and old character art as pictures; nobody who gives such a file means a video.
TEXT_FORMATS = frozenset({"tty", "bin", "adf", "idf", "xbin"})


def is_url(spec: str | Path) -> bool:
    """Whether `spec` names a network source and not a file."""
    return isinstance(spec, str) and "://" in spec and not spec.startswith("file://")


def source_name(source: str | Path) -> str:
    """The source as it may be shown: as text, and of an address neither a password nor what stands behind ? or #, where
    keys are."""
    shown = printable(str(source))
    return shown_address(shown) if is_url(source) else shown


def open_video(spec: str | Path) -> tuple[InputContainer, VideoStream]:
    """The open container of a file or URL and its video track, ready to decode. The caller closes the container.

    The track is the first with the default mark, else the first; cover art and other attached pictures are none.
    Raises VideoError for what cannot be opened or has no video track.
    """
    import av

    url = is_url(spec)
    name, options, timeout = (str(spec), _url_options(str(spec)), URL_TIMEOUT_S) if url else (_file(spec), {}, None)
    try:
        container = av.open(name, options=options, timeout=timeout, metadata_errors="replace")
    except av.FFmpegError as error:
        raise VideoError(
            f"{source_name(spec)} cannot be opened as a video: {error.strerror}. {_advice(url)}"
        ) from error
    try:
        return container, _track(container, source_name(spec))
    except VideoError:
        container.close()
        raise


def file_path(spec: str | Path) -> Path:
    """The path of a local file, which may be written as a file:// address."""
    if isinstance(spec, str) and spec.startswith("file://"):
        return Path(url2pathname(spec.removeprefix("file://")))
    return Path(spec)


def _file(spec: str | Path) -> str:
    """The name FFmpeg knows a local file by (a bare name with a colon would be read as a protocol)."""
    path = file_path(spec)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise VideoError(f"{spec} cannot be read ({_reason(error)}); expected the path of a video file") from error
    if stat.S_ISDIR(status.st_mode):
        raise VideoError(f"{spec} is a folder; expected the path of one video file")
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(f"{spec} is not a regular file; expected the path of a video file")
    if not status.st_size:
        raise VideoError(f"{spec} is empty (0 bytes); expected a video file. Was it copied or downloaded completely?")
    return f"file:{path}"


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or "unknown error").lower() if isinstance(error, OSError) else str(error)


def _advice(url: bool) -> str:
    if url:
        return "Check the address, and that the server can be reached from here"
    return "Check that it is a video and was copied completely (FFmpeg must be able to play it)"


def _url_options(url: str) -> dict[str, str]:
    if url.startswith("rtsp"):
        return {"rtsp_transport": "tcp"}
    if url.startswith("http"):
        return {"reconnect": "1", "reconnect_streamed": "1", "reconnect_delay_max": "5"}
    return {}


def _track(container: Any, spec: str) -> VideoStream:
    from av.stream import Disposition

    if container.format.name in TEXT_FORMATS:
        raise VideoError(f"{spec} is a text file; expected a video file")
    tracks = video_tracks(container)
    if not tracks:
        kinds = sorted({stream.type for stream in container.streams if stream.type != "video"})
        held = f"only {', '.join(kinds)}" if kinds else "no track that can be shown"
        raise VideoError(f"{spec} has no video track ({held}); expected a file with moving pictures")
    decodable = [track for track in tracks if track.codec_context is not None]
    if not decodable:
        raise VideoError(f"{spec}: this FFmpeg has no decoder for its video track; convert it to H.264, for example")
    track = next((t for t in decodable if int(t.disposition) & int(Disposition.default)), decodable[0])
    track.thread_type = "AUTO"
    track.codec_context.thread_count = NUM_THREADS
    return track


def video_tracks(container: Any) -> list[VideoStream]:
    """The video tracks in file order, without attached pictures."""
    from av.stream import Disposition

    return [t for t in container.streams.video if not int(t.disposition) & int(Disposition.attached_pic)]
