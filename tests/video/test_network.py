"""Videos from addresses: how they end, which variant is taken, and what happens when a connection
is lost."""

from __future__ import annotations

import io
import itertools
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
from media_servers import FileServer, camera, grey_of, serving
from video_clips import make_clip, number_of

from oncue.cli import main
from oncue.errors import ConnectionLostWarning, CorruptStretchWarning, SourceLostError, VideoError
from oncue.policy.scripted import SilentPolicy
from oncue.video.decode import Decoder
from oncue.video.playlist import best_variant, named_address
from oncue.video.reconnect import why_ended
from oncue.video.source import FileSource, frames_of


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    with serving(tmp_path) as started:
        yield started


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three attempts to connect again, with hardly a wait."""
    monkeypatch.setattr("oncue.video.reconnect.DELAYS_S", (0.01, 0.02, 0.03))


def shown(address: str, most: int = 99) -> list[int]:
    """The numbers of the pictures on the grid of one second."""
    source = FileSource(address, 1.0)
    return [number_of(batch.pixels[0]) for batch in itertools.islice(frames_of(source), most)]


# The end of what is sent over HTTP


@pytest.mark.parametrize("manner", ["close", "chunked", "length", "range", "moved"])
@pytest.mark.parametrize("kind", ["ts", "mp4", "mkv"])
def test_a_file_over_http_is_watched_once_and_ends(
    tmp_path: Path, server: FileServer, manner: str, kind: str
) -> None:
    """Where no length is sent it was replayed for ever, or waited for; where ranges are, a short
    one came out empty."""
    make_clip(
        tmp_path / f"clip.{kind}",
        40,
        container_options={"movflags": "faststart"} if kind == "mp4" else None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", CorruptStretchWarning)
        assert shown(f"{server.address}/{manner}/clip.{kind}", 10) == [10, 20, 30, 39]
    assert len(server.paths) <= 8


@pytest.mark.parametrize("flags", ["frag_keyframe+empty_moov", "frag_keyframe"])
def test_the_first_fragment_does_not_declare_the_length(
    tmp_path: Path, server: FileServer, flags: str
) -> None:
    make_clip(tmp_path / "clip.mp4", 40, container_options={"movflags": flags})
    for manner, declared_s in (("close", None), ("length", None), ("range", 4.0)):
        source = FileSource(f"{server.address}/{manner}/clip.mp4", 1.0)
        assert source.duration_s == declared_s, manner
        assert [number_of(batch.pixels[0]) for batch in frames_of(source)] == [10, 20, 30, 39]


def test_a_whole_mp4_declares_its_length_however_it_is_served(
    tmp_path: Path, server: FileServer
) -> None:
    make_clip(tmp_path / "clip.mp4", 40, container_options={"movflags": "faststart"})
    for manner in ("close", "length", "range"):
        decoder = Decoder(f"{server.address}/{manner}/clip.mp4")
        assert (decoder.declared_s, decoder.is_live) == (4.0, False), manner
        decoder.close()


def test_a_connection_that_breaks_off_is_resumed_where_the_server_knows_ranges(
    tmp_path: Path, server: FileServer
) -> None:
    make_clip(tmp_path / "clip.mp4", 60)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CorruptStretchWarning)
        assert shown(f"{server.address}/drop/clip.mp4") == [10, 20, 30, 40, 50, 59]


def test_a_file_that_breaks_off_is_not_taken_for_whole(tmp_path: Path, server: FileServer) -> None:
    make_clip(tmp_path / "clip.ts", 60)
    with pytest.warns(
        ConnectionLostWarning, match=r"connection was lost at \d\.\d\d s \(Input/output error\)"
    ):
        assert len(shown(f"{server.address}/lose/clip.ts")) < 6
    with pytest.raises(
        SourceLostError, match=r"connection was lost at \d\.\d\d s"
    ):  # of unknown length
        shown(f"{server.address}/reset/clip.ts")


def test_what_only_a_server_with_ranges_can_serve_is_said(
    tmp_path: Path, server: FileServer
) -> None:
    make_clip(
        tmp_path / "clip.mp4", 60, options={"preset": "ultrafast", "qp": "4"}
    )  # its index is last
    with pytest.raises(VideoError, match="download it first"):
        shown(f"{server.address}/chunked/clip.mp4")


# Playlists


MASTER = (
    "#EXTM3U\n"
    '#EXT-X-STREAM-INF:BANDWIDTH=100000,RESOLUTION=96x64,CODECS="avc1.42c00a"\nlow.m3u8\n'
    '#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=9,BANDWIDTH=300000,RESOLUTION=160x96,CODECS="avc1.42c00a,mp4a.40.2"\nhigh.m3u8\n'
    '#EXT-X-STREAM-INF:BANDWIDTH=900000,CODECS="mp4a.40.2"\nsound.m3u8\n'
)


def make_hls(folder: Path) -> None:
    """Two variants of four segments each, and masters that name them."""
    for name, size in (("low", (64, 96)), ("high", (96, 160))):
        options = {
            "hls_time": "1",
            "hls_playlist_type": "vod",
            "hls_segment_filename": f"{folder / name}_%d.ts",
        }
        make_clip(folder / f"{name}.m3u8", 40, size=size, container_options=options)
    for name in ("master.m3u8", "master"):
        (folder / name).write_text(
            MASTER.replace("sound.m3u8", "low.m3u8").replace('"mp4a.40.2"', '"avc1.42c00a"')
        )


def test_of_several_variants_the_best_is_taken_and_no_other_is_downloaded(
    tmp_path: Path, server: FileServer
) -> None:
    make_hls(tmp_path)
    source = FileSource(f"{server.address}/range/master.m3u8?key=1", 1.0)
    assert (source.info.width_px, source.info.height_px, source.duration_s) == (160, 96, 4.0)
    assert len(list(frames_of(source))) == 4
    assert not [path for path in server.paths if "low" in path]
    assert len([path for path in server.paths if "high_" in path]) == 4


@pytest.mark.parametrize("place", ["range/master", "moved/master.m3u8", ""])
def test_the_best_variant_is_taken_wherever_the_master_is(
    tmp_path: Path, server: FileServer, place: str
) -> None:
    """Without the name of a playlist, behind a redirection, and in a file."""
    make_hls(tmp_path)
    source = FileSource(f"{server.address}/{place}" if place else tmp_path / "master.m3u8", 1.0)
    assert (source.info.width_px, source.info.height_px) == (160, 96)
    assert len(list(frames_of(source))) == 4


@pytest.mark.parametrize(
    ("text", "best"),
    [
        (MASTER, "high.m3u8"),
        (MASTER.replace("\n", "\r\n"), "high.m3u8"),
        (MASTER.replace("RESOLUTION=160x96,", ""), "low.m3u8"),
        (MASTER.replace("RESOLUTION=160x96", "RESOLUTION=96x64"), "high.m3u8"),
        (
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=5\n\n#EXT-X-SOMETHING\na\n#EXT-X-STREAM-INF:BANDWIDTH=5\nb\n",
            "a",
        ),
        ('#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=5,CODECS="mp4a.40.2"\na\n', None),
        ("#EXTM3U\n#EXTINF:4,\na.ts\n", None),
        ("<html>#EXT-X-STREAM-INF:BANDWIDTH=5\na\n", None),
    ],
)
def test_the_best_variant_of_a_master(text: str, best: str | None) -> None:
    assert best_variant(text) == best


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("https://u:p@example.org/a.ts", "https://u:p@example.org/a.ts"),
        ('#EXT-X-KEY:METHOD=AES-128,URI="http://example.org/key"', "http://example.org/key"),
        ("#EXTINF:4,see http://example.org", None),
        ("file:///a.ts", None),
        ("a.ts", None),
    ],
)
def test_a_playlist_in_a_file_may_not_name_addresses(
    tmp_path: Path, line: str, address: str | None
) -> None:
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfirst.ts\n{line}\n#EXT-X-ENDLIST\n"
    assert named_address(text) == address
    (tmp_path / "list.m3u8").write_text(text)
    with pytest.raises(
        VideoError, match="names addresses" if address else "lie beside it"
    ) as refused:
        FileSource(tmp_path / "list.m3u8", 1.0)
    assert "u:p" not in str(refused.value)


def test_a_master_from_a_server_may_not_name_files_here(tmp_path: Path, server: FileServer) -> None:
    make_hls(tmp_path)
    secret = make_clip(tmp_path / "secret.mp4", 10, size=(192, 320))
    text = MASTER.replace("high.m3u8", secret.as_uri()).replace("sound.m3u8", "low.m3u8")
    (tmp_path / "master.m3u8").write_text(text)
    source = FileSource(f"{server.address}/range/master.m3u8", 1.0)
    assert source.info.width_px == 96
    source.close()


# Cameras


def test_what_counts_as_live(tmp_path: Path, server: FileServer) -> None:
    """A camera, a playlist that grows; but no file, however it is served."""
    make_hls(tmp_path)
    growing = (tmp_path / "high.m3u8").read_text().replace("#EXT-X-ENDLIST", "")
    (tmp_path / "live.m3u8").write_text(growing)
    make_clip(tmp_path / "clip.ts", 20)
    with io.BytesIO() as parts:
        for picture in make_jpegs(tmp_path):
            parts.write(
                b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n"
                % (len(picture), picture)
            )
        (tmp_path / "camera").write_bytes(parts.getvalue())
    live = {
        "range/live.m3u8": True,
        "range/high.m3u8": False,
        "close/clip.ts": False,
        "parts/camera": True,
    }
    for place, expected in live.items():
        decoder = Decoder(f"{server.address}/{place}")
        assert decoder.is_live is expected, place
        decoder.close()
    with camera() as device:
        decoder = Decoder(device.address)
        assert decoder.is_live
        decoder.close()


def make_jpegs(folder: Path) -> list[bytes]:
    path = make_clip(folder / "pictures.avi", 10, codec="mjpeg", pix_fmt="yuvj420p")
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux() if packet.size]


@pytest.mark.parametrize("transport", ["tcp", "udp", "any"])
def test_a_camera_is_asked_over_tcp_and_then_over_udp(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if transport == "any":
        monkeypatch.setattr("oncue.video.opening.URL_TIMEOUT_S", 2)
    with camera(25, transport=transport) as device:
        source = FileSource(device.address, 1.0)
        grey = [float(batch.pixels.mean()) for batch in itertools.islice(frames_of(source), 2)]
    assert grey == pytest.approx([grey_of(10), grey_of(20)], abs=3)
    assert device.num_asked == (1 if transport == "tcp" else 2)


@pytest.mark.usefixtures("quick")
def test_a_camera_that_drops_is_connected_again_and_reported_when_it_stays_away() -> None:
    times_s: list[float] = []
    with camera(25, num_connections=3) as device, warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("always")
        decoder = Decoder(device.address.replace("rtsp://", "rtsp://me:secret@"))
        with pytest.raises(SourceLostError, match="3 attempts to connect again failed") as lost:
            times_s.extend(time_s for time_s, _ in decoder.frames())
        decoder.close()
    assert len(times_s) == 75
    assert times_s == sorted(times_s)
    assert times_s[-1] >= 7.4  # three times 2.5 s, and the pauses
    said = [str(notice.message) for notice in noticed]
    assert [re.findall(r"attempt (\d) of 3", text) for text in said] == [
        ["1"],
        ["1"],
        ["1"],
        ["2"],
        ["3"],
    ]
    assert "the connection was lost (the server ended it); connecting again in 0.01 s" in said[0]
    assert all("secret" not in text for text in (*said, str(lost.value)))


@pytest.mark.usefixtures("quick")
def test_a_camera_that_opens_but_shows_nothing_more_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with camera(25) as device, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConnectionLostWarning)
        decoder = Decoder(device.address)
        frames = decoder.frames()
        next(frames)
        monkeypatch.setattr(decoder, "_decode", lambda _: [])
        with pytest.raises(SourceLostError):
            list(frames)
        decoder.close()
        assert device.num_asked == 4


def test_a_source_that_waits_for_its_camera_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oncue.video.reconnect.DELAYS_S", (3600,))
    with camera(25) as device:
        decoder = Decoder(device.address)

        def stop(*_: object) -> None:
            decoder.stop()

        monkeypatch.setattr(decoder, "_tell", stop)
        assert len(list(decoder.frames())) == 25
        decoder.close()


def test_a_file_that_is_not_read_to_its_end_is_not_cut_off(tmp_path: Path) -> None:
    decoder = Decoder(make_clip(tmp_path / "clip.mp4", 40))
    frames = decoder.frames()
    next(frames)
    decoder.stop()
    with warnings.catch_warnings():
        warnings.simplefilter("error", CorruptStretchWarning)
        assert len(list(frames)) < 30
    decoder.close()


def test_a_broadcast_ends_where_its_playlist_says_so(tmp_path: Path, server: FileServer) -> None:
    """FFmpeg ends alike where it cannot be reached, and where it has stood still for half a
    minute."""
    (tmp_path / "over.m3u8").write_text("#EXTM3U\n#EXTINF:4,\na.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "on.m3u8").write_text("#EXTM3U\n#EXTINF:4,\na.ts\n")

    def why(name: str, waited_s: float) -> str:
        playlist = SimpleNamespace(
            name=f"{server.address}/length/{name}", format=SimpleNamespace(name="hls")
        )
        return why_ended(playlist.name, playlist, waited_s)  # type: ignore[arg-type]

    assert why("over.m3u8", 30) == ""
    assert why("on.m3u8", 1) == why("gone.m3u8", 30) == "its playlist brought nothing more"
    with pytest.raises(SourceLostError, match="names nothing new"):
        why("on.m3u8", 30)


@pytest.mark.usefixtures("quick")
def test_watching_a_lost_camera_ends_with_what_was_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oncue.commands.watch.Watch._session", lambda *_, **__: SilentPolicy())
    with camera(25, num_connections=1) as device:
        words = ["watch", device.address, "--ask", "hi", "--json", "--out", str(tmp_path)]
        with pytest.warns(ConnectionLostWarning) as noticed:
            assert main(words) == 1
    said = capsys.readouterr()
    summary = json.loads(said.out.splitlines()[-1])
    assert summary["stop"] == "source_lost"
    assert summary["num_turns"] >= 1  # how many depends on how much had arrived when watching began
    assert (tmp_path / "replies.jsonl").is_file()
    assert sum("connecting again" in str(notice.message) for notice in noticed) == 3
    assert said.err.splitlines()[-1].startswith(
        f"oncue: {device.address}: the connection was lost (the server ended it), and 3"
    )
