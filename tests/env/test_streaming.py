"""The environment that pushes frames: its clock, its questions, law 6, and that a slow source holds
up nobody."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncue.env import streaming
from oncue.env.streaming import StreamingEnv
from oncue.errors import ConfigError, InputError, VideoError
from oncue.types import EnvTurn, FrameBatch, Question, Silence, StopReason


class GridSource:
    """`num_frames` frames; frame k holds the value k in every pixel and has the pts of its grid
    time plus `shift_s`."""

    def __init__(
        self,
        num_frames: int,
        frame_interval_s: float = 1.0,
        duration_s: float | None = None,
        shift_s=0.0,
    ):
        self.frame_interval_s, self.duration_s = frame_interval_s, duration_s
        self.num_frames, self.num_read, self.closed, self.shift_s = num_frames, 0, False, shift_s

    def read(self) -> FrameBatch | None:
        if self.num_read == self.num_frames:
            return None
        self.num_read += 1
        pixels = np.full((1, 4, 6, 3), self.num_read, np.uint8)
        return FrameBatch(pixels, np.array([self.num_read * self.frame_interval_s + self.shift_s]))

    def close(self) -> None:
        self.closed = True


class BlockedSource(GridSource):
    """Gives no frame until `gate` is set, as a camera that hangs."""

    def __init__(self) -> None:
        super().__init__(3)
        self.gate = threading.Event()

    def read(self) -> FrameBatch | None:
        self.gate.wait(5)
        return super().read()

    def close(self) -> None:
        self.gate.set()


async def collect(env: StreamingEnv) -> tuple[list[EnvTurn], StopReason]:
    turns: list[EnvTurn] = []
    shown = await env.open()
    while isinstance(shown, EnvTurn):
        turns.append(shown)
        shown = await env.step(Silence())
    return turns, shown


def run(env: StreamingEnv) -> tuple[list[EnvTurn], StopReason]:
    return asyncio.run(collect(env))


def test_the_clock_of_the_papers_example():
    """1 s per frame, 2 frames per turn: the question is at 2 s, replies after 4 and 8 frames at 4
    and 8 s (4.1)."""
    turns, stop = run(StreamingEnv(GridSource(8), [Question("What happens?")], frames_per_turn=2))
    assert [t.clock_s for t in turns] == [2, 4, 6, 8]
    assert [t.text for t in turns] == ["What happens?", "", "", ""]
    assert [t.frames.pixels[:, 0, 0, 0].tolist() for t in turns] == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert stop is StopReason.SOURCE_ENDED


def test_the_last_turn_may_hold_fewer_frames():
    turns, _ = run(StreamingEnv(GridSource(5), frames_per_turn=2))
    assert [(len(t.frames), t.clock_s) for t in turns] == [(2, 2), (2, 4), (1, 5)]


def test_questions_come_with_the_first_turn_that_reaches_them_and_share_it():
    questions = [Question("late", 3.0), Question("a", 1.2), Question("b", 2.0)]
    turns, _ = run(StreamingEnv(GridSource(4), questions))
    assert [t.text for t in turns] == ["", "a\nb", "late", ""]


def test_a_question_on_a_grid_time_is_not_late_by_rounding():
    turns, _ = run(StreamingEnv(GridSource(8, 0.1), [Question("now", 0.3)]))
    assert [bool(t.text) for t in turns].index(True) == 2


@given(
    num_frames=st.integers(1, 12),
    frames_per_turn=st.integers(1, 3),
    interval_s=st.sampled_from([0.1, 0.5, 1.0, 2.0]),
    asked=st.lists(st.floats(0, 1), max_size=4),
    turns_ahead=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_no_frame_is_later_than_the_clock_and_nothing_is_lost(
    num_frames, frames_per_turn, interval_s, asked, turns_ahead
):
    duration_s = num_frames * interval_s
    questions = [Question(f"q{i}", share * duration_s) for i, share in enumerate(asked)]
    env = StreamingEnv(
        GridSource(num_frames, interval_s, duration_s),
        questions,
        frames_per_turn,
        turns_ahead=turns_ahead,
    )
    told: list[EnvTurn] = []
    env.announce_to(told.extend)
    turns, _ = run(env)
    assert [id(turn) for turn in told] == [id(turn) for turn in turns]
    assert all((t.frames.pts_s <= t.clock_s + 1e-9).all() for t in turns)
    assert [p for t in turns for p in t.frames.pixels[:, 0, 0, 0]] == list(range(1, num_frames + 1))
    delivered = [(text, t.clock_s) for t in turns if t.text for text in t.text.split("\n")]
    assert sorted(text for text, _ in delivered) == [q.text for q in questions]
    assert all(clock_s >= questions[int(text[1:])].time_s - 1e-6 for text, clock_s in delivered)
    assert env.undelivered == ()


def test_a_source_that_shows_the_future_is_refused():
    """Negative control of law 6."""
    with pytest.raises(VideoError, match="future"):
        run(StreamingEnv(GridSource(3, shift_s=0.5)))


class DroppingSource(GridSource):
    """Gives only every third frame, as a camera for which the model is too slow."""

    def __init__(self, num_frames: int):
        super().__init__(num_frames)
        self.num_dropped = 0

    def read(self) -> FrameBatch | None:
        for _ in range(2 if self.num_read else 0):
            self.num_dropped += super().read() is not None
        return super().read()


def test_dropped_frames_move_the_clock():
    questions = [Question("a", 2.0), Question("b", 3.5), Question("c", 7.0)]
    for turns_ahead in (0, 1, 3):
        turns, _ = run(StreamingEnv(DroppingSource(10), questions, turns_ahead=turns_ahead))
        assert [turn.clock_s for turn in turns] == [1, 4, 7, 10]
        assert [turn.frames.pts_s.tolist() for turn in turns] == [[1], [4], [7], [10]]
        assert [turn.text for turn in turns] == ["", "a\nb", "c", ""], (
            "with the next turn, where their own was dropped"
        )
    turns, _ = run(StreamingEnv(DroppingSource(10), questions, frames_per_turn=2))
    assert [(turn.clock_s, turn.frames.pts_s.tolist(), turn.text) for turn in turns] == [
        (4, [1, 4], "a\nb"),
        (10, [7, 10], "c"),
    ]


def test_a_source_that_drops_shows_no_future_either():
    """Negative control: what was dropped later does not make room for a frame that came too
    early."""

    class Early(DroppingSource):
        def read(self) -> FrameBatch | None:
            batch = super().read()
            return batch and FrameBatch(batch.pixels, batch.pts_s + 2 * (self.num_read == 4))

    for frames_per_turn in (1, 3):
        with pytest.raises(VideoError, match=r"frame of 6.000 s when the clock read 4.000 s"):
            run(StreamingEnv(Early(10), frames_per_turn=frames_per_turn))


def test_max_turns_stops_without_reading_on():
    source = GridSource(10)
    turns, stop = run(StreamingEnv(source, max_turns=2))
    assert (len(turns), stop, source.num_read) == (2, StopReason.MAX_TURNS, 2)


def test_max_turns_holds_however_many_are_read_ahead():
    for max_turns in (2, 3, 4, 5):
        source = GridSource(10)
        turns, stop = run(StreamingEnv(source, max_turns=max_turns, turns_ahead=3))
        assert (len(turns), stop, source.num_read) == (max_turns, StopReason.MAX_TURNS, max_turns)


class BreakingSource(GridSource):
    """Breaks when frame 6 is read."""

    def read(self) -> FrameBatch | None:
        if self.num_read == 5:
            raise VideoError("frame 6 is broken")
        return super().read()


@pytest.mark.parametrize("turns_ahead", [0, 1, 3, 9])
def test_what_comes_before_an_error_of_the_source_is_shown_first(turns_ahead):
    async def scenario() -> int:
        env = StreamingEnv(BreakingSource(9), turns_ahead=turns_ahead)
        shown = [await env.open()] + [await env.step(Silence()) for _ in range(4)]
        for _ in range(2):
            with pytest.raises(VideoError, match="frame 6 is broken"):
                await env.step(Silence())
        return sum(isinstance(turn, EnvTurn) for turn in shown)

    assert asyncio.run(scenario()) == 5


@pytest.mark.parametrize("turns_ahead", [0, 1, 4])
def test_a_frame_of_the_future_is_told_of_when_its_turn_comes_and_never_shown(turns_ahead):
    class Skips(GridSource):
        def read(self) -> FrameBatch | None:
            batch = super().read()
            return batch and FrameBatch(batch.pixels, batch.pts_s + (self.num_read == 3))

    async def scenario() -> None:
        env = StreamingEnv(Skips(6), turns_ahead=turns_ahead)
        await env.open()
        await env.step(Silence())
        for _ in range(2):
            with pytest.raises(VideoError, match="future"):
                await env.step(Silence())

    asyncio.run(scenario())


def test_no_turn_waits_for_those_that_are_read_ahead():
    class Slows(BlockedSource):
        """Gives the first frame at once, the others when the gate opens."""

        def read(self) -> FrameBatch | None:
            return super().read() if self.num_read else GridSource.read(self)

    async def scenario() -> EnvTurn | StopReason:
        source = Slows()
        env = StreamingEnv(source, turns_ahead=3)
        shown = await asyncio.wait_for(env.open(), 2)
        source.gate.set()
        await env.close()
        return shown

    assert isinstance(asyncio.run(scenario()), EnvTurn)


def test_large_frames_are_read_ahead_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(streaming, "MAX_BYTES_AHEAD", 2 * 4 * 6 * 3)

    async def scenario() -> int:
        source = GridSource(20)
        env = StreamingEnv(source, turns_ahead=10)
        await env.open()
        await asyncio.sleep(0.1)
        return source.num_read

    assert asyncio.run(scenario()) == 1 + 3  # shown, and what fits and the one that goes beyond


def test_a_source_that_has_ended_is_not_read_again():
    class Counts(GridSource):
        num_calls = 0

        def read(self) -> FrameBatch | None:
            self.num_calls += 1
            return super().read()

    for num_frames in (4, 5, 6):
        source = Counts(num_frames)
        turns, _ = run(StreamingEnv(source, turns_ahead=4))
        assert (len(turns), source.num_calls) == (num_frames, num_frames + 1)


def test_questions_read_ahead_are_undelivered_until_they_are_shown():
    async def scenario() -> list[int]:
        env = StreamingEnv(GridSource(4), [Question("a", 1.0), Question("b", 3.0)], turns_ahead=4)
        left = [len(env.undelivered)]
        await env.open()
        left.append(len(env.undelivered))
        for _ in range(3):
            await env.step(Silence())
            left.append(len(env.undelivered))
        return left

    assert asyncio.run(scenario()) == [2, 1, 1, 0, 0]


def test_a_cancelled_environment_shows_nothing_of_what_it_has_read():
    async def scenario() -> EnvTurn | StopReason:
        env = StreamingEnv(GridSource(4), turns_ahead=4)
        await env.open()
        env.cancel()
        return await env.step(Silence())

    assert asyncio.run(scenario()) is StopReason.CANCELLED


def test_reads_at_most_one_turn_ahead():
    async def scenario() -> int:
        source = GridSource(10)
        await StreamingEnv(source, frames_per_turn=2).open()
        await asyncio.sleep(0.05)
        return source.num_read

    assert asyncio.run(scenario()) == 4


def test_a_source_without_frames_ends_at_once():
    assert run(StreamingEnv(GridSource(0))) == ([], StopReason.SOURCE_ENDED)


def test_questions_after_the_end_of_an_unknown_length_are_named():
    env = StreamingEnv(GridSource(3), [Question("never", 9.0)])
    run(env)
    assert env.undelivered == (Question("never", 9.0),)


@pytest.mark.parametrize(
    ("question", "told"),
    [
        (Question("q", 10.5), "ends at 10 s"),
        (Question("q", -1.0), "0 or more"),
        (Question("q", float("nan")), "0 or more"),
        (Question("  ", 1.0), "empty"),
        (Question("half \udcff", 1.0), "UTF-8"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused_before_the_first_turn(question, told):
    source = GridSource(10, duration_s=10.0)
    with pytest.raises(InputError, match=told):
        StreamingEnv(source, [question])
    assert source.num_read == 0


@pytest.mark.parametrize("numbers", [{"frames_per_turn": 0}, {"max_turns": 0}, {"turns_ahead": -1}])
def test_numbers_out_of_range(numbers):
    with pytest.raises(ConfigError, match="at least"):
        StreamingEnv(GridSource(1), **numbers)


def test_a_question_at_the_very_end_is_asked():
    turns, _ = run(StreamingEnv(GridSource(10, duration_s=9.5), [Question("q", 9.5)]))
    assert turns[-1].text == "q"


def test_frames_of_two_sizes_in_one_turn_are_an_error_that_says_so():
    class Growing(GridSource):
        def read(self) -> FrameBatch | None:
            batch = super().read()
            return batch and FrameBatch(
                np.zeros((1, 4 + self.num_read, 6, 3), np.uint8), batch.pts_s
            )

    assert len(run(StreamingEnv(Growing(4)))[0]) == 4
    with pytest.raises(VideoError, match="different sizes"):
        run(StreamingEnv(Growing(4), frames_per_turn=2))


def test_errors_of_the_source_come_out_of_step():
    class Broken(GridSource):
        def read(self) -> FrameBatch | None:
            if self.num_read == 2:
                raise VideoError("the camera is gone")
            return super().read()

    with pytest.raises(VideoError, match="camera is gone"):
        run(StreamingEnv(Broken(5)))


def test_blocked_sources_do_not_block_the_loop_and_can_be_cancelled():
    async def scenario() -> tuple[int, set[StopReason], float]:
        sources = [BlockedSource() for _ in range(40)]  # more than a default pool has threads
        envs = [StreamingEnv(source) for source in sources]
        opening = [asyncio.ensure_future(env.open()) for env in envs]
        turns, _ = await asyncio.wait_for(collect(StreamingEnv(GridSource(3))), 2)
        start = time.perf_counter()
        for env in envs:
            env.cancel()
        stops = await asyncio.gather(*opening)
        took_s = time.perf_counter() - start
        for source in sources:
            source.close()
        return len(turns), set(stops), took_s

    num_turns, stops, took_s = asyncio.run(scenario())
    assert (num_turns, stops) == (3, {StopReason.CANCELLED})
    assert took_s < 5


def test_close_does_not_wait_for_ever_on_a_blocked_source(monkeypatch):
    monkeypatch.setattr("oncue.env.streaming.CLOSE_WAIT_S", 0.05)

    async def scenario() -> bool:
        source = BlockedSource()
        env = StreamingEnv(source)
        opening = asyncio.ensure_future(env.open())
        await asyncio.sleep(0)
        await asyncio.wait_for(env.close(), 2)
        return source.gate.is_set() and await opening is StopReason.CANCELLED

    assert asyncio.run(scenario())


def test_close_closes_the_source_and_ends_the_episode():
    async def scenario() -> tuple[bool, EnvTurn | StopReason]:
        source = GridSource(5)
        env = StreamingEnv(source)
        await env.open()
        await env.close()
        return source.closed, await env.step(Silence())

    assert asyncio.run(scenario()) == (True, StopReason.CANCELLED)


def test_order_of_calls():
    async def step_first() -> None:
        await StreamingEnv(GridSource(1)).step(Silence())

    async def open_twice() -> None:
        env = StreamingEnv(GridSource(2))
        await env.open()
        await env.open()

    with pytest.raises(RuntimeError, match="open"):
        asyncio.run(step_first())
    with pytest.raises(RuntimeError, match="already open"):
        asyncio.run(open_twice())
