"""Laws of the training reward: the worked example of both profiles, its bounds, and what a missing
judgement does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from oncue.errors import ConfigError
from oncue.rewards.proactive import (
    Judgements,
    ProactiveReward,
    Profile,
    RewardSettings,
    Rollout,
    judge_rollout,
    reward_terms,
    turn_values,
)
from oncue.scoring.judge import ExactJudge
from oncue.scoring.score import Unscored
from oncue.types import (
    EnvTurn,
    Episode,
    Exchange,
    FrameBatch,
    GoldTurn,
    Malformed,
    PolicyTurn,
    Reply,
    Silence,
    StopReason,
    Task,
    TimeSpan,
)

PAPER, OFFICIAL = RewardSettings("paper"), RewardSettings("official")
A, C = "a" * 30, "c" * 70
B = "b" * 60 + "first"
B2 = "b" * 60 + "second"
GOLD = (GoldTurn("one", TimeSpan(4, 12), "?"), GoldTurn("two", TimeSpan(16, 24), "?"))
SAID = {8.0: A, 16.0: B, 20.0: A, 24.0: B2, 28.0: C}
ROLLOUT = Rollout(GOLD, tuple((float(t), SAID.get(float(t))) for t in range(4, 33, 4)))
JUDGED = Judgements(
    {(0, 8.0): 4, (1, 16.0): 2, (1, 20.0): 0, (1, 24.0): 4},
    {8.0: False, 16.0: False, 24.0: True, 28.0: False},
)


def silent(rollout: Rollout) -> Rollout:
    return replace(rollout, turns=tuple((time_s, None) for time_s, _ in rollout.turns))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (PAPER, (0.40625, -2 / 5, -1 / 5, -1 / 5, -0.08125)),
        (OFFICIAL, (0.703125, -0.5, -1 / 2, -1 / 8, 0.609375)),
    ],
)
def test_the_worked_example(settings: RewardSettings, expected: tuple[float, ...]) -> None:
    terms = reward_terms(ROLLOUT, JUDGED, settings)
    assert (
        terms.pauc,
        terms.repetition,
        terms.in_span,
        terms.prefix,
        terms.reward,
    ) == pytest.approx(expected)
    assert terms.num_unscored == 0
    nothing = reward_terms(silent(ROLLOUT), Judgements(), settings)
    assert (nothing.pauc, nothing.repetition, nothing.in_span, nothing.prefix) == (0.125, 0, 0, 0)
    assert nothing.reward == pytest.approx(0.375)


@pytest.mark.parametrize(
    "settings", [PAPER, OFFICIAL, replace(OFFICIAL, repetition_scope="span", prefix_characters=7)]
)
def test_what_turns_earn_adds_up_to_the_reward_minus_that_of_silence(
    settings: RewardSettings,
) -> None:
    values = turn_values(ROLLOUT, JUDGED, settings)
    nothing = reward_terms(silent(ROLLOUT), Judgements(), settings).reward
    assert sum(values) == pytest.approx(
        reward_terms(ROLLOUT, JUDGED, settings).reward - nothing, abs=1e-12
    )
    spoke = [text is not None for _, text in ROLLOUT.turns]
    assert all(value == 0 for value, reply in zip(values, spoke, strict=True) if not reply)
    assert any(value > 0 for value in values)
    assert any(value < 0 for value in values)
    for k in range(
        len(values)
    ):  # the values up to a turn are those of the rollout that falls silent after it
        cut = replace(ROLLOUT, turns=(*ROLLOUT.turns[: k + 1], *silent(ROLLOUT).turns[k + 1 :]))
        earned = reward_terms(cut, JUDGED, settings).reward - nothing
        assert sum(values[: k + 1]) == pytest.approx(earned, abs=1e-12)


def test_a_turn_earns_where_it_is_said() -> None:
    """The worked example by hand, `paper`: the first reply answers one of two spans in full, at
    half its time."""
    values = turn_values(ROLLOUT, JUDGED, PAPER)
    floor = 0.125  # what silence scores in a span
    assert values[1] == pytest.approx(3 * (0.5 * floor + 0.5 * 1 - floor) / 2)
    assert values[0] == 0
    assert turn_values(silent(ROLLOUT), Judgements(), PAPER) == [0.0] * 8


def test_the_judge_is_asked_what_the_example_needs_and_no_more() -> None:
    asked: list[tuple[str, ...]] = []

    class Listening(ExactJudge):
        async def coverage(self, _question: str, gold: str, replies_so_far: tuple[str, ...]) -> int:  # type: ignore
            asked.append(("coverage", gold, *replies_so_far))
            return 4

        async def repeats(self, previous: tuple[str, ...], new: str) -> bool:  # type: ignore
            asked.append(("repeats", *previous, new))
            return False

    judge = Listening(lambda _gold, _reply: 4, max_score=4)
    asyncio.run(judge_rollout(ROLLOUT, judge, PAPER))
    assert asked == [
        ("coverage", "one", A),
        ("coverage", "two", B),
        ("coverage", "two", A),
        ("coverage", "two", B2),
        ("repeats", A, B),
        ("repeats", A, B, B2),
        ("repeats", A, B, B2, C),
    ]
    asked.clear()
    asyncio.run(judge_rollout(ROLLOUT, judge, OFFICIAL))
    assert ("repeats", A) in asked  # the first reply, against nothing
    asked.clear()
    asyncio.run(judge_rollout(replace(ROLLOUT, previous=(C,)), judge, PAPER))
    assert ("repeats", C, A) in asked
    assert not any(
        call[0] == "repeats" and call[-1] == C for call in asked
    )  # now an exact duplicate


def test_history_counts_for_repetition_and_openings() -> None:
    before = replace(ROLLOUT, previous=(C, "b" * 55))
    for settings, openings in ((PAPER, -3 / 5), (OFFICIAL, -3 / 8)):
        terms = reward_terms(before, JUDGED, settings)
        assert terms.prefix == pytest.approx(openings)  # B, B2 and C
        assert terms.repetition < reward_terms(ROLLOUT, JUDGED, settings).repetition


@pytest.mark.parametrize("profile", ["paper", "official"])
def test_within_a_span_only_what_was_said_in_it_is_repeated(profile: Profile) -> None:
    """A at 20 and C at 28 were said in another span, or in none; B2 at 24 follows B in its span,
    and A after A."""
    within = RewardSettings(profile, repetition_scope="span")
    said = SAID | {12.0: A, 28.0: A}
    rollout = replace(
        ROLLOUT,
        turns=tuple((float(t), said.get(float(t))) for t in range(4, 33, 4)),
        previous=(B2,),
    )
    asked: list[tuple[tuple[str, ...], str]] = []

    class Listening(ExactJudge):
        async def repeats(self, previous: tuple[str, ...], reply: str) -> bool:
            asked.append((previous, reply))
            return reply == B2

    judged = asyncio.run(judge_rollout(rollout, Listening(lambda *_: 2, max_score=4), within))
    assert asked == [((B,), A), ((B, A), B2)]
    assert reward_terms(rollout, judged, within).repetition == pytest.approx(
        -2 / 6
    )  # A at 12 and B2 at 24, of six
    assert reward_terms(rollout, Judgements(judged.coverage), within).num_unscored == 2
    everywhere = asyncio.run(
        judge_rollout(rollout, Listening(lambda *_: 2, max_score=4), RewardSettings(profile))
    )
    assert reward_terms(rollout, everywhere, RewardSettings(profile)).repetition == pytest.approx(
        -4 / 6
    )


def test_the_threshold_of_openings_differs_by_one_character() -> None:
    turns = ((1.0, "x" * 50 + "1"), (2.0, "x" * 50 + "2"))
    rollout, judged = Rollout((), turns), Judgements({}, {1.0: False, 2.0: False})
    assert reward_terms(rollout, judged, PAPER).prefix == 0
    assert reward_terms(rollout, judged, OFFICIAL).prefix == -1 / 2
    assert reward_terms(rollout, judged, replace(PAPER, prefix_characters=49)).prefix == -1 / 2


def test_a_reply_at_the_edge_of_a_span_is_inside() -> None:
    for time_s, inside in ((4.0, True), (12.0, True), (12.5, False)):
        rollout = Rollout(GOLD[:1], ((time_s, A),))
        for settings in (PAPER, OFFICIAL):
            terms = reward_terms(rollout, Judgements({(0, time_s): 4}, {time_s: False}), settings)
            assert (terms.in_span == 0) == inside


def test_a_missing_judgement_is_counted_and_is_no_zero() -> None:
    for settings in (PAPER, OFFICIAL):
        for mark, verdict in ((Unscored("down"), Unscored("down")), (0, False)):
            judged = Judgements(
                {**JUDGED.coverage, (0, 8.0): mark}, {**JUDGED.repeated, 24.0: verdict}
            )
            terms = reward_terms(ROLLOUT, judged, settings)
            if isinstance(mark, Unscored):
                missing = terms
            else:
                assert terms.num_unscored == 0
                assert missing.num_unscored == 2
                assert (
                    missing.pauc > terms.pauc
                )  # a span without a mark is a silent one, not a wrong one
                assert missing.repetition != terms.repetition


def test_official_leaves_out_the_mark_of_words_that_were_said_in_the_span_before() -> None:
    rollout = Rollout(GOLD[:1], ((4.0, A), (8.0, A)))
    judged = Judgements({(0, 4.0): 0, (0, 8.0): 4})
    assert reward_terms(rollout, judged, PAPER).pauc == 0.5
    assert reward_terms(rollout, judged, OFFICIAL).pauc == 0


def test_official_overlapping_spans_share_the_mark_of_the_later_one() -> None:
    overlapping = (GoldTurn("one", TimeSpan(0, 10), "?"), GoldTurn("two", TimeSpan(5, 15), "?"))
    rollout = Rollout(overlapping, ((5.0, A), (16.0, None)))
    judged = Judgements({(0, 5.0): 4, (1, 5.0): 0}, {5.0: False})
    both_zero = Judgements({(0, 5.0): 0, (1, 5.0): 0}, {5.0: False})
    assert (
        reward_terms(rollout, judged, OFFICIAL).pauc
        == reward_terms(rollout, both_zero, OFFICIAL).pauc
    )
    assert reward_terms(rollout, judged, PAPER).pauc > reward_terms(rollout, both_zero, PAPER).pauc


@pytest.mark.parametrize("settings", [PAPER, OFFICIAL])
def test_a_mark_for_a_reply_outside_its_span_counts_nowhere(settings: RewardSettings) -> None:
    right = reward_terms(ROLLOUT, JUDGED, settings)
    strays = {(1, 8.0): 0, (7, 8.0): 0, (0, 24.0): 0}
    assert (
        reward_terms(ROLLOUT, replace(JUDGED, coverage={**JUDGED.coverage, **strays}), settings)
        == right
    )
    wrong = replace(
        JUDGED, coverage={**JUDGED.coverage, (0, 8.0): 0}
    )  # control: a mark that is meant
    assert reward_terms(ROLLOUT, wrong, settings).pauc < right.pauc


@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("settings", [PAPER, OFFICIAL])
def test_a_mark_that_could_not_be_had_counts_as_one_that_was_never_recorded(
    settings: RewardSettings, missing: int
) -> None:
    """A record holds no line for it, and gives the reward of the run once more: where spans
    overlap, too."""
    overlapping = (GoldTurn("one", TimeSpan(0, 10), "?"), GoldTurn("two", TimeSpan(5, 15), "?"))
    rollout = Rollout(overlapping, ((7.0, A), (16.0, None)))
    marks: dict[tuple[int, float], int | Unscored] = {(0, 7.0): 3, (1, 7.0): 4}
    live = Judgements({**marks, (missing, 7.0): Unscored("down")}, {7.0: False})
    recorded = Judgements(
        {key: mark for key, mark in marks.items() if key[0] != missing}, {7.0: False}
    )
    terms = reward_terms(rollout, live, settings)
    assert terms == reward_terms(rollout, recorded, settings)
    assert terms.num_unscored == 1
    assert (
        terms.pauc < reward_terms(rollout, Judgements(marks, {7.0: False}), settings).pauc
    )  # both


def test_official_skips_gold_that_begins_after_the_last_turn() -> None:
    short = replace(ROLLOUT, turns=ROLLOUT.turns[:3])
    assert reward_terms(short, JUDGED, OFFICIAL).pauc == 0.78125
    assert reward_terms(short, JUDGED, PAPER).pauc == pytest.approx((0.5625 + 0.125) / 2)
    assert reward_terms(replace(short, gold=()), JUDGED, PAPER).pauc == 0
    until_16 = replace(ROLLOUT, turns=ROLLOUT.turns[:4])
    assert (
        reward_terms(until_16, JUDGED, OFFICIAL).pauc == (0.78125 + 0.5) / 2
    )  # one that begins with it counts
    unwatched = Rollout(
        (GoldTurn("one", TimeSpan(0.0, 8.0)), GoldTurn("two", TimeSpan(0.5, 8.0))), ()
    )
    assert reward_terms(unwatched, Judgements(), OFFICIAL).pauc == 0.125  # of the first one alone


def test_official_counts_the_second_and_later_replies_of_a_span_once_more() -> None:
    rollout = Rollout(GOLD[:1], ((4.0, A), (8.0, B), (12.0, C), (16.0, B2)))
    judged = Judgements({}, {4.0: False, 8.0: True, 12.0: False, 16.0: True})
    assert reward_terms(rollout, judged, PAPER).repetition == pytest.approx(-2 / 4)
    assert reward_terms(rollout, judged, OFFICIAL).repetition == pytest.approx(
        -3 / 6
    )  # at 8 and 12 twice
    assert reward_terms(
        rollout, replace(judged, repeated={**judged.repeated, 12.0: True}), OFFICIAL
    ).repetition == (pytest.approx(-5 / 6))


def test_the_reward_lies_between_its_bounds() -> None:
    perfect = Rollout(GOLD, ((4.0, A), (16.0, B)))
    judged = Judgements({(0, 4.0): 4, (1, 16.0): 4}, {4.0: False, 16.0: False})
    worst = Rollout(GOLD, tuple((float(t), C) for t in range(30, 60)), previous=(C,))
    for settings in (PAPER, OFFICIAL):
        assert reward_terms(perfect, judged, settings).reward == pytest.approx(3)
        assert -4.5 <= reward_terms(worst, Judgements(), settings).reward < -3


def episode(*acted: PolicyTurn) -> Episode:
    """A turn every 4 s."""
    exchanges = [
        Exchange(EnvTurn(FrameBatch.empty(), 4.0 * k), turn) for k, turn in enumerate(acted, 1)
    ]
    return Episode(Task("t", gold=GOLD), tuple(exchanges), StopReason.SOURCE_ENDED)


WATCHED = episode(
    PolicyTurn(Silence(), sampled=False),
    PolicyTurn(Reply(f" {C}\n"), sampled=False),
    PolicyTurn(Silence()),
    PolicyTurn(Malformed("{", "no grammar")),
    PolicyTurn(Reply(f" {A}")),
    PolicyTurn(Reply(B)),
)


def test_a_rollout_is_what_was_sampled_and_knows_the_replies_before_it() -> None:
    rollout = Rollout.of(WATCHED)
    assert rollout == Rollout(GOLD, ((12.0, None), (16.0, None), (20.0, f" {A}"), (24.0, B)), (C,))
    assert [(reply.time_s, reply.text) for reply in rollout.replies] == [(20.0, A), (24.0, B)]


def test_an_episode_earns_where_it_spoke() -> None:
    judge = ExactJudge(lambda gold, reply: 4 * (gold == "two" and reply == A), max_score=4)
    score = asyncio.run(ProactiveReward(judge, PAPER)(WATCHED))
    due = (4 * 0.5 + 4 * 4) / (
        8 * 4
    )  # of the second span: nothing until 20, the best mark until its end
    assert score.reward == score.total == pytest.approx(3 * (0.125 + due) / 2)
    first = 3 * (due - 0.125) / 2  # B says nothing of what is due, and takes nothing away
    assert score.values == (0.0, 0.0, 0.0, 0.0, pytest.approx(first), pytest.approx(0.0))
    assert score.terms == {
        "pauc": pytest.approx((0.125 + due) / 2),
        "repetition": 0,
        "in_span": 0,
        "prefix": 0,
    }
    assert asyncio.run(ProactiveReward(judge, PAPER)(episode())).values == ()


def test_bad_settings_and_judges_are_refused() -> None:
    with pytest.raises(ConfigError, match="repetition_scope"):
        RewardSettings(repetition_scope="clip")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="profile"):
        RewardSettings("other")  # type: ignore[arg-type]
    for weight in (float("nan"), 1.001e6, -1.001e6):
        with pytest.raises(ConfigError, match="within 1,000,000 of 0"):
            RewardSettings(prefix=weight)
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        RewardSettings(prefix_characters=0)
    assert (
        RewardSettings(prefix=-1e6, pauc=1e6, prefix_characters=1).prefix == -1e6
    )  # the very bounds
    with pytest.raises(ConfigError, match="0 to 4"):
        asyncio.run(judge_rollout(ROLLOUT, ExactJudge(lambda _gold, _reply: 1), PAPER))
    assert ProactiveReward(ExactJudge(lambda _gold, _reply: 1, max_score=4)).settings == OFFICIAL
