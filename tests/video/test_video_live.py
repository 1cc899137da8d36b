"""Live sources: their clock beside the wall's, what is dropped to stay current, and the thread that
reads them."""

from __future__ import annotations

import http.server
import io
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from video_clips import make_clip, number_of, picture

from oncue.clock import Clock
from oncue.errors import DroppedFramesWarning, VideoError
from oncue.video import live
from oncue.video.decode import Decoder
from oncue.video.live import AGREES_S, ArrivalTimes, LiveSource, Waiting
from oncue.video.source import open_source

# (stamp, seconds passed) of each picture; ten a second unless said otherwise
ARRIVALS = {
    "one far ahead": [(k / 10 + 300 * (k == 40), k / 10) for k in range(200)],
    "ahead by five minutes": [(k / 10 + 300 * (k >= 40), k / 10) for k in range(200)],
    "ahead by five seconds": [(k / 10 + 5 * (k >= 40), k / 10) for k in range(200)],
    "back by three seconds": [(k / 10 - 3 * (k >= 40), k / 10) for k in range(200)],
    "back to nothing": [((k - 40 * (k >= 40)) / 10, k / 10) for k in range(200)],
    "silent for six seconds": [(k / 10, k / 10 + 6 * (k >= 40)) for k in range(200)],
    "silent, and its clock went on": [
        (k / 10 + 6 * (k >= 40), k / 10 + 6 * (k >= 40)) for k in range(200)
    ],
    "a clock five times too slow": [(k / 25, k / 5) for k in range(200)],
    "a clock twice as fast": [(k / 25, k / 50) for k in range(500)],
    "five seconds at once at the start": [(k / 10, max(0.0, k / 10 - 5)) for k in range(200)],
}


def placed(
    arrivals: list[tuple[float, float]], *, has_stamps: bool = True, may_be_early: bool = False
) -> list[float]:
    times = ArrivalTimes(has_stamps=has_stamps, may_be_early=may_be_early)
    return [times.place(*arrival) for arrival in arrivals]


@pytest.mark.parametrize("arrivals", ARRIVALS.values(), ids=ARRIVALS)
def test_the_clock_does_not_run_away_from_the_time_that_passes(
    arrivals: list[tuple[float, float]],
) -> None:
    times_s = placed(arrivals)
    assert times_s == sorted(times_s)
    assert (
        max(abs(time_s - passed_s) for time_s, (_, passed_s) in zip(times_s, arrivals, strict=True))
        <= AGREES_S
    )
    assert (
        any(abs(stamp_s - passed_s) > AGREES_S for stamp_s, passed_s in arrivals)
        or arrivals[100][0] == 16.0
    )


def test_stamps_that_agree_with_the_wall_keep_their_precision() -> None:
    random = np.random.default_rng(0)
    jittered = [(k / 10, k / 10 + late_s) for k, late_s in enumerate(random.uniform(0, 0.9, 200))]
    jittered[0] = (0.0, 0.0)
    assert placed(jittered) == pytest.approx([k / 10 for k in range(200)])


def test_pictures_without_stamps_are_of_the_moment_they_arrive() -> None:
    invented = [(k / 25, k / 20) for k in range(200)]
    assert placed(invented, has_stamps=False) == [passed_s for _, passed_s in invented]
    assert placed(invented) != [passed_s for _, passed_s in invented], (
        "as stamps they would do, to a second"
    )


def test_a_source_that_delivers_in_advance_is_believed_and_set_forward_when_it_stalls() -> None:
    segments = [
        (k / 10, max(0.0, k // 60 * 6 - 18.0)) for k in range(600)
    ]  # three at once, then one every 6 s
    assert placed(segments, may_be_early=True) == pytest.approx([k / 10 for k in range(600)])
    stalled = [(stamp_s, passed_s + 60 * (stamp_s >= 30)) for stamp_s, passed_s in segments]
    times_s = placed(stalled, may_be_early=True)
    assert times_s[:300] == pytest.approx([k / 10 for k in range(300)])
    assert times_s[300] == stalled[300][1] == 72.0
    assert times_s[301] == pytest.approx(72.1)


# What is shown


def watched(
    arrivals: list[tuple[float, float]],
    model_s: float,
    *,
    every_frame: bool = False,
    max_waiting: int = 1000,
    until_s: float | None = None,
    **kind: bool,
) -> tuple[list[tuple[int, int, float]], Waiting[int]]:
    """What a model that takes `model_s` for a turn is shown: (grid frame, picture, when). Without
    real time."""
    times = ArrivalTimes(**{"has_stamps": True, "may_be_early": False, **kind})
    waiting: Waiting[int] = Waiting(Clock(1.0), times, max_waiting, every_frame=every_frame)
    coming, shown, free_at = list(enumerate(arrivals)), [], 0.0
    for step in range(10_000):
        now_s = step / 20
        while coming and coming[0][1][1] <= now_s and not waiting.make_room(now_s):
            number, (stamp_s, _) = coming.pop(0)
            waiting.add(stamp_s, number, now_s)
            if not coming and until_s is None:
                waiting.end(stamp_s + 0.1)
        if now_s >= free_at and (run := waiting.take(now_s)) is not None:
            assert run.item is not None
            shown.append((len(shown) + 1 + waiting.num_dropped, run.item, now_s))
            assert run.pts_s <= shown[-1][0] + 1e-6, "no frame is later than the clock"
            free_at = now_s + model_s
        elif now_s >= free_at and not coming and (until_s is None or now_s > until_s):
            break
    return shown, waiting


CAMERA = [(k / 10, k / 10) for k in range(200)]  # 20 s


def test_a_fast_model_sees_every_grid_frame_as_it_comes() -> None:
    shown, waiting = watched(CAMERA, 0.1)
    assert [(number, picture) for number, picture, _ in shown] == [
        (k, min(10 * k, 199)) for k in range(1, 21)
    ]
    assert waiting.num_dropped == 0
    assert waiting.max_lag_s <= 0.15, "until the next picture has come"


def test_a_slow_model_sees_the_newest_frame_and_the_clock_counts_what_was_dropped() -> None:
    shown, waiting = watched(CAMERA, 2.5)
    assert [number for number, _, _ in shown] == [1, 3, 6, 8, 11, 13, 16, 18, 20]
    assert all(abs(picture - 10 * number) <= 10 for number, picture, _ in shown)
    assert all(when_s - number < 1.2 for number, _, when_s in shown[:-1]), (
        "never more than a frame behind"
    )
    assert waiting.num_dropped == 20 - len(shown)
    assert waiting.max_lag_s < 2.5


def test_with_every_frame_the_slow_model_sees_all_and_falls_behind() -> None:
    shown, waiting = watched(CAMERA, 2.5, every_frame=True)
    assert [number for number, _, _ in shown] == list(range(1, 21))
    assert waiting.num_dropped == 0
    assert waiting.max_lag_s == pytest.approx(1.1 + 19 * 2.5 - 20, abs=0.2)


@pytest.mark.parametrize("every_frame", [False, True])
def test_no_more_pictures_wait_than_are_allowed(every_frame: bool) -> None:
    shown, waiting = watched(CAMERA, 6.0, every_frame=every_frame, max_waiting=4)
    numbers = [number for number, _, _ in shown]
    assert numbers == sorted(set(numbers))
    assert waiting.has_overflowed
    assert waiting.num_dropped == numbers[-1] - len(numbers) > 0
    assert not watched(CAMERA, 6.0, every_frame=every_frame, max_waiting=40)[1].has_overflowed


def test_time_goes_on_with_the_last_picture_while_a_camera_is_silent() -> None:
    shown, waiting = watched(ARRIVALS["silent for six seconds"], 0.1)
    assert [number for number, _, _ in shown] == list(range(1, 27))
    assert [picture for number, picture, _ in shown if 4 <= number <= 9] == [39] * 6
    assert waiting.num_dropped == 0
    assert waiting.max_lag_s <= AGREES_S + 0.1
    shown, _ = watched(CAMERA, 0.1, until_s=30.0)  # and where it never comes back
    assert [number for number, _, _ in shown] == list(range(1, 30))


def test_a_source_that_is_ahead_loses_nothing_and_is_held_back_where_too_much_waits() -> None:
    file = [(k / 10, 0.0) for k in range(200)]
    for max_waiting in (1000, 3):
        shown, waiting = watched(file, 0.1, max_waiting=max_waiting, may_be_early=True)
        assert [(number, picture) for number, picture, _ in shown] == [
            (k, min(10 * k, 199)) for k in range(1, 21)
        ]
        assert (waiting.num_dropped, waiting.has_overflowed) == (0, False)
    shown, _ = watched(file, 0.1)  # control: a camera cannot be ahead, so that this is a backlog
    assert [picture for _, picture, _ in shown][-1] == 199
    assert len(shown) <= 2


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([0.1, 0.5, -3.0, 20.0]), st.sampled_from([0.0, 0.1, 2.5])),
        max_size=60,
    ),
    model_s=st.sampled_from([0.05, 0.9, 3.0]),
    every_frame=st.booleans(),
    may_be_early=st.booleans(),
)
def test_grid_frames_come_in_order_and_are_counted(
    steps: list[tuple[float, float]], model_s: float, every_frame: bool, may_be_early: bool
) -> None:
    stamps = itertools.accumulate(stamp_s for stamp_s, _ in steps)
    passed = itertools.accumulate(passed_s for _, passed_s in steps)
    arrivals = [(0.0, 0.0), *zip(stamps, passed, strict=True)]
    shown, waiting = watched(arrivals, model_s, every_frame=every_frame, may_be_early=may_be_early)
    numbers = [number for number, _, _ in shown]
    assert numbers == sorted(set(numbers))
    assert shown[-1][1] == len(arrivals) - 1, "the newest picture is shown in the end"
    assert waiting.num_dropped == numbers[-1] - len(numbers)
    if every_frame:
        assert waiting.num_dropped == 0


# The thread that reads


class Camera:
    """Stands in for a Decoder: gives picture k, of stamp k / 10, once it is let through."""

    def __init__(
        self, num_pictures: int, spec: str = "rtsp://camera/1", error: Exception | None = None
    ) -> None:
        self.spec, self.declared_s, self.end_s = spec, None, num_pictures / 10
        self.stream = SimpleNamespace(
            average_rate=None,
            codec_context=SimpleNamespace(codec=SimpleNamespace(canonical_name="h264")),
        )
        self.container = SimpleNamespace(
            format=SimpleNamespace(name="rtsp", flags=0),
            streams=SimpleNamespace(video=[], audio=[]),
        )
        self.gate = threading.Semaphore(0)
        self.num_read, self.error = 0, error
        self.closed = threading.Event()
        self.num_pictures = num_pictures

    def frames(self) -> Iterator[tuple[float, av.VideoFrame]]:
        for k in range(self.num_pictures):
            if k:
                self.gate.acquire(timeout=10)
            frame = av.VideoFrame.from_ndarray(picture(k), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 10)
            self.num_read = k + 1
            yield k / 10, frame
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        self.num_pictures = 0

    def close(self) -> None:
        self.closed.set()


def wait_until(is_true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if is_true():
            return
        time.sleep(0.005)
    raise AssertionError("it did not come to it in 10 s")


def opened(camera: Camera, **settings: object) -> LiveSource:
    return LiveSource(camera, Clock(1.0), **settings)  # type: ignore[arg-type]


def test_second_0_of_a_camera_is_when_watching_begins() -> None:
    now = iter(itertools.count(100.0, 0.01))
    camera = Camera(32)
    source = opened(camera, now=lambda: next(now))
    camera.gate.release(20)  # while the model loads
    wait_until(lambda: camera.num_read == 21 and source._first[0] == 2.0)
    camera.gate.release(20)
    batch = source.read()
    source.close()
    assert batch is not None
    assert (number_of(batch.pixels[0]), batch.pts_s.tolist()) == (30, [pytest.approx(1.0)])
    assert camera.closed.wait(5)
    assert source.read() is None


def test_what_may_be_a_file_is_read_from_its_first_picture() -> None:
    camera = Camera(32, "http://host/stream")
    camera.gate.release(40)
    source = opened(camera)
    shown = [number_of(batch.pixels[0]) for batch in iter(source.read, None)]
    source.close()
    assert (shown, source.num_dropped) == ([10, 20, 30, 31], 0)


def test_an_error_comes_out_when_all_before_it_was_shown() -> None:
    camera = Camera(12, "http://host/stream", VideoError("the cable was cut"))
    camera.gate.release(40)
    source = opened(camera)
    assert [number_of(source.read().pixels[0]) for _ in range(2)] == [10, 11]
    for _ in range(2):
        with pytest.raises(VideoError, match="cable"):
            source.read()
    source.close()
    with pytest.raises(VideoError, match="no picture"):
        opened(Camera(0, error=VideoError("no picture")))


def test_a_camera_that_ended_before_it_was_watched_shows_its_last_picture() -> None:
    camera = Camera(12)
    camera.gate.release(40)
    source = opened(camera)
    assert camera.closed.wait(5)
    assert [number_of(batch.pixels[0]) for batch in iter(source.read, None)] == [11]


def test_closing_wakes_a_reader_and_ends_the_thread() -> None:
    camera = Camera(12)
    source = opened(camera, now=lambda: 0.0)
    got: list[object] = []
    reader = threading.Thread(target=lambda: got.append(source.read()), daemon=True)
    reader.start()
    wait_until(lambda: source._started_at is not None)
    camera.gate.release(1)
    source.close()
    reader.join(5)
    assert got == [None]
    camera.gate.release(40)
    assert camera.closed.wait(5)


def test_a_warning_says_when_not_every_frame_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_WAITING_BYTES", 2 * picture(0).nbytes)
    for every_frame in (True, False):
        camera, told = Camera(100), []
        monkeypatch.setattr(
            live.warnings, "warn", lambda text, kind, told=told, **_: told.append((kind, text))
        )
        source = opened(
            camera, every_frame=every_frame, now=lambda camera=camera: camera.num_read / 10
        )
        first = threading.Thread(target=source.read, daemon=True)
        first.start()
        wait_until(lambda source=source: source._started_at is not None)
        camera.gate.release(200)
        first.join(10)
        wait_until(lambda source=source: source._has_ended)
        rest = [number_of(batch.pixels[0]) for batch in iter(source.read, None)]
        assert rest[-1] == 99
        assert source.num_dropped > 0
        assert [kind for kind, _ in told] == [DroppedFramesWarning] * every_frame
        assert not every_frame or "the oldest are dropped" in told[0][1]


# A real camera without stamps


def test_pictures_over_http_without_stamps_are_timed_by_arrival() -> None:
    """FFmpeg takes them for 25 a second, whatever comes. Here five come a second, by the clock of
    this test."""
    is_watched = threading.Event()

    class Camera(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for number in range(24):
                if number == 4:
                    is_watched.wait(10)
                jpeg = io.BytesIO()
                Image.fromarray(picture(number)).save(jpeg, "JPEG", quality=95)
                head = (
                    f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {jpeg.tell()}\r\n\r\n"
                )
                self.wfile.write(head.encode() + jpeg.getvalue() + b"\r\n")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        decoder = Decoder(f"http://127.0.0.1:{server.server_port}/cam.mjpg")

        def now() -> float:
            if threading.current_thread().name != "oncue-live":
                is_watched.set()
            return decoder.num_frames / 5

        source = LiveSource(decoder, Clock(1.0), every_frame=True, now=now)
        shown = [
            (number_of(b.pixels[0]), float(b.pts_s[0]))
            for b in itertools.islice(iter(source.read, None), 3)
        ]
        source.close()
        server.shutdown()
    assert [b[0] - a[0] for a, b in itertools.pairwise(shown)] == [5, 5], (
        "of a second each, not of 25 pictures"
    )
    assert [time_s for _, time_s in shown] == pytest.approx([1.0, 2.0, 3.0])


def test_only_a_network_source_without_a_known_end_is_live(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = make_clip(tmp_path / "clip.mp4", 12)
    source = open_source(str(path), 1.0)
    assert not isinstance(source, LiveSource)
    source.close()
    monkeypatch.setattr("oncue.video.decode.is_live", lambda *_: True)
    source = open_source(str(path), 1.0)
    assert isinstance(source, LiveSource)
    source.close()
