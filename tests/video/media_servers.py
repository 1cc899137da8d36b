"""Servers of videos on 127.0.0.1: files over HTTP in several manners, good and bad, and a camera
over RTSP."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np


class FileServer:
    """Serves `folder` over HTTP as /MANNER/FILE. `paths` are those that were asked for, in order.

    Manners: `close` (no length; the connection ends), `chunked`, `length` (no ranges), `range`,
    `drop` (knows ranges, but breaks off the first answer in the middle), `lose` (no ranges, breaks
    off), `reset` (no length, breaks off), `moved` (redirects to `range`), `parts` (JPEG pictures,
    as cameras send them).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                with contextlib.suppress(OSError):
                    owner.answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        is_first = to.path not in self.paths
        self.paths.append(to.path)
        _, manner, name = to.path.split("?")[0].split("/", 2)
        data = (self.folder / name).read_bytes() if (self.folder / name).is_file() else None
        if data is None or manner == "moved":
            to.send_response(404 if data is None else 302)
            to.send_header("Location", f"/range/{name}")
            self._send(to, b"", length=0)
            return
        asked = re.match(r"bytes=(\d+)-(\d*)", to.headers.get("Range", ""))
        first, last = 0, len(data) - 1
        if manner in ("range", "drop") and asked:
            first, last = int(asked[1]), min(int(asked[2] or last), last)
        is_part = manner in ("range", "drop") and asked is not None
        to.send_response(206 if is_part else 200)
        if is_part:
            to.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        if manner in ("range", "drop"):
            to.send_header("Accept-Ranges", "bytes")
        if manner == "parts":
            to.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        if name.endswith("master"):  # FFmpeg goes by this or by the name
            to.send_header("Content-Type", "application/vnd.apple.mpegurl")
        body = data[first : last + 1]
        is_cut = manner in ("lose", "reset") or (manner == "drop" and is_first)
        length = len(body) if manner in ("range", "drop", "length", "lose") else None
        self._send(
            to, body[: len(body) // 2] if is_cut else body, length, is_chunked=manner == "chunked"
        )
        if is_cut and manner == "reset":
            to.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            to.connection.close()
        if is_cut or manner in ("close", "parts"):
            to.close_connection = True

    @staticmethod
    def _send(
        to: BaseHTTPRequestHandler, body: bytes, length: int | None, *, is_chunked: bool = False
    ) -> None:
        if length is not None:
            to.send_header("Content-Length", str(length))
        if is_chunked:
            to.send_header("Transfer-Encoding", "chunked")
            body = b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in (body, b""))
        to.end_headers()
        to.wfile.write(body)
        to.wfile.flush()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[FileServer]:
    server = FileServer(folder)
    try:
        yield server
    finally:
        server.close()


def grey_of(number: int) -> int:
    """The grey of picture `number` of the camera."""
    return 40 + 4 * number


def grey_pictures(num_pictures: int) -> list[list[bytes]]:
    """H.264 pictures 96x64, each as its NAL units; a key frame every ten."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = 96, 64, "yuv420p", 10
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "g": "10",
        "x264-params": "annexb=1:repeat-headers=1",
    }
    pictures = []
    for number in range(num_pictures):
        frame = av.VideoFrame.from_ndarray(
            np.full((64, 96, 3), grey_of(number), np.uint8), format="rgb24"
        )
        frame.pts = number
        for packet in encoder.encode(frame):
            pictures.append([unit for unit in re.split(b"\0\0\0\1|\0\0\1", bytes(packet)) if unit])
    return pictures


class RtspCamera:
    """A camera that sends all its pictures at once, ten for a second, and then drops the
    connection.

    `transport` is the only one it knows, "tcp" or "udp", or "any": then it sends nothing over TCP.
    After `num_connections` that play, it is gone. `num_asked` counts the connections.
    """

    def __init__(
        self, num_pictures: int = 25, *, transport: str = "tcp", num_connections: int = 1000
    ) -> None:
        self.pictures = grey_pictures(num_pictures)
        self.transport, self.num_connections = transport, num_connections
        self.num_asked = self.num_played = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/camera"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.num_asked += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as asked:
            port = 0
            while True:
                line = asked.readline().decode()
                if not line:
                    return
                headers = {}
                while header := asked.readline().decode().strip():
                    key, _, value = header.partition(":")
                    headers[key.lower()] = value.strip()
                method = line.split()[0]
                if found := re.search(r"client_port=(\d+)", headers.get("transport", "")):
                    port = int(found[1])
                connection.sendall(self._reply(method, headers).encode())
                if method == "PLAY":
                    self.num_played += 1
                    self._play(connection, port)
                    return

    def _reply(self, method: str, headers: dict[str, str]) -> str:
        wanted = "tcp" if "TCP" in headers.get("transport", "") else "udp"
        status, body, more = "200 OK", "", "Session: 1\r\n"
        if method == "OPTIONS":
            more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            sets = ",".join(
                base64.b64encode(unit).decode()
                for unit in self.pictures[0]
                if unit[0] & 31 in (7, 8)
            )
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
                "a=rtpmap:96 H264/90000\r\na=framerate:10\r\na=control:track\r\n"
                f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\n"
            )
            more = f"Content-Type: application/sdp\r\nContent-Base: {self.address}/\r\n"
        elif method == "SETUP" and self.transport not in (wanted, "any"):
            status = "461 Unsupported transport"
        elif method == "SETUP":
            more = (
                "Transport: "
                f"{headers['transport']}{';server_port=6970-6971' if wanted == 'udp' else ''}\r\n"
                + more
            )
        return (
            f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\n{more}Content-Length: "
            f"{len(body)}\r\n\r\n{body}"
        )

    def _play(self, connection: socket.socket, port: int) -> None:
        if self.num_played >= self.num_connections:
            self.close()
        if self.transport == "any" and not port:
            connection.recv(1)  # until the client has enough
            return
        count = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            for number, units in enumerate(self.pictures):
                for unit in units:
                    mark = 0x80 if unit is units[-1] else 0
                    packet = (
                        struct.pack(">BBHII", 0x80, 96 | mark, count, 1000 + number * 9000, 7)
                        + unit
                    )
                    count += 1
                    if port:
                        datagrams.sendto(packet, ("127.0.0.1", port))
                    else:
                        connection.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)


@contextlib.contextmanager
def camera(
    num_pictures: int = 25, *, transport: str = "tcp", num_connections: int = 1000
) -> Iterator[RtspCamera]:
    device = RtspCamera(num_pictures, transport=transport, num_connections=num_connections)
    try:
        yield device
    finally:
        device.close()
