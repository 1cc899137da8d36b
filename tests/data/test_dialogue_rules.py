"""The rules that make a dialogue of questions with answers in scenes, as laws."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from oncue.clock import Clock
from oncue.data.pipeline.rules import (
    TurnGrid,
    answers_before,
    chosen_lists,
    dialogue_kind,
    dialogue_of,
    num_question_lists,
    question_times,
)
from oncue.data.pipeline.values import QuestionList
from oncue.data.proactive_rows import DialogueKind
from oncue.types import GoldTurn, TimeSpan

Case = tuple[TurnGrid, list[TimeSpan], list[QuestionList], tuple[float, ...], list[str]]
MANY, ONE = DialogueKind.MANY_QUESTIONS, DialogueKind.ONE_QUESTION
GRID = TurnGrid(Clock(2.0), 2, 40.0)  # turns at 4, 8, ..., 40 s


def spans(*pairs: tuple[float, float]) -> list[TimeSpan]:
    return [TimeSpan(*pair) for pair in pairs]


def full(name: str, num_scenes: int) -> QuestionList:
    return QuestionList(name, {i: f"{name}{i}" for i in range(num_scenes)})


def said(gold: tuple[GoldTurn, ...], name: str) -> dict[str, TimeSpan]:
    return {g.content: g.span for g in gold if g.question == name}


@st.composite
def dialogues(draw: st.DrawFn) -> Case:
    interval_s = draw(st.sampled_from([0.5, 1.0, 2.0]))
    per_turn = draw(st.integers(1, 3))
    duration_s = draw(st.integers(5, 200)) / draw(st.sampled_from([1, 2, 3]))
    grid = TurnGrid(Clock(interval_s), per_turn, duration_s)
    scenes = []
    for _ in range(draw(st.integers(1, 8))):
        start = draw(st.floats(0, duration_s * 0.95))
        end = draw(st.floats(start, duration_s))
        if end > start:
            scenes.append(TimeSpan(start, end))
    scenes.sort(key=lambda s: (s.start_s, s.end_s))
    lists = [
        QuestionList(name, {i: f"{name}{i}" for i in range(len(scenes)) if draw(st.booleans())})
        for name in "abcd"[: draw(st.integers(1, 4))]
    ]
    lists = lists[: max(1, len(grid.turns_inside))]
    times = question_times(grid, MANY, len(lists), draw(st.text(max_size=5)), draw(st.integers(0)))
    lists = lists[: len(times)]
    merged = [" ".join(answers_before(scenes, q, t)) for q, t in zip(lists, times, strict=True)]
    return grid, scenes, lists, times, merged


@given(dialogues())
def test_laws_of_a_dialogue_with_several_questions(case: Case) -> None:
    grid, scenes, lists, times, merged = case
    questions, gold = dialogue_of(scenes, lists, times, merged, grid)
    assert [q.text for q in questions] == [each.question for each in lists]
    assert [q.time_s for q in questions] == list(times)
    turns = [grid.turn_of(t) for t in times]
    assert all(a < b for a, b in itertools.pairwise(turns)), "each a turn of its own"
    assert sum(len(said(gold, each.question)) for each in lists) == len(gold)
    for number, (asked, time_s) in enumerate(zip(lists, times, strict=True)):
        if grid.turns_inside:
            assert grid.time_of(turns[number]) == time_s, "on the turn grid"
            assert time_s < grid.duration_s
        next_turn = turns[number + 1] if number + 1 < len(turns) else grid.num_turns
        replies = dict(said(gold, asked.question))
        ended = {i for i, scene in enumerate(scenes) if scene.end_s <= time_s}
        if merged[number]:
            now = replies.pop(merged[number])
            assert grid.turn_due(now) == turns[number], "immediate: due at the very turn"
            assert time_s == now.start_s < now.end_s <= grid.duration_s
        assert set(merged[number].split()) == {
            f"{asked.question}{i}" for i in ended & set(asked.answers)
        }
        for i in asked.answers:
            span = replies.pop(f"{asked.question}{i}", None)
            due = (
                grid.turn_due(TimeSpan(max(scenes[i].start_s, time_s), scenes[i].end_s))
                if i not in ended
                else -1
            )
            assert (span is not None) == (i not in ended and due < next_turn)
            if span is not None:
                assert scenes[i].start_s <= span.start_s < span.end_s == scenes[i].end_s
                assert turns[number] <= grid.turn_due(span) < next_turn, "before the next question"
        assert not replies, "nothing else is due"


@given(dialogues())
def test_one_question_gets_every_answer_inside_its_scene(case: Case) -> None:
    grid, scenes, lists, _, _ = case
    questions, gold = dialogue_of(scenes, lists[:1], (0.0,), [""], grid)
    assert [q.time_s for q in questions] == [0.0]
    asked = lists[0]
    assert said(gold, asked.question) == {text: scenes[i] for i, text in asked.answers.items()}


def test_a_scene_that_runs_when_the_next_question_arrives_loses_its_answer() -> None:
    scenes = spans((0, 6), (6, 14), (14, 30), (30, 39))
    first, second = full("a", 4), full("b", 4)
    _, gold = dialogue_of(scenes, (first, second), (4.0, 16.0), ("", "b0 and b1"), GRID)
    assert said(gold, "a") == {"a0": TimeSpan(4, 6), "a1": TimeSpan(6, 14)}
    assert said(gold, "b") == {
        "b0 and b1": TimeSpan(16, 18),
        "b2": TimeSpan(16, 30),
        "b3": TimeSpan(30, 39),
    }
    # A scene that ends with the question has ended, but its reply would come too late
    _, gold = dialogue_of(
        spans((0, 16)), (full("a", 1), full("b", 1)), (4.0, 16.0), ("", "b0"), GRID
    )
    assert [(g.content, g.question) for g in gold] == [("b0", "b")]


def test_what_is_merged_is_of_the_scenes_that_have_ended() -> None:
    scenes = spans((0, 6), (6, 14), (14, 30))
    asked = QuestionList("a", {0: "x", 2: "z"})
    assert answers_before(scenes, asked, 5.9) == ()
    assert answers_before(scenes, asked, 6.0) == ("x",)
    assert answers_before(scenes, asked, 40.0) == ("x", "z")


def test_the_number_of_questions_grows_with_the_length() -> None:
    assert [num_question_lists(s) for s in (1, 59.9, 60, 179.9, 180, 9000)] == [2, 2, 3, 3, 4, 4]


def test_half_of_the_videos_get_one_question_whatever_others_there_are() -> None:
    kinds = {f"v{i}": dialogue_kind(f"v{i}", 0) for i in range(2000)}
    assert 900 < list(kinds.values()).count(ONE) < 1100
    assert all(dialogue_kind(v, 0) is kind for v, kind in reversed(kinds.items()))
    changed = sum(dialogue_kind(v, 1) is not kind for v, kind in kinds.items())
    assert 900 < changed < 1100
    assert dialogue_kind("v0", 0) is ONE  # pinned: rows must not change with a version


def test_question_times_are_drawn_from_all_turns_inside() -> None:
    drawn = [question_times(GRID, MANY, 3, f"v{i}", 0) for i in range(300)]
    assert {t for times in drawn for t in times} == {4.0 * k for k in range(1, 10)}
    assert all(sorted(set(times)) == list(times) and len(times) == 3 for times in drawn)
    assert question_times(GRID, ONE, 1, "v", 0) == (0.0,)
    short = TurnGrid(Clock(2.0), 2, 1.0)  # no turn ends inside
    assert question_times(short, MANY, 1, "v", 0) == (0.0,)


def test_lists_are_chosen_by_kind_and_room() -> None:
    lists = [full(name, 1) for name in "abcd"]
    assert len(chosen_lists(lists, ONE, 9, "v", 0)) == 1
    assert len(chosen_lists(lists, MANY, 2, "v", 0)) == 2
    orders = {
        tuple(q.question for q in chosen_lists(lists, MANY, 9, f"v{i}", 0)) for i in range(200)
    }
    assert len(orders) == 24


def test_an_immediate_answer_comes_before_what_begins_with_its_question() -> None:
    """It is about what came before, also where a scene ends right after the question."""
    scenes = spans((0, 5), (5, 8.5))
    _, gold = dialogue_of(scenes, (full("a", 2), full("b", 2)), (4.0, 8.0), ("", "b0"), GRID)
    assert [g.content for g in gold if g.question == "b"] == ["b0", "b1"]
    assert gold[-1].span.end_s < gold[-2].span.end_s
