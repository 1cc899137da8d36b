"""Where questions and replies stand in a written dialogue."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from oncue.clock import Clock
from oncue.dialogue.write import Placement, reply_turn, turn_reaching, write_dialogue
from oncue.types import GoldTurn, Question, Task, TimeSpan


def placed(
    span: tuple[float, float],
    placement: Placement = Placement.END,
    *,
    interval_s: float = 2.0,
    frames_per_turn: int = 2,
    num_frames: int = 10,
    seed: int = 0,
) -> int | None:
    rng = np.random.default_rng(seed)
    return reply_turn(
        TimeSpan(*span), Clock(interval_s), frames_per_turn, num_frames, placement, rng
    )


# turns of two frames every 2 s have the clocks 4, 8, 12, 16, 20
@pytest.mark.parametrize(
    ("span", "turn"),
    [
        ((5, 13), 2),  # 12 is the last clock inside
        ((4, 12), 2),  # closed at the end
        ((4, 11.9), 1),
        ((12, 12), 2),  # closed at both ends
        ((5, 7), 1),  # no clock inside: the first turn after the start
        ((0, 1), 0),
        ((17, 100), 4),  # the video ends inside
        ((20, 25), 4),
        ((20.5, 25), None),  # the video ends before
    ],
)
def test_a_reply_stands_in_the_last_turn_of_its_span(span, turn):
    assert placed(span) == turn


def test_at_the_start_it_stands_in_the_first_turn():
    assert placed((5, 19), Placement.START) == 1
    assert placed((5, 19), Placement.END) == 3
    assert placed((5, 7), Placement.START) == 1


def test_spread_draws_every_turn_of_the_span_evenly():
    found = Counter(placed((5, 19), Placement.SPREAD, seed=seed) for seed in range(600))
    assert set(found) == {1, 2, 3}
    assert min(found.values()) > 150
    assert {placed((5, 7), Placement.SPREAD, seed=seed) for seed in range(20)} == {1}


def test_turn_odds_are_those_of_the_turns_of_the_span():
    def turns(span, odds):
        drawn = (np.random.default_rng(seed) for seed in range(400))
        return Counter(
            reply_turn(TimeSpan(*span), Clock(2.0), 2, 10, Placement.START, rng, odds)
            for rng in drawn
        )

    found = turns((5, 19), (1, 3))
    assert set(found) == {1, 2}
    assert found[2] == pytest.approx(300, abs=40)
    assert turns((5, 19), (0, 0, 1, 1, 1, 1)) == {3: 400}  # behind the span: its last turn
    assert turns((5, 7), (0, 1)) == {1: 400}  # a span without a turn


def test_a_short_last_turn_keeps_its_own_clock():
    # five frames: the clocks are 4, 8, 10
    assert placed((9, 10), num_frames=5) == 2
    assert placed((5, 10), num_frames=5) == 2
    assert placed((5, 9.9), num_frames=5) == 1
    assert placed((11, 12), num_frames=5) is None  # with a sixth frame it would be turn 2
    assert placed((11, 12), num_frames=6) == 2


def test_every_reply_stands_inside_its_span_or_right_after_it():
    rng = np.random.default_rng(0)
    for _ in range(500):
        interval_s, per_turn = float(rng.choice([0.5, 1.0, 2.0])), int(rng.integers(1, 4))
        num_frames = int(rng.integers(1, 30))
        start_s = float(rng.uniform(0, 20))
        span = (start_s, start_s + float(rng.uniform(0, 8)))
        clocks = [
            min((k + 1) * per_turn, num_frames) * interval_s
            for k in range(-(-num_frames // per_turn))
        ]
        inside = [k for k, clock_s in enumerate(clocks) if span[0] <= clock_s <= span[1]]
        after = [k for k, clock_s in enumerate(clocks) if clock_s >= span[0]]
        for placement in Placement:
            turn = placed(
                span,
                placement,
                interval_s=interval_s,
                frames_per_turn=per_turn,
                num_frames=num_frames,
            )
            if not inside:
                assert turn == (after[0] if after else None)
            elif placement is Placement.SPREAD:
                assert turn in inside
            else:
                assert turn == (inside[-1] if placement is Placement.END else inside[0])


def test_the_example_of_the_paper():
    clock = Clock(1.0)
    gold = (GoldTurn("He walks.", TimeSpan(2.5, 4.5)), GoldTurn("He sits.", TimeSpan(6.5, 8.0)))
    task = Task("t", (Question("What does he do?", 2.0),), gold)
    dialogue = write_dialogue(task, 8, clock, system="S", silence="NO REPLY", frames_per_turn=2)
    assert [(t.role, t.text, t.num_frames) for t in dialogue.turns] == [
        ("system", "S", 0),
        ("user", "What does he do?", 2),
        ("assistant", "NO REPLY", 0),
        ("user", "", 2),
        ("assistant", "He walks.", 0),
        ("user", "", 2),
        ("assistant", "NO REPLY", 0),
        ("user", "", 2),
        ("assistant", "He sits.", 0),
    ]
    assert turn_reaching(2.0, clock, 2, 8) == 0
    assert turn_reaching(2.1, clock, 2, 8) == 1


def test_what_falls_into_one_turn_is_joined():
    gold = (GoldTurn("One.", TimeSpan(2, 3)), GoldTurn("Two.", TimeSpan(2, 4)))
    task = Task(
        "t", (Question("First?", 0.0), Question("Second?", 1.5), Question("Never?", 9.0)), gold
    )
    dialogue = write_dialogue(task, 4, Clock(1.0), system="S", silence="-", frames_per_turn=4)
    assert [t.text for t in dialogue.turns] == ["S", "First?\nSecond?", "One. Two."]


def test_the_last_turn_holds_what_is_left():
    dialogue = write_dialogue(Task("t"), 5, Clock(1.0), system="S", silence="-", frames_per_turn=2)
    assert [t.num_frames for t in dialogue.turns if t.role == "user"] == [2, 2, 1]
    assert dialogue.num_frames == 5


def spread_turns(rng: np.random.Generator | None) -> list[int]:
    """The turns that ten replies are written into, each due in a span of ten turns."""
    gold = tuple(GoldTurn(f"{k}.", TimeSpan(1, 10)) for k in range(10))
    dialogue = write_dialogue(
        Task("t", gold=gold),
        10,
        Clock(1.0),
        system="S",
        silence="-",
        placement=Placement.SPREAD,
        rng=rng,
    )
    answers = [turn.text.split() for turn in dialogue.turns if turn.role == "assistant"]
    return [next(turn for turn, said in enumerate(answers) if f"{k}." in said) for k in range(10)]


def test_spread_replies_follow_the_random_numbers_of_the_caller():
    drawn = [spread_turns(np.random.default_rng(seed)) for seed in range(4)]
    assert drawn == [spread_turns(np.random.default_rng(seed)) for seed in range(4)]
    assert len(set(map(tuple, drawn))) == 4
    assert drawn == [np.random.default_rng(seed).integers(0, 10, 10).tolist() for seed in range(4)]
    rng = np.random.default_rng(0)
    assert spread_turns(rng) != spread_turns(
        rng
    )  # a second dialogue goes on where the first one ended


def test_spread_without_random_numbers_is_the_same_every_time():
    assert spread_turns(None) == spread_turns(None) == spread_turns(np.random.default_rng(0))
    assert len(set(spread_turns(None))) > 1
