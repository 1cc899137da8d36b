"""Opening a video and choosing its track. Everything that can be wrong before the first packet is
said here."""

from __future__ import annotations

import errno
import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin
from urllib.request import url2pathname

from oncue.errors import VideoError, shown_address
from oncue.files import printable
from oncue.video.playlist import best_variant, named_address

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

URL_TIMEOUT_S = 15.0  # a network source that says nothing for so long has failed
MAX_PLAYLIST_BYTES = 2**20
PLAYLIST = re.compile(r"\.m3u8?([?#].*)?$", re.IGNORECASE)
LIVE_PROTOCOLS = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "rtmpt", "rtp", "srtp", "udp", "srt"})
ADAPTIVE_FORMATS = frozenset({"hls", "dash"})
NUM_THREADS = 2
# FFmpeg draws plain text and old character art as pictures; nobody who gives such a file means a
# video.
TEXT_FORMATS = frozenset({"tty", "bin", "adf", "idf", "xbin"})


def is_url(spec: str | Path) -> bool:
    """Whether `spec` names a network source and not a file."""
    return isinstance(spec, str) and "://" in spec and not spec.startswith("file://")


def source_name(source: str | Path) -> str:
    """The source as it may be shown: as text, and of an address neither a password nor what comes
    behind ? or #, where keys are."""
    shown = printable(str(source))
    return shown_address(shown) if is_url(source) else shown


def open_video(spec: str | Path) -> tuple[InputContainer, VideoStream]:
    """The open container of a file or URL and its video track, ready to decode. The caller closes
    the container.

    The track is the first with the default mark, else the first; cover art and other attached
    pictures are none, and a track of a single picture counts only where no other has more. Of an
    HLS stream with several variants it is the one with the largest picture. RTSP is asked for over
    TCP, then over UDP. Raises VideoError for what cannot be opened or has no video track.
    """
    container = _open(spec)
    try:
        return container, _track(container, source_name(spec))
    except VideoError:
        container.close()
        raise


def why_failed(error: BaseException | None) -> str:
    """FFmpeg's reason in words; that of another error is its message."""
    import av

    if isinstance(error, av.error.ExitError):
        return f"nothing came for {URL_TIMEOUT_S:g} s"
    return error.strerror if isinstance(error, av.FFmpegError) else str(error)


def is_live(spec: str | Path, container: InputContainer, declared_s: float | None) -> bool:
    """Whether `spec` is a network source without a known end, such as a camera or the playlist of a
    broadcast.

    HTTP without a length may be a file. Only pictures in parts (multipart) are taken for a camera;
    all else ends where the server ends it.
    """
    if not is_url(spec) or declared_s is not None:
        return False
    kind = container.format.name
    is_camera = kind == "mpjpeg" and container.size <= 0
    return (
        is_camera or kind in ADAPTIVE_FORMATS or str(spec).split("://")[0].lower() in LIVE_PROTOCOLS
    )


def _open(spec: str | Path) -> InputContainer:
    import av

    name, timeout = (str(spec), URL_TIMEOUT_S) if is_url(spec) else (_file(spec), None)
    errors: list[av.FFmpegError] = []
    # Where the variant is refused: as FFmpeg does it
    for wanted in dict.fromkeys((_best_variant(name, spec), name)):
        for options in (choices := _options(wanted)):
            began_at = time.monotonic()
            try:
                container = av.open(
                    wanted, options=options, timeout=timeout, metadata_errors="replace"
                )
            except av.FFmpegError as error:
                errors.append(error)
                if error.errno != errno.EPROTONOSUPPORT and not isinstance(
                    error, av.error.ExitError
                ):
                    break  # only another transport than a refused or a silent one is worth trying
            else:
                if options is choices[-1] or time.monotonic() - began_at < URL_TIMEOUT_S:
                    return container
                container.close()  # FFmpeg opens a silent camera, too, when it has waited in vain
    reasons = "; ".join(dict.fromkeys(map(why_failed, errors)))
    raise VideoError(
        f"{source_name(spec)} cannot be opened as a video: {reasons}. {_advice(spec)}"
    ) from errors[-1]


def _best_variant(name: str, spec: str | Path) -> str:
    """The name of the best variant where `name` is that of a master playlist, else `name`."""
    if not PLAYLIST.search(name):
        return name
    text = playlist_text(name)
    named = None if is_url(spec) else named_address(text)
    if named:
        raise VideoError(
            f"{spec} is a playlist that names addresses ({source_name(named)}); a playlist in a "
            "file can only name "
            "files beside it. Give the address of the playlist, or of what it names"
        )
    uri = best_variant(text)
    if uri is None:
        return name
    if not is_url(spec):
        return f"file:{file_path(spec).parent / uri}"
    address = urljoin(name, uri)
    # A server may not name files of this machine
    return address if address.lower().startswith("http") else name


def playlist_text(playlist: str) -> str:
    """What can be read of a playlist; why the rest cannot is said when it is opened as a video."""
    import av

    data = bytearray()
    try:
        with av.open(
            playlist, format="data", options=_options(playlist)[0], timeout=URL_TIMEOUT_S
        ) as container:
            for packet in container.demux():
                data += bytes(packet)
                if len(data) > MAX_PLAYLIST_BYTES:
                    break
    except av.FFmpegError:  # also the end, where the server sends no length
        pass
    return data.decode(errors="replace")


def file_path(spec: str | Path) -> Path:
    """The path of a local file, which may be written as a file:// address."""
    if isinstance(spec, str) and spec.startswith("file://"):
        return Path(url2pathname(spec.removeprefix("file://")))
    return Path(spec)


def _file(spec: str | Path) -> str:
    """The name FFmpeg knows a local file by (a bare name with a colon would be read as a
    protocol)."""
    path = file_path(spec)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise VideoError(
            f"{spec} cannot be read ({_reason(error)}); expected the path of a video file"
        ) from error
    if stat.S_ISDIR(status.st_mode):
        raise VideoError(f"{spec} is a folder; expected the path of one video file")
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(f"{spec} is not a regular file; expected the path of a video file")
    if not status.st_size:
        raise VideoError(
            f"{spec} is empty (0 bytes); expected a video file. Was it copied or downloaded "
            "completely?"
        )
    return f"file:{path}"


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or "unknown error").lower() if isinstance(error, OSError) else str(error)


def _advice(spec: str | Path) -> str:
    if is_url(spec):
        return "Check the address, and that the server can be reached from here"
    if PLAYLIST.search(str(spec)):
        return (
            "Check that the files it names lie beside it, and that they are videos "
            "(FFmpeg must be able to play them)"
        )
    return "Check that it is a video and was copied completely (FFmpeg must be able to play it)"


def _options(name: str) -> list[dict[str, str]]:
    """The options to open `name` with, in the order to try them.

    A finite file over HTTP is resumed where a connection breaks, if the server knows ranges. Never
    from its beginning (`reconnect_streamed`): FFmpeg takes the end of a file without a length for a
    break. Without `multiple_requests` it asks the server to close, and fails to jump where one
    closes without saying so.
    """
    if name.startswith("rtsp"):
        return [{"rtsp_transport": transport} for transport in ("tcp", "udp")]
    if name.startswith("http"):
        return [{"multiple_requests": "1", "reconnect": "1", "reconnect_delay_max": "5"}]
    return [{}]


def _track(container: Any, spec: str) -> VideoStream:
    from av.stream import Disposition

    if container.format.name in TEXT_FORMATS:
        raise VideoError(f"{spec} is a text file; expected a video file")
    tracks = video_tracks(container)
    if not tracks:
        kinds = sorted({stream.type for stream in container.streams if stream.type != "video"})
        held = f"only {', '.join(kinds)}" if kinds else "no track that can be shown"
        raise VideoError(
            f"{spec} has no video track ({held}); expected a file with moving pictures"
        )
    decodable = [track for track in tracks if track.codec_context is not None]
    if not decodable:
        raise VideoError(
            f"{spec}: this FFmpeg has no decoder for its video track; convert it to H.264, for "
            "example"
        )
    moving = [
        track for track in decodable if track.frames != 1
    ] or decodable  # AVIF: a still beside its sequence
    if container.format.name in ADAPTIVE_FORMATS:
        track = _largest(container, moving)
    else:
        track = next(
            (t for t in moving if int(t.disposition) & int(Disposition.default)), moving[0]
        )
    track.thread_type = "AUTO"
    track.codec_context.thread_count = NUM_THREADS
    return track


def _largest(container: Any, tracks: list[VideoStream]) -> VideoStream:
    """The track with the largest picture, of equal ones that with the highest bit rate. Other
    variants are not read."""
    track = max(
        tracks, key=lambda t: (t.width * t.height, int(t.metadata.get("variant_bitrate", 0)))
    )
    for other in container.streams:
        is_other = other.metadata.get("variant_bitrate") != track.metadata.get("variant_bitrate")
        if is_other and hasattr(other, "discard"):  # not in PyAV before 18
            other.discard = type(other.discard)["all"]
    return track


def video_tracks(container: Any) -> list[VideoStream]:
    """The video tracks in file order, without attached pictures."""
    from av.stream import Disposition

    return [
        t for t in container.streams.video if not int(t.disposition) & int(Disposition.attached_pic)
    ]
