"""Real decoding: containers, codecs, times, rotation, tracks, sizes, damage, bad input."""

from __future__ import annotations

import functools
import http.server
import itertools
import math
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from video_clips import (
    REAL_CLIPS,
    counting_alive,
    make_audio,
    make_clip,
    make_late_picture,
    make_two_tracks,
    number_of,
    overwrite,
    picture,
    set_display_matrix,
)

from oncue.dialogue.frames import load_frames
from oncue.errors import CorruptStretchWarning, VideoError
from oncue.video.decode import Decoder, decode, frame_to_rgb
from oncue.video.packets import packets_of
from oncue.video.probe import probe
from oncue.video.source import FileSource, frames_of, open_source
from oncue.video.writer import write_video

KINDS = {
    "h264.mp4": {"container_options": {"movflags": "faststart"}},
    "h264.mkv": {"container_options": {"cluster_time_limit": "500"}},
    "h264.ts": {},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "keyint=10:log-level=none"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "vp8.webm": {"codec": "libvpx", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
}


@functools.cache
def clip_bytes(kind: str, folder: Path) -> Path:
    return make_clip(folder / kind, **KINDS[kind])


@pytest.fixture(scope="session")
def clip_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A sound clip of 40 frames, 4 s, of each kind; made once."""
    return functools.partial(clip_bytes, folder=tmp_path_factory.mktemp("clips"))


def numbers(path: Path, interval_s: float) -> list[int]:
    return [number_of(b.pixels[0]) for b in frames_of(FileSource(path, interval_s))]


def wrong(path: Path) -> list[tuple[float, int]]:
    """The frames of a 10 fps clip whose picture does not belong to their time."""
    read = [(t, number_of(frame_to_rgb(f))) for t, f in decode(path)]
    return [(t, n) for t, n in read if round(t * 10) != n]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_shows_the_right_picture_at_every_tick(
    kind: str, clip_of: Callable[[str], Path]
) -> None:
    path = clip_of(kind)
    assert numbers(path, 0.5) == [5, 10, 15, 20, 25, 30, 35, 39]
    assert not wrong(path)
    info = probe(path)
    assert (info.height_px, info.width_px, info.num_video_tracks, info.num_audio_tracks) == (
        64,
        160,
        1,
        0,
    )
    assert info.duration_s == pytest.approx(4.0, abs=0.11)


def test_the_number_of_a_picture_is_read_right_and_a_wrong_one_seen(
    clip_of: Callable[[str], Path],
) -> None:
    assert [number_of(picture(n)) for n in (0, 1, 77, 255)] == [0, 1, 77, 255]
    shifted = [(t + 0.1, number_of(frame_to_rgb(f))) for t, f in decode(clip_of("h264.mp4"))]
    assert all(round(t * 10) != n for t, n in shifted)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_frame_rate(suffix: str, tmp_path: Path) -> None:
    times_ms = [0, 40, 900, 1000, 1040, 3600, 3640, 7200]
    path = make_clip(tmp_path / f"vfr.{suffix}", times_ms=times_ms)
    ticks = [1000 * (k + 1) for k in range(len(numbers(path, 1.0)))]
    assert numbers(path, 1.0) == [
        max(i for i, t in enumerate(times_ms) if t <= tick) for tick in ticks
    ]
    assert len(ticks) == 8
    assert [b.pts_s[0] for b in frames_of(FileSource(path, 1.0))][:4] == pytest.approx(
        [1.0, 1.04, 1.04, 3.64]
    )


def test_times_start_at_the_first_picture(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "late.mkv", times_ms=[5000 + 100 * i for i in range(20)])
    assert [b.pts_s[0] for b in frames_of(FileSource(path, 1.0))] == pytest.approx([1.0, 1.9])


@pytest.mark.parametrize(
    ("matrix", "upright", "rotation_deg"),
    [
        ((1, 0, 0, 1), lambda p: p, 0),
        ((0, 1, -1, 0), lambda p: np.rot90(p, -1), 90),
        ((-1, 0, 0, -1), lambda p: np.rot90(p, 2), 180),
        ((0, -1, 1, 0), lambda p: np.rot90(p, 1), 270),
        ((-1, 0, 0, 1), lambda p: p[:, ::-1], None),
    ],
)
def test_rotation_and_mirroring_are_applied(
    tmp_path: Path, matrix: tuple[int, int, int, int], upright: Callable, rotation_deg: int | None
) -> None:
    path = make_clip(tmp_path / "turned.mp4", 10, options={"crf": "5"})
    set_display_matrix(path, matrix)
    batch = FileSource(path, 1.0).read()
    expected = upright(picture(9))
    assert batch is not None
    assert batch.pixels.shape[1:] == expected.shape
    assert np.abs(batch.pixels[0].astype(int) - expected).mean() < 12
    assert np.abs(batch.pixels[0].astype(int) - expected[::-1, ::-1]).mean() > 40, (
        "the other way up is far off"
    )
    info = probe(path)
    assert (info.height_px, info.width_px) == expected.shape[:2]
    assert rotation_deg is None or info.rotation_deg == rotation_deg


@pytest.mark.parametrize("size", [(65, 161), (64, 129), (31, 160)])
def test_odd_sizes_are_kept(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "odd.mp4"
    write_video(path, (picture(i, *size) for i in range(10)), 10.0)
    batch = FileSource(path, 1.0).read()
    assert batch is not None
    assert batch.pixels.shape == (1, *size, 3)
    assert number_of(batch.pixels[0]) == 9


@pytest.mark.parametrize(("default_track", "size"), [(0, (64, 160)), (1, (96, 192))])
def test_the_default_track_is_watched(
    tmp_path: Path, default_track: int, size: tuple[int, int]
) -> None:
    source = FileSource(make_two_tracks(tmp_path / "two.mkv", default_track), 1.0)
    assert (source.info.height_px, source.info.width_px) == size
    assert source.info.num_video_tracks == 2
    assert [number_of(b.pixels[0]) for b in frames_of(source)] == [10, 19]


def test_a_track_of_one_picture_does_not_hide_another(tmp_path: Path) -> None:
    """An animated AVIF holds its first picture once more, as an item of its own; others have a
    still as default."""
    animated = make_clip(
        tmp_path / "animated.avif", 20, codec="libsvtav1", options={"preset": "12", "crf": "20"}
    )
    assert numbers(animated, 0.5) == [5, 10, 15, 19]
    source = FileSource(make_two_tracks(tmp_path / "two.mp4", 0, num_frames=(1, 20)), 1.0)
    assert [number_of(b.pixels[0]) for b in frames_of(source)] == [10, 19]
    assert numbers(make_clip(tmp_path / "one.mp4", 1), 1.0) == [0]


def test_pictures_keep_the_size_of_the_first(tmp_path: Path) -> None:
    parts = [
        make_clip(tmp_path / f"{i}.ts", 30, size=size)
        for i, size in enumerate([(64, 160), (128, 320)])
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(p.read_bytes() for p in parts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CorruptStretchWarning)
        batches = list(frames_of(FileSource(joined, 0.5)))
    assert {b.pixels.shape for b in batches} == {(1, 64, 160, 3)}
    times_s = [float(b.pts_s[0]) for b in batches]
    assert times_s == sorted(times_s)
    assert len(batches) >= 10, (
        "the second recording starts its count anew and is watched all the same"
    )
    moments = [f"{joined}#t={0.5 * (k + 1)}" for k in range(len(batches))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CorruptStretchWarning)
        for batch, frame in zip(batches, load_frames(moments), strict=True):
            assert (batch.pixels[0] == frame).all(), "a dialogue shows what a watcher sees"


@pytest.mark.parametrize("gap_s", [30, 600], ids=["half a minute", "ten minutes"])
def test_what_was_cut_out_of_a_recording_takes_no_time(tmp_path: Path, gap_s: int) -> None:
    """Broadcasts are cut by leaving bytes out, and joined by writing one behind the other: their
    times jump."""
    first = make_clip(tmp_path / "a.ts", 20)
    later = make_clip(tmp_path / "b.ts", times_ms=[gap_s * 1000 + 100 * k for k in range(20)])
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + later.read_bytes())
    with pytest.warns(CorruptStretchWarning) as told:
        assert 5 <= len(list(frames_of(FileSource(joined, 0.5)))) <= 8
    messages = [str(warning.message) for warning in told]
    assert any("which is left out" in message for message in messages)
    assert any("was skipped" in message for message in messages), (
        "some pictures at the joint are lost"
    )
    long_still = make_clip(
        tmp_path / "slides.mkv", times_ms=[0, 30_000]
    )  # control: a picture may stand for long
    assert len(list(frames_of(FileSource(long_still, 10.0)))) == 4


def test_a_padded_transport_stream_whose_rate_varies_is_not_taken_for_a_damaged_one(
    tmp_path: Path,
) -> None:
    times_ms = [40 * k for k in range(150) if k % 9 not in (3, 4)]
    path = make_clip(
        tmp_path / "padded.ts", times_ms=times_ms, container_options={"muxrate": "500000"}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", CorruptStretchWarning)
        assert sum(1 for _ in decode(path)) == len(times_ms)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 188 * 188
    data[middle : middle + 40 * 188] = bytes(40 * 188)  # control
    path.write_bytes(data)
    with pytest.warns(CorruptStretchWarning):
        assert sum(1 for _ in decode(path)) < len(times_ms)


def test_a_picture_that_begins_later_than_the_sound_is_not_cut_off(tmp_path: Path) -> None:
    path = make_late_picture(tmp_path / "late.flv", late_s=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CorruptStretchWarning)
        source = FileSource(path, 1.0)
        assert [number_of(b.pixels[0]) for b in frames_of(source)] == [10, 20, 29]
    assert source.duration_s == pytest.approx(3.0, abs=0.2)
    for kind in (
        "flv",
        "mp4",
        "mkv",
        "ts",
    ):  # a player shows the first picture two seconds after it begins
        late = FileSource(make_late_picture(tmp_path / f"late.{kind}", late_s=2), 1.0)
        assert late.second_0_s == pytest.approx(2.0, abs=0.15), kind
        late.close()
    assert FileSource(make_clip(tmp_path / "clip.mp4"), 1.0).second_0_s == pytest.approx(
        0.0, abs=0.11
    )


def test_the_end_of_a_video_is_known_once_it_was_read(
    clip_of: Callable[[str], Path], tmp_path: Path
) -> None:
    unfinished = make_clip(tmp_path / "unfinished.mkv", container_options={"live": "1"})
    cut_off = tmp_path / "cut.mp4"
    data = clip_of("h264.mp4").read_bytes()
    cut_off.write_bytes(data[: int(len(data) * 0.6)])
    parts = [make_clip(tmp_path / f"{k}.ts", 20) for k in range(2)]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    for path, at_first_s, in_the_end_s in (
        (clip_of("h264.mp4"), 4.0, (4.0, 4.0)),
        (unfinished, None, (3.9, 4.1)),
        (cut_off, 4.0, (1.5, 3.0)),
        (joined, 2.0, (3.0, 4.1)),
    ):
        source = FileSource(path, 1.0)
        assert source.end_s == pytest.approx(at_first_s, abs=0.11)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CorruptStretchWarning)
            num_frames = len(list(frames_of(source)))
        assert source.end_s is not None
        assert in_the_end_s[0] <= source.end_s <= in_the_end_s[1], path.name
        assert num_frames - 1 <= source.end_s <= num_frames, (
            "the last frame reaches to the end, or beyond"
        )


def test_a_connection_that_is_lost_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(make_clip(tmp_path / "clip.ts"))
    container = decoder.container

    class Dying:
        format = container.format

        def demux(self) -> Iterator[av.Packet]:
            yield from itertools.islice(container.demux(), 25)
            raise av.error.ConnectionResetError(104, "Connection reset by peer")

        def close(self) -> None:
            container.close()

    monkeypatch.setattr(decoder, "container", Dying())
    monkeypatch.setattr("oncue.video.decode.is_url", lambda _: True)
    with pytest.warns(
        CorruptStretchWarning, match=r"connection was lost at 2\.\d\d s \(Connection reset"
    ) as told:
        shown = sum(1 for _ in decoder.frames())
    decoder.close()
    assert (len(told), shown) == (1, 25)


def test_packets_of_a_track_that_turns_up_on_the_way_are_left_out(
    clip_of: Callable[[str], Path],
) -> None:
    """PyAV raises IndexError for them; noise in a transport stream may look like one."""
    with av.open(str(clip_of("h264.ts"))) as container:

        class Surprised:
            num_left = 2

            def demux(self) -> Iterator[av.Packet]:
                yield from itertools.islice(container.demux(), 15)
                if self.num_left:
                    self.num_left -= 1
                    raise IndexError("list index out of range")
                yield from container.demux()

        packets = list(packets_of(Surprised()))  # type: ignore[arg-type]
        assert len(packets) == 40
        assert all(packet.size for packet in packets)


def test_a_file_address_may_have_escapes_in_it(
    clip_of: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "my videos" / "a b.mp4"
    path.parent.mkdir()
    shutil.copy(clip_of("h264.mp4"), path)
    assert path.as_uri().endswith("my%20videos/a%20b.mp4")
    for address in (path.as_uri(), f"file://{path}"):
        source = FileSource(address, 1.0)
        assert source.read() is not None
        source.close()


# Damage


@pytest.mark.parametrize("kind", KINDS)
def test_a_corrupt_stretch_is_skipped_and_the_rest_watched(
    kind: str, clip_of: Callable[[str], Path], tmp_path: Path
) -> None:
    path = overwrite(clip_of(kind), 15, 18, tmp_path / kind)
    with pytest.warns(CorruptStretchWarning, match=r"from \d\.\d\d s to \d\.\d\d s") as caught:
        assert not wrong(path), "a picture was smeared or at the wrong time"
    stretch = [
        float(word) for word in str(caught[0].message).split() if word.replace(".", "").isdigit()
    ]
    assert 1.0 <= stretch[0] <= 1.9, "packets 15 to 18 are damaged"
    assert stretch[0] <= stretch[1] <= 3.0, "there are key frames at 2 s and 3 s"
    with pytest.warns(CorruptStretchWarning):
        read = numbers(path, 0.5)
    assert len(read) == 8, "time passes over the damage"
    assert (read[0], read[-1]) == (5, 39)


@pytest.mark.parametrize("kind", ["slower.ts", "gaps.ts", "alpha8.webm", "alpha9.webm"])
def test_a_sound_file_is_not_taken_for_a_damaged_one(kind: str, tmp_path: Path) -> None:
    """Rates that vary in a transport stream, and pictures beside which an alpha channel is
    stored."""
    times_ms = {
        "slower.ts": [*range(0, 2000, 40), *range(2000, 6000, 80)],
        "gaps.ts": [40 * i for i in range(150) if i % 9 not in (3, 4)],
    }.get(kind, [100 * i for i in range(60)])
    if kind.endswith(".webm"):
        codec = "libvpx" if kind == "alpha8.webm" else "libvpx-vp9"
        options = {"auto-alt-ref": "0", "b": "1M", "deadline": "realtime"}
        make_clip(
            tmp_path / kind, times_ms=times_ms, codec=codec, options=options, pix_fmt="yuva420p"
        )
    else:
        make_clip(
            tmp_path / kind, times_ms=times_ms, size=(240, 320), options={"bf": "0", "crf": "10"}
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error", CorruptStretchWarning)
        shown = [number_of(frame_to_rgb(frame)) for _, frame in decode(tmp_path / kind)]
    assert shown == list(range(len(times_ms)))


def test_an_unguarded_decoder_shows_smeared_pictures(
    clip_of: Callable[[str], Path], tmp_path: Path
) -> None:
    """The damage of the test above is real: read without care, the same file shows wrong pictures
    or fails."""
    path = overwrite(clip_of("h264.mp4"), 15, 18, tmp_path / "bad.mp4")
    read: list[tuple[float, int]] = []
    num_errors = 0
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            try:
                read += [(f.time, number_of(f.to_ndarray(format="rgb24"))) for f in packet.decode()]
            except av.FFmpegError:
                num_errors += 1
    assert num_errors
    assert any(round(t * 10) != n for t, n in read)


@pytest.mark.parametrize("kind", ["h264.mp4", "h264.mkv", "vp8.webm"])
def test_a_file_cut_off_ends_where_its_data_ends(
    kind: str, clip_of: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / kind
    data = clip_of(kind).read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    with pytest.warns(CorruptStretchWarning, match="to 4.00 s has no data"):
        assert not wrong(path)
    with pytest.warns(CorruptStretchWarning, match="cut off"):
        assert 4 <= len(numbers(path, 0.5)) <= 6


def test_a_damaged_beginning_is_black_and_moves_no_time(
    clip_of: Callable[[str], Path], tmp_path: Path
) -> None:
    path = overwrite(clip_of("h264.mp4"), 0, 3, tmp_path / "bad.mp4")
    with pytest.warns(CorruptStretchWarning, match="from 0.00 s to 1.00 s"):
        batches = list(frames_of(FileSource(path, 0.5)))
    assert int(batches[0].pixels.max()) == 0
    assert [number_of(b.pixels[0]) for b in batches[1:]] == [10, 15, 20, 25, 30, 35, 39]


def test_noise_anywhere_neither_hangs_nor_crashes(
    clip_of: Callable[[str], Path], tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    outcomes = set()
    for kind in ("h264.mp4", "h264.mkv", "mpeg4.avi", "h264.ts"):
        data = clip_of(kind).read_bytes()
        for _ in range(6):
            noisy = np.frombuffer(data, np.uint8).copy()
            noisy[random.integers(0, len(noisy), len(noisy) // 2000)] = random.integers(
                0, 256, len(noisy) // 2000
            )
            path = tmp_path / kind
            path.write_bytes(noisy.tobytes())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CorruptStretchWarning)
                try:
                    times_s = [t for t, _ in decode(path)]
                    assert times_s == sorted(times_s)
                    outcomes.add("watched")
                except VideoError:
                    outcomes.add("refused")
    assert "watched" in outcomes


# Bad input


def test_bad_input_is_one_clear_message(tmp_path: Path) -> None:
    text = "nothing to see here\n" * 50
    (tmp_path / "text.txt").write_text(text)
    (tmp_path / "text.mp4").write_text(text)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(50_000))
    (tmp_path / "empty.mp4").touch()
    os.mkfifo(tmp_path / "pipe.mp4")
    make_audio(tmp_path / "sound.m4a")
    cases = {
        "missing.mp4": "cannot be read",
        ".": "is a folder",
        "text.txt": "is a text file",
        "text.mp4": "cannot be opened as a video|text file",
        "noise.mp4": "cannot be opened as a video|no video track|no frame",
        "empty.mp4": "is empty",
        "pipe.mp4": "not a regular file",
        "sound.m4a": "no video track .only audio",
        "bad\0name.mp4": "cannot be read",
    }
    for name, message in cases.items():
        for use in (lambda spec: open_source(spec, 1.0), probe, lambda spec: list(decode(spec))):
            with pytest.raises(VideoError, match=message) as caught:
                use(str(tmp_path / name) if name != "." else str(tmp_path))
            assert "\n" not in str(caught.value)


def test_a_video_without_frames(clip_of: Callable[[str], Path], tmp_path: Path) -> None:
    path = overwrite(clip_of("h264.mkv"), 0, 39, tmp_path / "none.mkv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CorruptStretchWarning)
        with pytest.raises(
            VideoError, match=r"no frame that can be decoded|cannot be opened|no video track"
        ):
            FileSource(path, 1.0)


def test_a_name_with_a_colon_or_a_percent_sign_is_a_file(tmp_path: Path) -> None:
    for name in ("a:b.mp4", "100%03d.mp4", "с пробелом.mp4"):
        path = make_clip(tmp_path / "clip.mp4", 10).rename(tmp_path / name)
        assert numbers(path, 1.0) == [9]


def test_cover_art_is_no_video_track(tmp_path: Path) -> None:
    """A track of one picture is refused when, and only when, it is marked as attached."""
    for mark, tracks in (
        (av.stream.Disposition.attached_pic, 0),
        (av.stream.Disposition.default, 1),
    ):
        path = tmp_path / "cover.mp4"
        with av.open(str(path), "w") as container:
            sound = container.add_stream("aac", rate=16_000)
            cover = container.add_stream("mjpeg", rate=1)
            cover.height, cover.width, cover.pix_fmt, cover.disposition = 64, 160, "yuvj420p", mark
            frame = av.VideoFrame.from_ndarray(picture(3), format="rgb24").reformat(
                format="yuvj420p"
            )
            container.mux(cover.encode(frame))
            container.mux(cover.encode(None))
            tone = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            tone.sample_rate = 16_000
            container.mux(sound.encode(tone))
            container.mux(sound.encode(None))
        if tracks:
            assert probe(path).num_video_tracks == 1
        else:
            with pytest.raises(VideoError, match="no video track"):
                probe(path)


# Sources over files


def test_memory_does_not_grow_with_the_length(
    clip_of: Callable[[str], Path], tmp_path: Path
) -> None:
    def most_alive(num_frames: int) -> int:
        path = make_clip(tmp_path / f"{num_frames}.mp4", num_frames)
        with counting_alive() as num_alive:
            return max(num_alive() for _ in frames_of(FileSource(path, 0.5)))

    short, long = most_alive(20), most_alive(200)
    assert 0 < long <= short + 4
    with counting_alive() as num_alive:
        kept = list(decode(clip_of("h264.mp4")))
        assert num_alive() >= len(kept) == 40, "kept frames would be counted"


def test_closing_while_another_thread_reads(clip_of: Callable[[str], Path]) -> None:
    for _ in range(20):
        source = FileSource(clip_of("h264.mp4"), 0.1)
        reader = threading.Thread(
            target=lambda s=source: [None for _ in iter(s.read, None)], daemon=True
        )
        reader.start()
        source.close()
        reader.join(5)
        assert not reader.is_alive()
        assert source.read() is None


def test_a_file_over_http(clip_of: Callable[[str], Path]) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    path = clip_of("h264.mp4")
    handler = functools.partial(Quiet, directory=str(path.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        batches = list(frames_of(open_source(address + path.name, 1.0)))
        with pytest.raises(VideoError, match="Check the address"):
            open_source(address + "missing.mp4", 1.0)
        server.shutdown()
    assert [number_of(b.pixels[0]) for b in batches] == [10, 20, 30, 39]


# Writing


def test_written_frames_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "clip.mp4"
    write_video(path, (picture(i) for i in range(30)), 10.0, crf=10)
    read = [(t, frame_to_rgb(f)) for t, f in decode(path)]
    assert [t for t, _ in read] == pytest.approx([i / 10 for i in range(30)])
    assert max(np.abs(p.astype(int) - picture(i)).mean() for i, (_, p) in enumerate(read)) < 12
    assert probe(path).duration_s == pytest.approx(3.0)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    for frames, message in (
        ([], "no frames"),
        ([picture(0), picture(1, 32, 160)], "like the first"),
    ):
        with pytest.raises(VideoError, match=message):
            write_video(path, frames, 10.0)
    with pytest.raises(VideoError, match="frame_rate"):
        write_video(path, [picture(0)], 0.0)
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]
    assert path.read_bytes() == b"old"


# Real clips

REAL = sorted(p for p in REAL_CLIPS.rglob("*") if p.is_file()) if REAL_CLIPS.is_dir() else []
MOST_READ = 10  # grid frames of a clip; enough, and quick


@pytest.mark.skipif(
    not REAL, reason="the real clips are not beside this checkout (../shared/data/videos)"
)
@pytest.mark.parametrize("path", REAL, ids=lambda p: p.name)
def test_real_clips_follow_the_grid(path: Path) -> None:
    """Every clip reads without a warning and shows at each tick what a full decode says it must.

    That goes for the one with a spoilt last second too: it was spoilt before it was encoded, and
    its stream is sound.
    """
    source = FileSource(path, 1.0)
    read = [float(b.pts_s[0]) for b in itertools.islice(frames_of(source), MOST_READ)]
    assert source.duration_s is not None
    assert len(read) == min(MOST_READ, math.ceil(source.duration_s - 1e-6))
    times_s = list(itertools.takewhile(lambda t: t <= MOST_READ, (t for t, _ in decode(path))))
    assert read == [max(t for t in times_s if t <= k + 1 + 1e-6) for k in range(len(read))]
