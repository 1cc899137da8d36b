"""Times that containers get wrong, and lost bytes that only positions show. Frames and packets are
made by hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest
from video_clips import make_clip, number_of

from oncue.video.damage import MAX_UNSEEN_BYTES, TS_PART_BYTES, LostBytes
from oncue.video.decode import decode, frame_to_rgb
from oncue.video.timeline import AHEAD_JUMP_S, SPLICE_S, Timeline

BASE = Fraction(1, 10)
STREAM = SimpleNamespace(
    average_rate=10, guessed_rate=10, time_base=BASE, start_time=0, id=256, index=0
)


def frame(pts: int | None, dts: int | None = None) -> SimpleNamespace:
    return SimpleNamespace(pts=pts, dts=dts, time_base=BASE, duration=1)


def placed(
    frames: list[SimpleNamespace], declared_s: float | None = None, name: str = "mov,mp4"
) -> list[float]:
    timeline = Timeline(STREAM, declared_s, name)
    return [timeline.place(one, damaged_start=False) for one in frames]


# Times of frames


def test_decoding_times_stand_in_where_showing_times_go_back() -> None:
    """In AVI with reordered frames FFmpeg gives the time of storing for that of showing."""
    pts, dts = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8], list(range(10))
    assert placed([frame(p, d) for p, d in zip(pts, dts, strict=True)])[5:] == pytest.approx(
        [0.5, 0.6, 0.7, 0.8, 0.9]
    )
    sound = [frame(p, d) for p, d in zip(range(10), [0, 2, 1, 4, 3, 6, 5, 8, 7, 9], strict=True)]
    assert placed(sound) == pytest.approx([k / 10 for k in range(10)])
    assert placed([frame(None, d) for d in range(3, 6)]) == pytest.approx([0.0, 0.1, 0.2]), (
        "no showing times at all"
    )
    assert placed([frame(5), frame(None), frame(None)]) == pytest.approx([0.0, 0.1, 0.2]), (
        "and none of either kind"
    )


def test_an_avi_of_reordered_frames_shows_each_at_its_time(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "reordered.avi", codec="mpeg4", options={"bf": "2"})
    read = [(time_s, number_of(frame_to_rgb(one))) for time_s, one in decode(path)]
    assert [number for _, number in read] == list(range(40))
    assert all(abs(time_s - number / 10) < 0.11 for time_s, number in read)


@pytest.mark.parametrize(
    ("name", "declared_s", "still_s"),
    [
        ("mov,mp4", 100.0, 80.0),
        ("matroska,webm", 7200.0, 5000.0),  # slides
        ("matroska,webm", None, 0.0),  # a recording that was never finished
        ("mov,mp4", 30.0, 0.0),  # further than declared
        ("mpegts", 100.0, 0.0),  # which declares its last time stamp
        ("flv", 100.0, 0.0),
        ("hls", 100.0, 0.0),
    ],
)
def test_a_step_ahead_is_time_only_where_a_declared_length_vouches_for_it(
    name: str, declared_s: float | None, still_s: float
) -> None:
    step_s = still_s or 80.0
    timeline = Timeline(STREAM, declared_s, name)
    times_s = [timeline.place(frame(k), damaged_start=False) for k in (0, 1, 1 + int(step_s * 10))]
    assert times_s == pytest.approx([0.0, 0.1, 0.1 + still_s if still_s else 0.2])
    assert timeline.is_joined is not bool(still_s)
    assert timeline.left_out_s == pytest.approx(0.0 if still_s else step_s - 0.1)
    short_s = SPLICE_S - 0.5  # control: everywhere a picture may stay for a while
    assert placed([frame(0), frame(int(short_s * 10))], declared_s, name)[1] == pytest.approx(
        short_s
    )


def test_what_a_live_source_was_silent_for_is_time() -> None:
    for passed_s, expected_s in ((30.5, 30.0), (1.0, 0.1)):
        timeline = Timeline(STREAM, None, "rtsp")
        timeline.place(frame(0), damaged_start=False)
        assert timeline.place(frame(300), damaged_start=False, passed_s=passed_s) == pytest.approx(
            expected_s
        )


def test_lost_time_is_believed_up_to_an_hour_beyond_what_is_declared() -> None:
    for declared_s in (None, 7200.0):
        bound_s = (declared_s or 0.0) + AHEAD_JUMP_S
        for ahead_s, is_joined in ((bound_s - 1, False), (bound_s + 1, True)):
            timeline = Timeline(STREAM, declared_s, "mpegts")
            timeline.place(frame(0), damaged_start=False)
            timeline.place(frame(int(ahead_s * 10)), damaged_start=False, is_time_lost=True)
            assert timeline.is_joined is is_joined


# Lost bytes


def packet(pos: int, size: int, dts: int | None = None, track: int = 0) -> SimpleNamespace:
    return SimpleNamespace(
        pos=pos,
        size=size,
        dts=dts,
        pts=dts,
        duration=10,
        stream_index=track,
        iter_sidedata=lambda: iter(()),
    )


def lost(
    container_name: str, packets: list[SimpleNamespace], path: Path | None = None
) -> list[bool]:
    lost_bytes = LostBytes(container_name, STREAM, path)  # type: ignore[arg-type]
    return [lost_bytes.before(one) for one in packets]


def transport(path: Path, parts: dict[int, bytes], num_parts: int, head: bytes = b"") -> Path:
    """A transport stream of padding, but for the given parts; before each part stands `head` (as on
    discs)."""
    padding = b"\x47\x1f\xff\x10".ljust(TS_PART_BYTES, b"\xff")
    path.write_bytes(b"".join(head + parts.get(k, padding) for k in range(num_parts)))
    return path


NOISE = bytes(TS_PART_BYTES)  # not even the first byte is right
OWN = b"\x47\x01\x00\x10".ljust(TS_PART_BYTES, b"\xff")  # a part of the track itself (PID 256)


@pytest.mark.parametrize("part", [NOISE, OWN], ids=["broken", "of the track"])
def test_broken_parts_of_a_transport_stream_are_a_loss_only_where_decoding_times_jump(
    part: bytes, tmp_path: Path
) -> None:
    path = transport(tmp_path / "a.ts", dict.fromkeys(range(2, 20), part), 30)
    behind = 20 * TS_PART_BYTES
    assert lost("mpegts", [packet(0, 184, 0), packet(behind, 184, 100)], path) == [False, True]
    assert lost("mpegts", [packet(0, 184, 0), packet(behind, 184, 10)], path) == [False, False]
    assert lost("mpegts", [packet(0, 184, 0), packet(behind, 184, 100)], None) == [False, False], (
        "cannot be looked at"
    )
    path = transport(tmp_path / "b.ts", {}, 30)
    assert lost("mpegts", [packet(0, 184, 0), packet(behind, 184, 100)], path) == [False, False], (
        "only padding"
    )


def test_the_parts_of_a_disc_have_four_bytes_before_them(tmp_path: Path) -> None:
    packets = [packet(0, 184, 0), packet(20 * 192, 184, 100)]
    sound = transport(tmp_path / "a.m2ts", {}, 30, head=b"time")
    assert lost("mpegts", packets, sound) == [False, False]
    broken = transport(tmp_path / "b.m2ts", dict.fromkeys(range(2, 20), NOISE), 30, head=b"time")
    assert lost("mpegts", packets, broken) == [False, True]


def test_positions_that_go_back_open_no_gap(tmp_path: Path) -> None:
    """Sound that is stored inside a large picture is read after it."""
    path = transport(tmp_path / "a.ts", dict.fromkeys(range(40), OWN), 60)
    packets = [
        packet(0, 40 * 184, 0),
        packet(5 * TS_PART_BYTES, 184, 0, track=1),
        packet(40 * TS_PART_BYTES, 9, 100),
    ]
    assert lost("mpegts", packets, path) == [False, False, False]
    blocks = [packet(1000, 5000), packet(100, 10, track=1), packet(6000, 10)]
    assert lost("matroska,webm", blocks) == [False, False, False]
    far = packet(6010 + MAX_UNSEEN_BYTES + 1, 10)
    assert lost("matroska,webm", [*blocks, far])[-1] is True
