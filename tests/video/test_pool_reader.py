"""The pool of a video is what decoding all of it gives, however it is read."""

from __future__ import annotations

import itertools
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from media_servers import serving
from video_clips import (
    REAL_CLIPS,
    counting_alive,
    make_audio,
    make_clip,
    make_late_picture,
    make_two_tracks,
    number_of,
    overwrite,
    set_display_matrix,
)

from oncue.errors import CorruptStretchWarning, InputError, VideoError
from oncue.types import FrameBatch
from oncue.video import jumps, pool_reader
from oncue.video.decode import Decoder, frame_to_rgb
from oncue.video.landmarks import find_landmarks
from oncue.video.pool_reader import decode_pool, read_pool, zoom_of

NUM_FRAMES = 100  # ten seconds
X265 = {"x265-params": "keyint=10:log-level=none"}
OPEN_X265 = {"x265-params": "keyint=10:open-gop=1:bframes=3:log-level=none"}
FAST_VP = {"cpu-used": "8", "deadline": "realtime"}
INDEXED, SCANNED, DECODED = "by an index", "by its packets", "all decoded"


def make_unindexed_avi(path: Path) -> Path:
    data = make_clip(path, NUM_FRAMES, codec="mjpeg", pix_fmt="yuvj420p").read_bytes()
    path.write_bytes(data[: data.rindex(b"idx1")])
    return path


def make_edited(path: Path) -> Path:
    """Its edit list leaves out the first 1.5 s and the last 1.3 s, in the middle of a stretch
    between key frames."""
    data = bytearray(make_clip(path, NUM_FRAMES).read_bytes())
    head = data.index(b"elst") + 4
    duration, start = struct.unpack(">Ii", data[head + 8 : head + 16])
    units = 10_240  # a second on the clock of the track
    data[head + 8 : head + 16] = struct.pack(">Ii", duration - 2800, start + int(1.5 * units))
    path.write_bytes(data)
    return path


def make_turned(path: Path) -> Path:
    make_clip(path, NUM_FRAMES)
    set_display_matrix(path, (0, 1, -1, 0))
    return path


def make_joined(path: Path) -> Path:
    parts = [make_clip(path.with_name(f"{k}.ts"), 30) for k in range(2)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def make_cut_off(path: Path) -> Path:
    data = make_clip(path, NUM_FRAMES, container_options={"movflags": "faststart"}).read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    return path


def make_damaged(path: Path, first: int, last: int) -> Path:
    sound = make_clip(path.with_name(f"sound-{path.name}"), NUM_FRAMES)
    return overwrite(sound, first, last, path)


def clip(name: str, num_frames: int = NUM_FRAMES, **more: object) -> tuple[str, Callable]:
    return name, lambda path: make_clip(path, num_frames, **more)  # type: ignore[arg-type]


VFR_MS = [0, 40, 900, 1000, 1040, 3600, 3640, 5000, *range(5100, 7000, 30), 9900, 15_000]
# name -> how to make it, and how it is read
KINDS: dict[str, tuple[tuple[str, Callable], str]] = {
    "h264 with B-frames": (clip("a.mp4"), INDEXED),
    "open groups": (clip("a.mp4", options={"x264-params": "open-gop=1:bframes=3"}), INDEXED),
    "open groups, hevc": (clip("a.mp4", codec="libx265", options=OPEN_X265), INDEXED),
    "open groups, mpeg2": (clip("a.mkv", codec="mpeg2video", options={"bf": "2"}), INDEXED),
    "Matroska": (clip("a.mkv"), INDEXED),
    "Matroska without a length": (clip("a.mkv", container_options={"live": "1"}), SCANNED),
    "fragments": (
        clip("a.mp4", container_options={"movflags": "frag_keyframe+empty_moov"}),
        INDEXED,
    ),
    "one key frame": (clip("a.mp4", options={"g": "999", "sc_threshold": "0"}), DECODED),
    "transport stream": (clip("a.ts"), SCANNED),
    "flv": (clip("a.flv", codec="flv1"), SCANNED),
    "hevc": (clip("a.mp4", codec="libx265", options=X265), INDEXED),
    "vp9": (clip("a.webm", codec="libvpx-vp9", options=FAST_VP), INDEXED),
    "AVI": (clip("a.avi", codec="mpeg4"), SCANNED),
    "AVI with B-frames": (clip("a.avi", codec="mpeg4", options={"bf": "2"}), SCANNED),
    "AVI without an index": (("a.avi", make_unindexed_avi), SCANNED),
    "bare H.264": (clip("a.h264", container_options={}), DECODED),
    "bare MJPEG": (clip("a.mjpeg", codec="mjpeg", pix_fmt="yuvj420p"), SCANNED),
    "late start": (clip("a.mkv", times_ms=[5000 + 100 * i for i in range(60)]), INDEXED),
    "sound before the picture": (("a.mp4", lambda p: make_late_picture(p, 2, 60)), INDEXED),
    "edit list": (("a.mp4", make_edited), INDEXED),
    "variable frame rate": (clip("a.mp4", times_ms=VFR_MS), SCANNED),
    "variable frame rate, Matroska": (clip("a.mkv", times_ms=VFR_MS), SCANNED),
    "turned": (("a.mp4", make_turned), INDEXED),
    "few pictures": (clip("a.mp4", 5), DECODED),
    "one picture": (clip("a.mp4", 1), DECODED),
    "two tracks": (("a.mkv", lambda p: make_two_tracks(p, 1)), DECODED),
    "joined recordings": (("a.ts", make_joined), DECODED),
    "cut off": (("a.mp4", make_cut_off), DECODED),
    "damaged in the middle": (("a.mp4", lambda p: make_damaged(p, 45, 48)), DECODED),
    "damaged, Matroska": (("a.mkv", lambda p: make_damaged(p, 45, 48)), DECODED),
    "damaged at the end": (("a.mp4", lambda p: make_damaged(p, 92, 99)), DECODED),
    "damaged at the beginning": (("a.mp4", lambda p: make_damaged(p, 0, 3)), DECODED),
}


def whole(path: Path | str) -> tuple[list[tuple[float, np.ndarray]], float]:
    """All pictures with their times, and the length: what somebody sees who watches all of it."""
    decoder = Decoder(path, is_quiet=True)
    read = [(time_s, frame_to_rgb(frame)) for time_s, frame in decoder.frames()]
    decoder.close()
    return read, max(decoder.end_s, read[-1][0])


def shown_at(read: list[tuple[float, np.ndarray]], moment_s: float) -> tuple[float, np.ndarray]:
    before = [one for one in read if one[0] <= moment_s + 1e-6]
    return before[-1] if before else (0.0, np.zeros_like(read[0][1]))


def assert_same(
    frames: FrameBatch, read: list[tuple[float, np.ndarray]], moments_s: list[float]
) -> None:
    expected = [shown_at(read, moment_s) for moment_s in moments_s]
    assert frames.pts_s.tolist() == [time_s for time_s, _ in expected]
    assert all(
        (own == picture).all() for own, (_, picture) in zip(frames.pixels, expected, strict=True)
    )


@pytest.fixture(autouse=True)
def one_decoder_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more, FFmpeg may hand out a damaged frame before it is marked, once in some ten runs."""
    monkeypatch.setattr("oncue.video.opening.NUM_THREADS", 1)


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How each pool was read."""
    ways: list[str] = []
    by_jumps, through = pool_reader._read_by_jumps, pool_reader.decode_pool

    def jumping(*given, **named):  # type: ignore[no-untyped-def]
        frames = by_jumps(*given, **named)
        ways.append(INDEXED if given[1].is_indexed else SCANNED)
        return frames

    def decoding(*given, **named):  # type: ignore[no-untyped-def]
        ways.append(DECODED)
        return through(*given, **named)

    monkeypatch.setattr(pool_reader, "_read_by_jumps", jumping)
    monkeypatch.setattr(pool_reader, "decode_pool", decoding)
    return ways


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_is_what_decoding_all_gives(kind: str, tmp_path: Path, way: list[str]) -> None:
    (name, make), expected_way = KINDS[kind]
    path = make(tmp_path / name)
    read, duration_s = whole(path)
    for num_frames in (3, 7, 64):
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore" if expected_way == DECODED else "error", CorruptStretchWarning
            )
            pool = read_pool(path, num_frames)
        assert pool.duration_s == duration_s
        moments_s = [(i + 0.5) * duration_s / num_frames for i in range(num_frames)]
        assert_same(pool.frames, read, moments_s)
    assert way[-1] == expected_way


REAL = [  # two video tracks, a variable rate, an odd AVI
    REAL_CLIPS / name
    for name in (
        "torchcodec_nasa_13013.mp4",
        "codec_fixtures/torchcodec_var_fps.mp4",
        "bgs_video02.avi",
    )
]


@pytest.mark.skipif(
    not REAL_CLIPS.is_dir(), reason="the real clips are not beside this checkout (shared/data)"
)
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_the_pools_of_real_clips(path: Path) -> None:
    pool, expected = read_pool(path, 16), decode_pool(path, 16)
    assert pool.duration_s == expected.duration_s
    assert (pool.frames.pts_s == expected.frames.pts_s).all()
    assert (pool.frames.pixels == expected.frames.pixels).all()


def test_several_readers_give_what_one_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(tmp_path / "a.mp4", NUM_FRAMES)
    read, duration_s = whole(path)
    readers = set()
    for num_cores, expected in ((1, 1), (2, 2), (64, 2)):
        monkeypatch.setattr(pool_reader, "_num_cores", lambda num=num_cores: num)
        readers.clear()

        class Noting(jumps.Jumps):
            def __init__(self, *given: object) -> None:
                super().__init__(*given)  # type: ignore[arg-type]
                readers.add(self)

        monkeypatch.setattr(pool_reader, "Jumps", Noting)
        pool = read_pool(path, 21)
        assert_same(pool.frames, read, [(i + 0.5) * duration_s / 21 for i in range(21)])
        assert len(readers) == expected


def test_a_wrong_picture_would_be_seen(tmp_path: Path) -> None:
    """The control of the law above: one moment that is off by one picture."""
    read, duration_s = whole(make_clip(tmp_path / "a.mp4", NUM_FRAMES))
    pool = read_pool(tmp_path / "a.mp4", 10)
    moments_s = [(i + 0.5) * duration_s / 10 for i in range(10)]
    assert_same(pool.frames, read, moments_s)
    with pytest.raises(AssertionError):
        assert_same(pool.frames, read, [*moments_s[:-1], moments_s[-1] - 0.1])


@pytest.mark.parametrize("kind", ["h264 with B-frames", "open groups", "Matroska", "AVI", "vp9"])
def test_only_what_leads_to_the_frames_is_read(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name, make), _ = KINDS[kind]
    path = make(tmp_path / name)
    num_decoded = 0
    decode = jumps.Jumps._decode

    def counting(self: jumps.Jumps, packet: av.Packet | None) -> list[av.VideoFrame]:
        nonlocal num_decoded
        num_decoded += packet is not None
        return decode(self, packet)

    monkeypatch.setattr(jumps.Jumps, "_decode", counting)
    read_pool(path, 3)
    assert num_decoded < 0.6 * NUM_FRAMES
    num_decoded = 0
    read_pool(path, NUM_FRAMES)
    assert num_decoded >= 0.9 * NUM_FRAMES, "the control: for all pictures all is decoded"


def test_pictures_that_no_other_needs_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(tmp_path / "a.mp4", NUM_FRAMES, options={"bf": "3", "g": "50"})
    read, duration_s = whole(path)
    given = 0

    class Counting(jumps.Jumps):
        def frames(self) -> Iterator[tuple[float, av.VideoFrame]]:
            nonlocal given
            for one in super().frames():
                given += 1
                yield one

    monkeypatch.setattr(pool_reader, "Jumps", Counting)
    numbers = []
    for codecs in (("h264",), ()):
        monkeypatch.setattr(jumps, "SKIPS_UNREFERENCED", codecs)
        given = 0
        pool = read_pool(path, 2)
        assert_same(pool.frames, read, [duration_s / 4, 3 * duration_s / 4])
        numbers.append(given)
    assert numbers[0] < 0.8 * numbers[1]


# Odd files


def test_noise_anywhere_gives_the_frames_of_decoding_all_or_the_true_ones(tmp_path: Path) -> None:
    """Damage that lies where nothing is read is not met: a frame is then the true picture of its
    moment, where decoding all would show an older one."""
    random = np.random.default_rng(0)
    outcomes = set()
    for kind in ("a.mp4", "a.mkv", "a.ts"):
        data = make_clip(tmp_path / f"sound-{kind}", NUM_FRAMES).read_bytes()
        for _ in range(2):
            noisy = np.frombuffer(data, np.uint8).copy()
            places = random.integers(0, len(noisy), len(noisy) // 4000)
            noisy[places] = random.integers(0, 256, len(places))
            path = tmp_path / kind
            path.write_bytes(noisy.tobytes())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CorruptStretchWarning)
                try:
                    read, duration_s = whole(path)
                except VideoError:
                    with pytest.raises(VideoError):
                        read_pool(path, 9)
                    outcomes.add("refused")
                    continue
                pool = read_pool(path, 9)
            for index, (pixels, pts_s) in enumerate(
                zip(pool.frames.pixels, pool.frames.pts_s, strict=True)
            ):
                time_s, picture = shown_at(read, pool.time_of(index))
                if pool.duration_s == duration_s and pts_s == time_s and (pixels == picture).all():
                    outcomes.add("equal")
                else:
                    assert number_of(pixels) == round(10 * pts_s) == int(10 * pool.time_of(index))
                    outcomes.add("true")
    assert {"equal"} <= outcomes


def test_damage_is_said_as_when_watching(tmp_path: Path) -> None:
    path = make_damaged(tmp_path / "a.mp4", 45, 48)
    with pytest.warns(CorruptStretchWarning, match="cannot be decoded and was skipped") as caught:
        read_pool(path, 10)
    assert len(caught) == 1
    with pytest.warns(CorruptStretchWarning, match="cut off") as caught:
        read_pool(make_cut_off(tmp_path / "b.mp4"), 10)
    assert len(caught) == 1, "though it is decoded twice"


def kept(times_s: list[float]) -> pool_reader._Kept:
    return pool_reader._Kept(len(times_s), None)


def test_landmarks_that_lie_are_found_out(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", NUM_FRAMES)
    true = find_landmarks(path)
    assert true is not None
    times_s = [2.5, 7.5]
    for lie in (
        {"zero_s": true.zero_s + 0.3},
        {"zero_s": true.zero_s - 0.3},
        {"keys_s": (0.0, 7.35), "is_indexed": False},  # the next key is behind the moment
        {"keys_s": (0.0, 99.0), "is_indexed": False, "end_s": 300.0},
    ):
        moments_s = [150.0, 299.0] if "end_s" in lie else times_s
        with pytest.raises(jumps.OddVideoError):
            pool_reader._read_by_jumps(path, replace(true, **lie), moments_s, kept(moments_s))
    pool_reader._read_by_jumps(path, true, times_s, kept(times_s))  # control


def test_a_picture_that_does_not_come_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others were skipped for it, so the one before it is not there either."""
    path = make_clip(tmp_path / "a.mp4", NUM_FRAMES)
    landmarks = find_landmarks(path)
    assert landmarks is not None
    pool_reader._read_by_jumps(path, landmarks, [5.35], kept([5.35]))  # control
    decode = jumps.Jumps._decode
    monkeypatch.setattr(
        jumps.Jumps,
        "_decode",
        lambda *given: [frame for frame in decode(*given) if abs(frame.time - 5.3) > 0.01],
    )
    with pytest.raises(jumps.OddVideoError, match="was not shown"):
        pool_reader._read_by_jumps(path, landmarks, [5.35], kept([5.35]))


# Sizes and memory


def test_frames_are_shrunk_as_they_come(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", 20)
    seen = []

    def small(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels.shape)
        return pixels[::4, ::4]

    pool, full = read_pool(path, 40, shrink=small), read_pool(path, 40)
    assert pool.frames.pixels.shape == (40, 16, 40, 3)
    assert (pool.frames.pixels == full.frames.pixels[:, ::4, ::4]).all()
    assert seen == 20 * [(64, 160, 3)], "once for each picture"
    sizes = itertools.count(8)
    with pytest.raises(ValueError, match=r"one size, got .9, 9, 3. and .8, 8, 3"):
        read_pool(path, 4, shrink=lambda p: p[: (n := next(sizes)), :n])


@pytest.mark.parametrize("kind", ["Matroska", "bare H.264"])  # by jumps; by decoding all
def test_reading_says_how_far_it_is(kind: str, tmp_path: Path) -> None:
    name, make = KINDS[kind][0]
    nums: list[int] = []
    read_pool(make(tmp_path / name), 21, on_frames=nums.append)
    assert nums[-1] == 21
    assert nums == sorted(set(nums))
    assert len(nums) > 2


def test_the_frames_of_a_pool_have_the_size_of_the_first_picture(tmp_path: Path) -> None:
    parts = [
        make_clip(tmp_path / f"{i}.ts", 30, size=s) for i, s in enumerate([(64, 160), (128, 320)])
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CorruptStretchWarning)
        assert read_pool(joined, 6).frames.pixels.shape == (6, 64, 160, 3)


def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    def most_alive(path: Path) -> int:
        most = 0

        def count(pixels: np.ndarray) -> np.ndarray:
            nonlocal most
            most = max(most, num_alive())
            return pixels

        with counting_alive() as num_alive:
            read_pool(path, 2, shrink=count)
        return most

    short, long = (most_alive(make_clip(tmp_path / f"{n}.mp4", n)) for n in (60, 240))
    assert 0 < long <= short + 4


# Addresses, and bad input


def test_a_pool_over_http(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", NUM_FRAMES, container_options={"movflags": "faststart"})
    read, duration_s = whole(path)
    moments_s = [(i + 0.5) * duration_s / 4 for i in range(4)]
    with serving(tmp_path) as server:
        for manner in ("range", "length", "chunked"):
            pool = read_pool(f"{server.address}/{manner}/a.mp4", 4)
            assert_same(pool.frames, read, moments_s)


def test_what_is_no_video_with_an_end_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.mp4").write_text("nothing to see\n" * 50)
    make_audio(tmp_path / "sound.m4a")
    path = make_clip(tmp_path / "a.mkv")
    overwrite(path, 0, 39, tmp_path / "none.mkv")
    cases = {
        "missing.mp4": "cannot be read",
        "text.mp4": "cannot be opened as a video|text file",
        "sound.m4a": "no video track",
        "none.mkv": "no frame that can be decoded|cannot be opened|no video track",
    }
    for name, message in cases.items():
        for use in (lambda p: read_pool(p, 8), lambda p: zoom_of(p)(0.0, 1.0, 3)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CorruptStretchWarning)
                with pytest.raises(VideoError, match=message) as caught:
                    use(tmp_path / name)
            assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="at least 1 frame, got 0"):
        read_pool(path, 0)
    monkeypatch.setattr("oncue.video.decode.is_live", lambda *_: True)
    for use in (lambda: read_pool(path, 8), lambda: decode_pool(path, 8), lambda: zoom_of(path)):
        with pytest.raises(InputError, match=r"is live: .* record a part of it"):
            use()


# Zoom


@pytest.mark.parametrize("kind", ["open groups", "transport stream", "bare H.264", "turned"])
def test_a_zoom_is_what_decoding_all_gives(kind: str, tmp_path: Path) -> None:
    (name, make), _ = KINDS[kind]
    path = make(tmp_path / name)
    read, duration_s = whole(path)
    zoom = zoom_of(path)
    for start_s, end_s, num_frames in (
        *((2.0, 5.0, 30), (7.05, 7.05, 1), (7.0, 7.3, 7)),
        *((-2.0, 1.0, 9), (duration_s - 1, duration_s + 5, 6), (0.0, duration_s, 4)),
    ):
        frames = zoom(start_s, end_s, num_frames)
        step_s = (end_s - start_s) / num_frames
        moments_s = [max(0.0, start_s + (i + 0.5) * step_s) for i in range(num_frames)]
        assert_same(frames, read, moments_s)


def test_a_zoom_over_damage_is_what_decoding_all_gives(tmp_path: Path) -> None:
    path = make_damaged(tmp_path / "a.mp4", 45, 48)
    read, _ = whole(path)
    zoom = zoom_of(path, shrink=lambda pixels: pixels[:32])
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CorruptStretchWarning)
            frames = zoom(4.0, 6.0, 20)
        moments_s = [4.05 + 0.1 * i for i in range(20)]
        assert_same(frames, [(t, pixels[:32]) for t, pixels in read], moments_s)


def test_a_zoom_into_nothing_is_refused(tmp_path: Path) -> None:
    zoom = zoom_of(make_clip(tmp_path / "a.mp4", 20))
    for start_s, end_s in ((1.0, 0.5), (0.0, float("nan")), (0.0, float("inf"))):
        with pytest.raises(InputError, match="from an earlier to a later time"):
            zoom(start_s, end_s, 4)
    with pytest.raises(InputError, match="at least 1 frame, got 0"):
        zoom(0.0, 1.0, 0)
