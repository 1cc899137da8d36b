"""Scores of proactive dialogues, step by step (ProactiveVideoQA), by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from oncue.errors import ConfigError, DataError
from oncue.scoring.judge import ExactJudge
from oncue.scoring.metrics import Transcript, score_proactive, transcripts_of
from oncue.scoring.score import Unscored
from oncue.types import (
    EnvTurn,
    Episode,
    Exchange,
    FrameBatch,
    GoldTurn,
    Malformed,
    PolicyTurn,
    Question,
    Reply,
    Silence,
    StopReason,
    Task,
    TimedReply,
    TimeSpan,
)


class DigitJudge:
    """The mark is the last digit of what was said; "?" cannot be marked. Records what it was
    asked."""

    name, max_score = "digit", 2

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []

    async def coverage(
        self, question: str, gold: str, replies_so_far: Sequence[str]
    ) -> int | Unscored:
        self.asked.append((question, gold, " ".join(replies_so_far)))
        return (
            Unscored("no answer")
            if replies_so_far[-1].endswith("?")
            else int(replies_so_far[-1][-1])
        )

    async def repeats(self, previous: Sequence[str], new: str) -> bool | Unscored:
        return any(new[0] == earlier[0] for earlier in previous)


def gold(start_s: float, end_s: float, content: str = "g", **kwargs) -> GoldTurn:
    return GoldTurn(content, TimeSpan(start_s, end_s), **kwargs)


def transcript(
    *replies: tuple[float, str], turns: Sequence[GoldTurn] = (gold(0, 10),), **kwargs
) -> Transcript:
    task = Task(kwargs.pop("task_id", "t"), (Question("q?"),), tuple(turns), 60.0)
    return Transcript(
        task, tuple(TimedReply(*r) for r in replies), kwargs.pop("watched_s", 60.0), **kwargs
    )


def score(*transcripts: Transcript | Episode, judge=None, **kwargs):
    return asyncio.run(score_proactive(transcripts, judge or DigitJudge(), **kwargs))


def paucs(*replies: tuple[float, str], **kwargs) -> tuple[float, ...]:
    return score(transcript(*replies, **kwargs)).turns[0].pauc


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ([], (0.25, 0.25, 0.25)),
        ([(0, "a2")], (1, 1, 1)),  # exactly at the start
        ([(10, "a2")], (0.25, 0.625, 1)),  # exactly at the end
        ([(10.001, "a2")], (0.25, 0.25, 0.25)),  # just outside
        ([(0, "a0")], (0, 0, 0)),
        ([(2, "a1"), (6, "b2")], (0.65, 0.825, 1)),
        ([(6, "b2"), (2, "a1")], (0.65, 0.825, 1)),
        ([(5, "a2"), (5, "b0")], (0.625, 0.8125, 1)),  # two at one time
        (
            [(1, "a2")],
            (0.925, 0.9625, 1),
        ),  # 1 s and mark 2, not 2 s and mark 1: (1*.5 + 9*2) / 20 at 0
        (
            [(2, "a1"), (6, "a1")],
            (0.45, 0.475, 0.5),
        ),  # the second is an exact duplicate: (2*.5 + 8*1) / 20 at 0
    ],
)
def test_pauc_of_one_turn(replies, expected):
    assert paucs(*replies) == pytest.approx(expected)


def test_the_judge_sees_all_kept_replies_so_far_and_the_first_question():
    judge = DigitJudge()
    score(transcript((6, "b2"), (2, "a1"), (4, "a1"), (20, "c2")), judge=judge)
    assert sorted(judge.asked) == [("q?", "g", "a1"), ("q?", "g", "a1 b2")]


def test_the_question_of_the_gold_turn_comes_first():
    judge = DigitJudge()
    score(transcript((2, "a1"), turns=[gold(0, 10, question="mine?")]), judge=judge)
    assert judge.asked == [("mine?", "g", "a1")]


def test_overlapping_turns_share_a_reply():
    result = score(transcript((6, "a2"), turns=[gold(0, 10), gold(5, 15)]))
    assert [t.pauc[0] for t in result.turns] == pytest.approx([0.55, 0.925])
    assert result.num_false_replies == 0


def test_turns_weigh_the_same_whatever_their_sample():
    one = transcript((0, "a2"), turns=[gold(0, 10)], task_id="one")
    three = transcript(turns=[gold(0, 10), gold(20, 30), gold(40, 50)], task_id="three")
    assert score(one, three).pauc(0.5) == pytest.approx((1 + 3 * 0.25) / 4)


@pytest.mark.parametrize(
    ("replies", "at_zero"),
    [
        ([(2, "a2"), (9, "b1")], 0.85),  # late and lower: deleted, (1 + 16)/20
        ([(2, "a1"), (9, "b1")], 0.45),  # late and equal: kept, changes nothing
        ([(2, "a1"), (9, "b2")], 0.5),  # late and higher: (1 + 7 + 2)/20
        ([(9, "a1"), (9.5, "b0")], 0.25),  # none during the event: (4.5 + .5 + 0)/20
    ],
)
def test_late_rule_in_place(replies, at_zero):
    turn = gold(0, 10, related_span=TimeSpan(0, 8))
    assert paucs(*replies, turns=[turn])[0] == pytest.approx(at_zero)


@pytest.mark.parametrize(("time_s", "late"), [(28, False), (28.001, True)])
def test_a_reply_is_late_behind_the_end_of_the_event_and_not_at_it(time_s, late):
    turn = gold(20, 40, related_span=TimeSpan(18, 28))
    scored = score(transcript((23, "a2"), (time_s, "b1"), turns=[turn])).turns[0]
    assert [r.late for r in scored.replies] == [False, late]
    assert scored.pauc[0] == pytest.approx(
        (3 * 0.5 + 17 * 2) / 40 if late else (3 * 0.5 + 5 * 2 + 12) / 40
    )


def test_without_a_related_span_there_is_no_late_rule():
    assert paucs((2, "a2"), (9, "b1"))[0] == pytest.approx((1 + 14 + 1) / 20)


def test_late_replies_are_marked_in_the_details():
    turn = score(
        transcript((2, "a2"), (9, "b1"), turns=[gold(0, 10, related_span=TimeSpan(0, 8))])
    ).turns[0]
    assert [(r.reply.text, r.mark, r.late) for r in turn.replies] == [
        ("a2", 2, False),
        ("b1", 1, True),
    ]


def test_unscored_replies_are_left_out_and_counted_never_zero():
    result = score(transcript((2, "a?"), (6, "b2")))
    assert result.turns[0].pauc[0] == pytest.approx((6 * 0.5 + 4 * 2) / 20)
    assert (result.num_unscored, result.num_judged, result.unscored_share) == (1, 2, 0.5)
    failed = score(transcript((2, "a?"), (6, "b?")))
    assert failed.turns[0].pauc == (0.25, 0.25, 0.25)  # all calls failed: as an empty turn
    assert failed.unscored_share == 1.0
    assert score(transcript()).unscored_share == 0.0  # nothing was asked


def test_delay_counts_from_the_visible_moment_over_hit_spans():
    turns = [gold(0, 10, visible_s=3.0), gold(20, 30), gold(40, 50)]
    result = score(transcript((4, "a2"), (8, "b2"), (22.5, "c1"), turns=turns))
    assert [t.delay_s for t in result.turns] == [1.0, 2.5, None]
    assert result.first_reply_delay_s == pytest.approx(1.75)
    assert result.num_hit_turns == 2


def test_false_replies_per_minute_of_video_and_of_quiet():
    result = score(
        transcript((4, "a2"), (11, "b2"), (12, "c2"), (59, "d1"), watched_s=60.0),
        transcript(turns=[], task_id="nothing happens", watched_s=30.0),
    )
    assert result.num_false_replies == 3
    assert result.false_replies_per_min == pytest.approx(3 / 1.5)
    assert result.quiet_s == 80.0
    assert result.false_replies_per_quiet_min == pytest.approx(3 * 60 / 80)
    assert (result.num_replies, result.replies_per_min) == (4, pytest.approx(4 / 1.5))


def test_duplicates_are_summed_over_dialogues():
    result = score(
        transcript((1, "a1"), (2, "a2"), (3, "b1")),
        transcript((1, "a1"), (20, "a1")),
        duplicate_scope="within_turn",
    )
    assert (result.duplicates.num_duplicate, result.duplicates.num_decided) == (1, 2)
    whole = score(transcript((1, "a1"), (20, "a1")), duplicate_scope="whole_dialogue").duplicates
    assert (whole.num_duplicate, whole.num_decided) == (1, 1)


def exchange(clock_s: float, acted: PolicyTurn) -> Exchange:
    return Exchange(EnvTurn(FrameBatch.empty(), clock_s), acted)


def test_episodes_give_times_turns_and_silence():
    task = Task("t", (Question("q?"),), (gold(0, 10),), 10.0)
    acted = [
        PolicyTurn(Reply("history2"), sampled=False),
        PolicyTurn(Silence()),
        PolicyTurn(Malformed("{", "no grammar")),
        PolicyTurn(Reply("a2")),
        PolicyTurn(Silence()),
    ]
    episode = Episode(
        task, tuple(exchange(2.0 * i, a) for i, a in enumerate(acted, 1)), StopReason.SOURCE_ENDED
    )
    result = score(episode)
    assert result.turns[0].pauc[0] == pytest.approx((8 * 0.5 + 2 * 2) / 20)
    assert (result.num_replies, result.silence_rate, result.watched_s) == (1, 0.5, 10.0)


def test_predictions_from_a_file_have_no_share_of_silence():
    (read,) = transcripts_of([Task("a", (), (gold(0, 10),), 30.0)], {"a": [TimedReply(3.0, "a2")]})
    assert (read.watched_s, read.num_turns, read.num_silent) == (30.0, 0, 0)
    assert score(read).silence_rate is None
    assert score(transcript(num_turns=1, num_silent=1)).silence_rate == 1.0
    assert (
        score(read, transcript(num_turns=4, num_silent=3)).silence_rate == 0.75
    )  # of the turns that are known


def test_an_episode_without_a_turn_counts_as_silence():
    task = Task("t", (), (gold(0, 10),), 10.0)
    result = score(Episode(task, (), StopReason.CANCELLED))
    assert (result.pauc(), result.silence_rate, result.false_replies_per_min) == (0.25, None, None)


def test_nothing_due_no_mean():
    result = score(transcript(turns=[]))
    assert (result.pauc(), result.first_reply_delay_s, result.duplicates.share) == (
        None,
        None,
        None,
    )


def test_samples_without_predictions_count():
    tasks = [Task("a=b%Q1", (), (gold(0, 10),), 10.0), Task("v.mp4", (), (gold(0, 10),), 10.0)]
    read = transcripts_of(tasks, {"a=b%Q1": [TimedReply(0, "a2")]})
    result = score(*read)
    assert [d.transcript.task.task_id for d in result.dialogues] == ["a=b%Q1", "v.mp4"]
    assert result.pauc(0.0) == pytest.approx((1 + 0.25) / 2)


def test_predictions_for_an_unknown_task_are_an_error():
    with pytest.raises(DataError, match="'typo'"):
        transcripts_of([Task("a", duration_s=5.0)], {"typo": []})
    with pytest.raises(DataError, match="no duration"):
        transcripts_of([Task("a")], {})


def test_a_gold_span_without_width_is_an_error_that_names_it():
    with pytest.raises(DataError, match=r"turn 2 of task 't'.*at 5 s"):
        score(transcript(turns=[gold(0, 10), gold(5, 5)]))


def test_the_scale_of_the_judge_must_fit():
    with pytest.raises(ConfigError, match="up to 2, the score needs up to 4"):
        score(transcript(), max_score=4)
    with pytest.raises(ConfigError, match=r"got 0\.3"):
        score(transcript()).pauc(0.3)


def test_scale_of_four():
    judge = ExactJudge(lambda g, r: 4 * (g == r), max_score=4)
    assert score(transcript((5, "g")), judge=judge, max_score=4).pauc(0.5) == pytest.approx(0.78125)
    assert score(transcript(), judge=judge, max_score=4).pauc(0.5) == 0.125


def test_a_silent_model_scores_25_on_any_gold():
    rng = np.random.default_rng(0)
    turns = [gold(s, s + w) for s, w in rng.uniform(0.5, 20, (50, 2))]
    result = score(transcript(turns=turns))
    assert [result.pauc(omega) for omega in (0.0, 0.5, 1.0)] == [0.25] * 3
