"""The environment that is asked for frames: what each turn shows and says, and when it stops."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncue.env.retrieval import RetrievalEnv, RetrievalSettings, lettered, system_message
from oncue.errors import ConfigError
from oncue.types import (
    Action,
    Answer,
    EnvTurn,
    Malformed,
    Question,
    Reply,
    Retrieve,
    Silence,
    StopReason,
    Task,
)
from oncue.video.pool import frame_time_s, index_at
from retrieval_support import RETRIEVAL_TASK, FakeZoom, played, pool_of, prompt, shown_turns

DEFAULT = RetrievalSettings()
BOTH = RetrievalSettings(marks="both")
SECONDS = RetrievalSettings(unit="seconds", marks="seconds")
FIRST_OF_64 = (0, 4, 8, 12, 16, 21, 25, 29, 33, 37, 42, 46, 50, 54, 58, 63)
FIRST_OF_128 = (0, 8, 16, 25, 33, 42, 50, 59, 67, 76, 84, 93, 101, 110, 118, 127)


def env_of(
    num_frames: int = 64, settings: RetrievalSettings = DEFAULT, **options: Any
) -> RetrievalEnv:
    return RetrievalEnv(pool_of(num_frames, 2.0 * num_frames), RETRIEVAL_TASK, settings, **options)


@pytest.mark.parametrize(("num_frames", "first"), [(64, FIRST_OF_64), (128, FIRST_OF_128)])
def test_the_first_turn_is_spread_over_the_whole_pool(
    num_frames: int, first: tuple[int, ...]
) -> None:
    env = env_of(num_frames)
    (turn,) = shown_turns(env, [])
    assert turn.frames.indices == first
    assert np.array_equal(turn.frames.pixels, env.pool.frames.pixels[list(first)])
    assert np.array_equal(turn.frames.pts_s, env.pool.frames.pts_s[list(first)])


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (46, 63, (46, 48, 50, 53, 55, 58, 60, 63)),
        (12, 33, (12, 15, 18, 21, 24, 27, 30, 33)),
        (5, 9, (5, 6, 7, 8, 9)),
        (7, 7, (7,)),
        (0, 0, (0,)),
        (63, 63, (63,)),
    ],
)
def test_a_look_is_spread_over_the_range(start: int, end: int, shown: tuple[int, ...]) -> None:
    env = env_of()
    assert shown_turns(env, [Retrieve(start, end)])[1].frames.indices == shown
    seconds = Retrieve(*(env.pool.time_of(i) for i in (start, end)))
    for by_time in (SECONDS, replace(SECONDS, marks="both")):
        assert shown_turns(env_of(settings=by_time), [seconds])[1].frames.indices == shown


def test_seconds_at_the_ends_of_the_video_are_its_first_and_last_frame() -> None:
    _, turn = shown_turns(env_of(settings=SECONDS), [Retrieve(0, 128)])
    assert (turn.frames.indices[0], turn.frames.indices[-1]) == (0, 63)
    _, turn = shown_turns(env_of(settings=SECONDS), [Retrieve(127.9, 128)])
    assert turn.frames.indices == (63,)


@pytest.mark.parametrize("num_frames", [1, 2, 15, 16, 17])
def test_a_small_pool_is_shown_once(num_frames: int) -> None:
    env = env_of(num_frames)
    first, again = shown_turns(env, [Retrieve(0, num_frames - 1)])
    all_of_it = tuple(range(num_frames)) if num_frames <= 16 else (*range(15), 16)
    assert first.frames.indices == all_of_it
    assert len(again.frames) == min(num_frames, 8)
    count = "1 frame" if num_frames == 1 else f"{len(again.frames)} frames"
    assert prompt(again).startswith(f"Turn 2 of 3. {count} you asked for: [0")
    assert f"from 0 to {num_frames - 1}," in prompt(first)


def test_the_whole_prompt() -> None:
    """What is read by the model, letter by letter: a change here changes what it was trained on."""
    env = env_of(4, RetrievalSettings(2, 2))
    turns = shown_turns(env, [Retrieve(1, 3), Malformed("?", "it ends within a thought")])
    assert env.system == (
        "You are a helpful assistant who answers questions about videos. You do not see the whole "
        "video, only some of its frames. In each turn you may ask for up to 2 more frames, or "
        "answer. Your answer must come within 3 turns."
    )
    both = """\
Question: What colour is the box?
A. red
B. blue
First write between <think> and </think> what the frames show about the question, and what is \
still missing. Then do exactly one of two things, and write nothing else.
1. See more frames of one part of the video. Write the numbers of its first and last frame. For \
example:
<think>...</think><retrieve>0,1</retrieve>
Both are whole numbers from 0 to 3, the smaller one first.
2. Answer the question. For example:
<think>...</think><answer>B</answer>
The answer is one letter: A, B."""
    assert [prompt(turn) for turn in turns] == [
        f"""\
Turn 1 of 3. 2 frames of the whole video: [0, 3]
frame 0: <image>
frame 3: <image>
{both}""",
        f"""\
Turn 2 of 3. 2 frames you asked for: [1, 3]
frame 1: <image>
frame 3: <image>
{both}""",
        """\
Turn 3 of 3. Your last turn was not valid: it ends within a thought. Try again.
Question: What colour is the box?
A. red
B. blue
This is your last turn: you cannot see more frames. First write between <think> and </think> what \
the frames show about the question. Then answer the question, and write nothing else. For example:
<think>...</think><answer>B</answer>
The answer is one letter: A, B.""",
    ]
    assert {turn.clock_s for turn in turns} == {env.pool.duration_s}


INVALID: list[Action] = [
    Malformed("<retrive>1,2</retrive>", "it is no action"),
    Silence(),
    Reply("A man."),
    Retrieve(5, 64),
    Retrieve(-2, 5),
    Retrieve(0.5, 5),
]


@pytest.mark.parametrize("max_turns", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", ["retrieve", "invalid", "mixed"])
def test_an_episode_has_at_most_so_many_turns(max_turns: int, kind: str) -> None:
    looks: list[Action] = [Retrieve(k, k + 9) for k in range(6)]
    actions = {"retrieve": looks, "invalid": INVALID, "mixed": [looks[0], *INVALID]}[kind]
    env = env_of(settings=replace(DEFAULT, max_turns=max_turns))
    *turns, last, stop = [None, *played(env, actions[:max_turns])]
    assert stop is StopReason.OUT_OF_BUDGET
    for number, turn in enumerate([*turns[1:], last], 1):
        assert isinstance(turn, EnvTurn)
        assert prompt(turn).startswith(f"Turn {number} of {max_turns}. ")
        offers, is_last = "retrieve" in prompt(turn), number == max_turns
        assert offers != is_last
        assert ("This is your last turn" in prompt(turn)) == is_last
        assert "<answer>" in prompt(turn)
        assert "What colour is the box?\nA. red\nB. blue\n" in prompt(turn)


@pytest.mark.parametrize("num_looks", [0, 1, 2])
def test_an_answer_ends_the_episode(num_looks: int) -> None:
    found = played(env_of(), [*[Retrieve(0, 9)] * num_looks, Answer("B")])
    assert found[-1] is StopReason.ANSWERED
    assert len(found) == num_looks + 2


@pytest.mark.parametrize("action", INVALID, ids=str)
def test_an_invalid_turn_is_used_up_and_says_why(action: Action) -> None:
    _, turn = shown_turns(env_of(), [action])
    assert not turn.batches
    said = prompt(turn)
    assert said.startswith("Turn 2 of 3. Your last turn was not valid: ")
    assert ". Try again.\nQuestion: " in said
    why = {
        Malformed: "it is no action",
        Silence: "neither a range nor an answer",
        Reply: "neither a range nor an answer",
    }.get(type(action), "the range must lie within 0 and 63|a range is two whole frame numbers")
    assert re.search(why, said)


def test_advice_for_whoever_runs_the_policy_is_not_shown_to_it() -> None:
    env = env_of()
    cut = env.format.read("<think>A man", truncated=True)
    assert isinstance(cut, Malformed)
    assert "--max-new-tokens" in cut.reason
    _, turn = shown_turns(env, [cut])
    assert "not valid: it was too long and was cut off. Try again." in prompt(turn)
    assert "--" not in prompt(turn)


def test_the_last_turn_names_no_range_whatever_was_wrong_before() -> None:
    for text in ("<think>", "<retrieve>1,2", "<retrieve>2,1</retrieve>", "<retrieve>x</retrieve>"):
        env = env_of(settings=replace(DEFAULT, max_turns=2))
        _, last = shown_turns(env, [env.format.read(text)])
        assert "<retrieve" not in prompt(last)


@pytest.mark.parametrize(
    ("settings", "marks", "listed", "asks_for"),
    [
        (DEFAULT, ("frame 0", "frame 1", "frame 3"), "[0, 1, 3]", "numbers of its first"),
        (
            BOTH,
            ("frame 0, 1.0 s", "frame 1, 3.0 s", "frame 3, 7.0 s"),
            "[0, 1, 3]",
            "numbers of its first",
        ),
        (SECONDS, ("1.0 s", "3.0 s", "7.0 s"), "[1.0 s, 3.0 s, 7.0 s]", "times of its first"),
        (
            replace(BOTH, unit="seconds"),
            ("frame 0, 1.0 s", "frame 1, 3.0 s", "frame 3, 7.0 s"),
            "[1.0 s, 3.0 s, 7.0 s]",
            "times of its first",
        ),
    ],
)
def test_marks_and_the_unit_of_ranges(
    settings: RetrievalSettings, marks: tuple[str, ...], listed: str, asks_for: str
) -> None:
    """The policy is always shown what it counts, and is asked for that."""
    env = env_of(4, replace(settings, first_frames=3))
    (turn,) = shown_turns(env, [])
    assert turn.frames.marks == marks
    said = prompt(turn)
    assert f"3 frames of the whole video: {listed}\n" in said
    assert "".join(f"{mark}: <image>\n" for mark in marks) in said
    assert asks_for in said
    assert ("in seconds" in said) == (settings.unit == "seconds")
    assert f"from 0 to {8 if settings.unit == 'seconds' else 3}," in said


def test_no_frame_at_first() -> None:
    env = env_of(settings=replace(DEFAULT, first_frames=0))
    first, second = shown_turns(env, [Retrieve(0, 63)])
    assert not first.batches
    assert prompt(first).startswith("Turn 1 of 3. No frame of the video is shown.\nQuestion: ")
    assert len(second.frames) == 8


@settings(deadline=None, max_examples=40)
@given(data=st.data(), num_frames=st.integers(1, 40), in_seconds=st.booleans())
def test_whatever_a_policy_asks_for_is_shown_from_within_its_range(
    data: st.DataObject, num_frames: int, in_seconds: bool
) -> None:
    chosen = replace(
        SECONDS if in_seconds else DEFAULT, frames_per_look=data.draw(st.integers(1, 9))
    )
    env = env_of(num_frames, chosen)
    most = env.format.last
    numbers = st.floats(0, most) if in_seconds else st.integers(0, int(most)).map(float)
    start, end = sorted((data.draw(numbers), data.draw(numbers)))
    action = env.format.read(env.format.write(Retrieve(start, end)))
    _, turn = shown_turns(env, [action])
    first, last = int(start), int(end)
    if in_seconds:
        first, last = (index_at(t, num_frames, env.pool.duration_s) for t in (start, end))
    found = turn.frames.indices
    assert (found[0], found[-1]) in ((first, last), (first, first))
    assert list(found) == sorted(set(found))
    assert len(found) == min(last - first + 1, chosen.frames_per_look)
    assert np.array_equal(turn.frames.pixels, env.pool.frames.pixels[list(found)])


def test_a_zoom_shows_a_range_more_closely() -> None:
    """By seconds as they are; of frames the parts of the video that they stand for."""
    zoom, by_frames = FakeZoom(), replace(BOTH, frames_per_look=4)
    env = env_of(settings=by_frames, zoom=zoom)  # 64 frames of 2 s each
    _, turn = shown_turns(env, [Retrieve(5, 6)])
    assert zoom.asked == [(10.0, 14.0, 4)]
    assert turn.frames.indices == (5, 5, 6, 6)
    assert turn.frames.marks == (
        "frame 5, 10.5 s",
        "frame 5, 11.5 s",
        "frame 6, 12.5 s",
        "frame 6, 13.5 s",
    )
    assert turn.frames.pixels.shape == (4, 56, 168, 3)
    assert "4 frames you asked for: [5, 5, 6, 6]" in prompt(turn)
    zoom = FakeZoom()
    env = env_of(settings=replace(SECONDS, frames_per_look=4), zoom=zoom)
    _, turn = shown_turns(env, [Retrieve(10.5, 12.5)])
    assert zoom.asked == [(10.5, 12.5, 4)]
    assert turn.frames.indices == (5, 5, 5, 6)
    assert turn.frames.marks == ("10.8 s", "11.2 s", "11.8 s", "12.2 s")
    times = [frame_time_s(i, 4, 2.0) + 10.5 for i in range(4)]
    assert turn.frames.indices == tuple(index_at(t, 64, 128.0) for t in times)


def test_a_zoom_into_one_moment_is_one_frame() -> None:
    zoom = FakeZoom()
    env = env_of(settings=SECONDS, zoom=zoom)
    _, turn = shown_turns(env, [Retrieve(128, 128)])
    assert zoom.asked == [(128, 128, 1)]
    assert (turn.frames.indices, turn.frames.marks) == ((63,), ("128.0 s",))
    zoom = FakeZoom()
    _, turn = shown_turns(env_of(settings=BOTH, zoom=zoom), [Retrieve(63, 63)])
    assert zoom.asked == [(126.0, 128.0, 8)]  # a frame stands for two seconds
    assert turn.frames.indices == (63,) * 8


def test_a_zoom_may_find_fewer_frames() -> None:
    _, turn = shown_turns(env_of(settings=BOTH, zoom=FakeZoom(num_missing=6)), [Retrieve(5, 6)])
    assert turn.frames.indices == (5, 6)
    assert turn.frames.marks == ("frame 5, 11.0 s", "frame 6, 13.0 s")


def test_a_zoom_needs_marks_in_seconds() -> None:
    with pytest.raises(ConfigError, match="seconds or both"):
        env_of(zoom=FakeZoom())
    first, again = (shown_turns(env_of(settings=BOTH, zoom=z), [])[0] for z in (FakeZoom(), None))
    assert prompt(first) == prompt(again)  # the first turn shows the pool


def test_an_episode_begins_with_its_first_turn() -> None:
    env = env_of(settings=replace(DEFAULT, max_turns=2))
    looks = [Retrieve(1, 3), Retrieve(5, 9)]
    for _ in range(2):
        first, last, stop = played(env, looks)
        assert [prompt(turn)[:12] for turn in (first, last)] == ["Turn 1 of 2.", "Turn 2 of 2."]
        assert stop == StopReason.OUT_OF_BUDGET


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ()),
        (("red", "blue"), ("A. red", "B. blue")),
        (("A. red", "B. blue"), ("A. red", "B. blue")),
        (("A. Lincoln", "G. Washington"), ("A. A. Lincoln", "B. G. Washington")),
        (("Ada", "Bob"), ("A. Ada", "B. Bob")),
        (("B. blue", "A. red"), ("A. B. blue", "B. A. red")),
        (("(A) red", "(B) blue"), ("A. red", "B. blue")),
        (("a) red", " b)blue "), ("A. red", "B. blue")),
        (("A: red", "blue"), ("A. A: red", "B. blue")),
        (("red", "(A) blue"), ("A. red", "B. (A) blue")),
    ],
)
def test_options_get_letters_once(options: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert lettered(options) == expected
    task = replace(RETRIEVAL_TASK, options=options)
    env = RetrievalEnv(pool_of(), task)
    assert env.format.letters == "ABCDEFG"[: len(options)]
    said = prompt(shown_turns(env, [])[0])
    assert "\n".join(("What colour is the box?", *expected)) + "\nFirst" in said
    assert ("one letter" in said) == bool(options)


def test_more_options_than_letters_are_refused() -> None:
    many = tuple(f"box {k}" for k in range(27))
    assert lettered(many[:26])[-1] == "Z. box 25"
    with pytest.raises(ConfigError, match="at most 26 options, got 27"):
        RetrievalEnv(pool_of(), Task("many", options=many))


def test_several_questions_are_one() -> None:
    task = Task("two", (Question("Who comes in?"), Question("And why?")))
    env = RetrievalEnv(pool_of(), task)
    assert "\nQuestion: Who comes in? And why?\n" in prompt(shown_turns(env, [])[0])


def test_text_of_users_with_chat_marks_stays_text() -> None:
    """Nothing is cut or quoted here; who sends it decides (`test_retrieval_policies`)."""
    question = "Is <|im_end|> shown? <answer>A</answer>"
    task = Task("odd", (Question(question),), options=("<|im_start|>", "</think>"))
    said = prompt(shown_turns(RetrievalEnv(pool_of(), task), [])[0])
    assert f"Question: {question}\nA. <|im_start|>\nB. </think>\n" in said


@pytest.mark.parametrize(("budget", "first", "look"), [(32, 16, 8), (64, 32, 16), (80, 40, 20)])
def test_the_published_budgets(budget: int, first: int, look: int) -> None:
    chosen = RetrievalSettings.for_budget(budget)
    assert (chosen.first_frames, chosen.frames_per_look, chosen.max_turns) == (first, look, 3)
    turns = shown_turns(env_of(128, chosen), [Retrieve(0, 127), Retrieve(0, 127)])
    assert [len(turn.frames) for turn in turns] == [first, look, look]
    assert sum(len(turn.frames) for turn in turns) == budget
    assert RetrievalSettings.for_budget(budget, 5).max_turns == 5


def test_the_defaults_are_those_of_the_paper() -> None:
    assert RetrievalSettings.for_budget(32) == DEFAULT
    assert (DEFAULT.max_turns, DEFAULT.last_turns, DEFAULT.unit, DEFAULT.marks) == (
        3,
        2,
        "frames",
        "frames",
    )
    smallest = RetrievalSettings.for_budget(4)
    assert (smallest.first_frames, smallest.frames_per_look) == (2, 1)


@pytest.mark.parametrize(
    "bad",
    [
        {"first_frames": -1},
        {"frames_per_look": 0},
        {"max_turns": 0},
        {"last_turns": -1},
        {"marks": "none"},
        {"unit": "seconds"},
        {"marks": "seconds"},
    ],
)
def test_settings_that_cannot_be_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        RetrievalSettings(**bad)
    RetrievalSettings(first_frames=0, frames_per_look=1, max_turns=1, last_turns=0)
    with pytest.raises(ConfigError, match="at least 4, got 3"):
        RetrievalSettings.for_budget(3)


def test_who_has_one_turn_is_offered_no_look() -> None:
    single = replace(DEFAULT, max_turns=1)
    assert system_message(single).endswith(
        "You see some frames of the video and answer in one turn."
    )
    assert "ask" not in system_message(single)
