"""The truthful watcher: on ordered frames it says what the oracle says; what it says follows the
pictures alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oncue.clock import Clock
from oncue.eval.benchmarks.baselines import oracle_replies, truthful_replies
from oncue.eval.benchmarks.world_clips import shown_times
from oncue.types import Question
from oncue.world.clip import WORLDS, Clip, make_clip

CLOCK = Clock(1.0)


def clips(world: str, num_clips: int = 150) -> list[Clip]:
    return [make_clip(world, "test", index) for index in range(num_clips)]


def away_from_questions(replies: dict[float, str], clip: Clip) -> dict[float, str]:
    """Without those in the turn of a later question, or one turn before: gold drops answers cut
    that short."""
    near_s = {
        q.time_s - before_s for q in clip.task.questions if q.time_s > 0 for before_s in (0.0, 1.0)
    }
    return {time_s: text for time_s, text in replies.items() if time_s not in near_s}


@pytest.mark.parametrize("world", WORLDS)
def test_on_ordered_frames_it_says_what_the_oracle_says(world):
    num_due = num_said = 0
    for clip in clips(world):
        oracle = oracle_replies(clip.task, 1.0)
        said = truthful_replies(clip, clip.grid_times(CLOCK), 1.0)
        assert away_from_questions(said, clip) == away_from_questions(oracle, clip)
        num_due += len(oracle)
        num_said += len(away_from_questions(oracle, clip))
    assert num_due > 200
    assert num_said > 0.95 * num_due


@pytest.mark.parametrize("world", WORLDS)
def test_on_shuffled_frames_it_does_not(world):
    """The negative control of the law above, and of the gold: what it says then is mostly not
    due."""
    eventful = [clip for clip in clips(world, 60) if clip.task.gold]
    oracle = [oracle_replies(clip.task, 1.0) for clip in eventful]
    said = [truthful_replies(clip, shown_times(clip, "shuffled"), 1.0) for clip in eventful]
    assert sum(map(len, said)) > 2 * sum(map(len, oracle))
    assert sum(one != other for one, other in zip(said, oracle, strict=True)) > 0.9 * len(eventful)


@pytest.mark.parametrize("world", WORLDS)
def test_it_is_silent_where_nothing_differs(world):
    for clip in clips(world, 30):
        times_s = clip.grid_times(CLOCK)
        assert truthful_replies(clip.standing_still(), times_s, 1.0) == {}
        assert truthful_replies(clip, [times_s[-1]] * len(times_s), 1.0) == {}
        assert truthful_replies(clip, times_s[:1], 1.0) == {}


@pytest.mark.parametrize("world", WORLDS)
def test_what_is_due_does_not_matter_to_it(world):
    for clip in clips(world, 30):
        times_s = shown_times(clip, "shuffled")
        blank = replace(clip, task=replace(clip.task, gold=()))
        assert truthful_replies(blank, times_s, 1.0) == truthful_replies(clip, times_s, 1.0)


def asked(clip: Clip, *questions: Question) -> Clip:
    return replace(clip, task=replace(clip.task, questions=questions))


def test_only_the_newest_question_is_answered_and_not_for_what_was_there_before_it():
    clip = next(clip for clip in clips("shapes") if len(clip.scene.events) > 5)
    times_s = clip.grid_times(CLOCK)
    everything, colours = "Tell me everything that happens.", "Say when a colour changes."
    full = truthful_replies(asked(clip, Question(everything)), times_s, 1.0)
    assert len(full) == len(clip.scene.events)
    turn_s = list(full)[2]  # a turn in which something is to be told
    late = truthful_replies(asked(clip, Question(everything, turn_s)), times_s, 1.0)
    assert late == {time_s: text for time_s, text in full.items() if time_s > turn_s}
    just_before = truthful_replies(asked(clip, Question(everything, turn_s - 1)), times_s, 1.0)
    assert just_before == {turn_s: full[turn_s]} | late
    both = truthful_replies(
        asked(clip, Question(everything), Question(colours, turn_s)), times_s, 1.0
    )
    assert both == {
        t: text for t, text in full.items() if t < turn_s or (t > turn_s and "turns" in text)
    }
    assert truthful_replies(asked(clip), times_s, 1.0) == {}
