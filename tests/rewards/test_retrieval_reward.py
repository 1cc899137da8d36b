"""The reward of retrieval: the tables of both profiles, and a slow second writing of the
formulas."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from oncue.errors import ConfigError
from oncue.rewards.retrieval import (
    Profile,
    RetrievalReward,
    RetrievalRewardSettings,
    TurnOutcome,
    iou,
    score_rollout,
    score_turns,
    turn_terms,
    unscored,
)
from oncue.rewards.retrieval_rollout import RetrievalRollout
from oncue.scoring.score import Score
from oncue.types import Answer, EnvTurn, Episode, Exchange, Malformed, PolicyTurn, Retrieve, Silence
from retrieval_rollouts import batch, eight_of, episode_of

RIGHT, WRONG = TurnOutcome("answer", correct=True), TurnOutcome("answer")
BAD = TurnOutcome("malformed")


def looks(*ious: float | None) -> list[TurnOutcome]:
    return [TurnOutcome("retrieve", value) for value in ious]


@pytest.mark.parametrize(
    ("turns", "release", "paper"),
    [
        ([*looks(0.4), RIGHT], [0.6, 1.0], [0.6, 1.1]),  # 1 + .1 - .1 of the second turn
        ([*looks(0.4), WRONG], [0.1, 0.1], [0.0, 0.1]),
        ([*looks(0.4), BAD], [0.6, 0.0], [0.0, 0.0]),
        (looks(0.4, 0.5, 0.6), [0.6, 0.6, 0.6], [0.0, 0.0, 0.1]),
        ([RIGHT], [1.1], [1.1]),
        ([WRONG], [0.1], [0.1]),
        ([BAD], [0.0], [0.0]),
        ([*looks(0.4, 0.5), WRONG], [0.1, 0.1, 0.1], [0.0, 0.0, 0.1]),
        ([*looks(0.4), BAD, RIGHT], [0.6, 0.0, 0.9], [0.6, 0.0, 1.1]),
        ([*looks(0.4, 0.0), BAD], [0.1, 0.1, 0.0], [0.0, 0.0, 0.0]),  # the last positive is .1
        ([*looks(0.0, 0.4), BAD], [0.1, 0.6, 0.0], [0.0, 0.0, 0.0]),
        ([BAD, BAD, *looks(0.4)], [0.0, 0.0, 0.6], [0.0, 0.0, 0.1]),
        ([], [], []),
    ],
)
def test_the_gate(turns: list[TurnOutcome], release: list[float], paper: list[float]) -> None:
    got = score_turns(turns, initial_iou=0.1, profile="release")
    assert got == pytest.approx(release)
    without_drops = score_turns(turns, initial_iou=0.1, profile="paper", lambda_drop=0.0)
    assert without_drops == pytest.approx(paper)


@pytest.mark.parametrize(
    ("turns", "release", "paper"),
    [
        ([*looks(0.4), RIGHT], [0.6, 1.0], [0.6, 1.1]),
        ([*looks(0.4), WRONG], [0.6, 0.1], [0.6, 0.1]),
        ([*looks(0.0), WRONG], [0.1, 0.1], [0.0, 0.1]),
        (looks(0.4, 0.5, 0.6), [0.6, 0.6, 0.6], [0.6, 0.6, 0.6]),
    ],
)
def test_without_the_gate_turns_keep_what_they_earned(
    turns: list[TurnOutcome], release: list[float], paper: list[float]
) -> None:
    """A drop from .1 to 0 loses .1 in `paper`, whatever the answer."""
    for profile, expected in (("release", release), ("paper", paper)):
        terms = turn_terms(turns, initial_iou=0.1, profile=profile, gate=False)
        assert [sum(of_turn) for of_turn in zip(*terms.values(), strict=True)] == pytest.approx(
            expected
        )


@pytest.mark.parametrize("profile", ["paper", "release"])
def test_without_rewards_for_frames_looks_earn_their_form_alone(profile: Profile) -> None:
    turns = [*looks(0.4, 0.0), RIGHT]
    whole = turn_terms(turns, initial_iou=0.1, profile=profile)
    without = turn_terms(turns, initial_iou=0.1, profile=profile, frames=False)
    assert without == {**whole, "frames": [0.0, 0.0, 0.0]}
    assert any(whole["frames"])


def test_what_is_left_out_of_the_reward_is_left_out_of_a_rollout() -> None:
    episode = episode_of([(range(20, 28), Retrieve(0, 7)), (range(8), Answer("A"))])
    rollout = RetrievalRollout.of(episode, eight_of)
    whole = RetrievalRewardSettings("paper")
    assert score_rollout(rollout, whole).values == pytest.approx((0.0, 0.1))
    assert score_rollout(rollout, replace(whole, gate=False)).values == pytest.approx((0.6, 0.1))
    neither = replace(whole, gate=False, frames=False)
    assert score_rollout(rollout, neither).values == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize("lambda_drop", [0.0, 0.5, 1.0, 3.0])
def test_a_sequence_of_ious(lambda_drop: float) -> None:
    turns = [*looks(0.4, 0.2, 0.3), RIGHT]
    terms = {
        p: turn_terms(turns, initial_iou=0.1, profile=p, lambda_drop=lambda_drop)
        for p in ("paper", "release")
    }
    assert terms["paper"]["frames"] == pytest.approx(
        [0.5, -lambda_drop * 0.2, -lambda_drop * 0.1, 0.0]
    )
    assert terms["release"]["frames"] == [0.5, 0.0, 0.5, 0.0]  # it pays for going back and forth


def test_a_malformed_turn_leaves_what_ious_are_compared_with() -> None:
    turns = [*looks(0.4), BAD, *looks(0.3, None, 0.35), RIGHT]
    paper = turn_terms(turns, initial_iou=None, profile="paper")["frames"]
    assert paper == pytest.approx([0.5, 0.0, -0.1, 0.0, -0.05, 0.0])
    release = turn_terms(turns, initial_iou=None, profile="release")["frames"]
    assert release == [0.5, 0.0, 0.0, 0.0, 0.5, 0.0]


def test_only_the_release_asks_for_a_margin() -> None:
    for gain, paid in ((0.0009, 0.0), (0.0011, 0.5)):
        turns = [*looks(0.5 + gain), RIGHT]
        release = turn_terms(turns, initial_iou=0.5, profile="release")
        assert release["frames"][0] == paid
        assert turn_terms(turns, initial_iou=0.5, profile="paper")["frames"][0] == 0.5
    equal = turn_terms([*looks(0.5), RIGHT], initial_iou=0.5, profile="paper")["frames"][0]
    assert str(equal) == "0.0"  # no bonus, and no minus zero


def test_only_the_release_pays_for_speed() -> None:
    for k, speed in enumerate([1.0, 0.9, 0.8]):
        turns = [BAD] * k + [RIGHT]
        release = turn_terms(turns, initial_iou=0.0, profile="release")
        assert release["accuracy"][-1] + release["answer_speed"][-1] == pytest.approx(speed)
        assert score_turns(turns, initial_iou=0.0, profile="release")[-1] == pytest.approx(
            speed + 0.1
        )
        assert score_turns(turns, initial_iou=0.0, profile="paper")[-1] == pytest.approx(1.1)
    late = [*looks(0.4), *[BAD] * 5, RIGHT]  # .4 + .1 is not below .5, whatever floats say
    assert score_turns(late, initial_iou=0.1, profile="release")[0] == pytest.approx(0.6)
    later = [*looks(0.4), *[BAD] * 6, RIGHT]
    assert score_turns(later, initial_iou=0.1, profile="release")[0] == pytest.approx(0.1)


def test_iou() -> None:
    assert iou([1, 2, 3, 4], {3, 4, 5}) == 2 / 5
    assert iou([3, 3, 4, 4], [4, 3]) == 1.0
    assert iou([], {1}) == 0.0
    assert iou([1], ()) == 0.0
    assert iou([], ()) is None


def random_episodes(number: int) -> Iterator[tuple[list[TurnOutcome], float | None]]:
    """Turns, and the IoU that they begin with."""
    rng = random.Random(0)

    def value() -> float | None:
        return rng.choice([None, 0.0, 1.0, rng.randrange(50) / 50, rng.random()])

    for _ in range(number):
        turns = [rng.choice([BAD, *looks(value(), value())]) for _ in range(rng.randrange(6))]
        yield turns + rng.choice([[], [RIGHT], [WRONG]]), value()


def slow(turns: list[TurnOutcome], first: float | None, profile: str, drop: float) -> list[float]:
    """The formulas once more, straight from the text."""
    rewards = []
    for k, turn in enumerate(turns):
        before = [t.iou for t in turns[:k] if t.iou is not None]
        known = [first if first is not None else 0.0, *before]
        reward = 0.1 if turn.kind in ("retrieve", "answer") else 0.0
        if profile == "paper":
            if turn.iou is not None:
                better = turn.iou > max(known)
                reward += 0.5 if better else -drop * (max(known) - turn.iou)
            if turn.correct:
                reward += 1.0
            elif not turns[-1].correct:
                is_last = k == len(turns) - 1
                reward = 0.1 if is_last and turn.kind != "malformed" else 0.0
        else:
            if turn.iou is not None and turn.iou > known[-1] + 0.001:
                reward += 0.5
            if turn.correct:
                reward += 1 - 0.1 * ((k + 1) - 1)
        rewards.append(reward)
    positive = [k for k, reward in enumerate(rewards) if reward > 0]
    if profile == "release" and len(positive) >= 2 and rewards[positive[-1]] < 0.5 - 1e-12:
        for k in positive[:-1]:
            if rewards[k] > 0.5:
                rewards[k] -= 0.5
    return rewards


@pytest.mark.parametrize("drop", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("profile", ["paper", "release"])
def test_rewards_equal_a_slow_second_writing(profile: Profile, drop: float) -> None:
    for turns, first in random_episodes(3000):
        got = score_turns(turns, initial_iou=first, profile=profile, lambda_drop=drop)
        assert got == pytest.approx(slow(turns, first, profile, drop), abs=1e-9), (turns, first)
        terms = turn_terms(turns, initial_iou=first, profile=profile, lambda_drop=drop)
        assert [sum(earned) for earned in zip(*terms.values(), strict=True)] == got


def test_without_a_right_answer_paper_pays_for_the_form_of_the_last_turn_alone() -> None:
    for turns, first in random_episodes(1000):
        if turns and not turns[-1].correct:
            got = score_turns(turns, initial_iou=first, profile="paper")
            last = 0.0 if turns[-1].kind == "malformed" else 0.1
            assert got == [0.0] * (len(turns) - 1) + [last]


@pytest.mark.parametrize("profile", ["paper", "release"])
def test_turns_may_be_any_values_with_these_fields(profile: Profile) -> None:
    """What a kind of turn has no use for plays no part."""
    for turns, first in random_episodes(200):
        values: list[Any] = [
            SimpleNamespace(
                kind=turn.kind,
                iou=np.float32(turn.iou) if turn.iou is not None else None,
                correct=np.bool_(turn.correct) if turn.kind == "answer" else None,
            )
            for turn in turns
        ]
        filled = [
            value if turn.kind == "retrieve" else TurnOutcome(turn.kind, 0.9, value.correct)
            for turn, value in zip(turns, values, strict=True)
        ]
        expected = score_turns(turns, initial_iou=first, profile=profile)
        for given in (values, tuple(filled)):
            got = score_turns(given, initial_iou=first, profile=profile)
            assert got == pytest.approx(expected, abs=1e-6)
            assert [type(reward) for reward in got] == [float] * len(turns)
    bare: list[Any] = [SimpleNamespace(kind="malformed"), SimpleNamespace(kind="retrieve")]
    with pytest.raises(AttributeError, match="iou"):  # a name that is wrong is no silent 0
        score_turns(bare, initial_iou=0.0, profile=profile)


def test_what_cannot_be_an_episode_is_refused() -> None:
    with pytest.raises(ValueError, match="turn 1 of 2 is one"):
        score_turns([RIGHT, BAD], initial_iou=0.0, profile="paper")
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="from 0 to 1"):
            score_turns([BAD], initial_iou=wrong, profile="release")
        with pytest.raises(ValueError, match="IoU of turn 2 of 2 must lie from 0 to 1"):
            score_turns([BAD, *looks(wrong)], initial_iou=0.0, profile="paper")
    for kind in ("malformed", "retrieve"):
        with pytest.raises(ValueError, match="only an answer can be correct, but turn 1 of 1"):
            score_turns([TurnOutcome(kind, correct=True)], initial_iou=0.0, profile="paper")
    with pytest.raises(ValueError, match="turn 2 of 2 is 'silence'"):
        score_turns([BAD, TurnOutcome("silence")], initial_iou=0.0, profile="paper")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="one of paper, release"):
        score_turns([BAD], initial_iou=0.0, profile="official")  # type: ignore[arg-type]
    for drop in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="lambda_drop"):
            RetrievalRewardSettings(lambda_drop=drop)


def scored(episode: Episode, profile: Profile = "paper") -> Score:
    return asyncio.run(RetrievalReward(RetrievalRewardSettings(profile), eight_of)(episode))


# Gold: frames 0 to 3. The first look: 0 and 32, IoU 1/5. 2..5: IoU 2/6. 40..63: none.
FIRST = (0, 32)


def test_frames_that_a_retrieval_asked_for_are_those_that_come_next() -> None:
    episode = episode_of(
        [
            (FIRST, Retrieve(2, 5)),
            ((2, 3, 4, 5), Malformed("?", "no tag")),
            ((), Retrieve(40, 63)),
            ((40, 63), Answer("b")),
        ]
    )
    score = scored(episode)
    assert score.exchange_terms == {
        "accuracy": (0.0, 0.0, 0.0, 1.0),
        "frames": (0.5, 0.0, pytest.approx(-1 / 3), 0.0),
        "format": (0.1, 0.0, 0.1, 0.1),
    }
    assert score.values == pytest.approx((0.6, 0.0, 0.1 - 1 / 3, 1.1))
    assert score.total == pytest.approx(sum(score.terms.values()))
    assert score.terms == pytest.approx({"accuracy": 1, "frames": 0.5 - 1 / 3, "format": 0.3})
    assert score.num_unscored == 0
    release = scored(episode, "release")
    assert release.values == pytest.approx((0.6, 0.0, 0.1, 0.8))
    assert release.terms["answer_speed"] == pytest.approx(-0.3)


def test_the_frames_of_a_retrieval_that_ends_the_episode_follow_from_the_rule() -> None:
    turns = [(FIRST, Retrieve(40, 63)), ((40, 63), Retrieve(0, 3))]
    assert scored(episode_of(turns), "release").values == pytest.approx((0.1, 0.6))
    elsewhere = [(FIRST, Retrieve(40, 63)), ((40, 63), Retrieve(4, 9))]  # control
    assert scored(episode_of(elsewhere), "release").values == pytest.approx((0.1, 0.1))
    assert scored(episode_of(turns)).values == pytest.approx((0.0, 0.1))  # gated
    (_, last) = RetrievalRollout.of(episode_of(turns), eight_of).turns
    assert last.asked == (0, 1, 2, 3)


def test_frames_that_are_not_from_the_pool_count_as_those_of_the_range() -> None:
    episode = episode_of([(FIRST, Retrieve(2, 5)), ((), Answer("B"))])
    closer = replace(
        episode.exchanges[1], observed=EnvTurn([batch((1, 2), of_pool=False), "?"], 64.0)
    )
    episode = replace(episode, exchanges=(episode.exchanges[0], closer))
    rollout = RetrievalRollout.of(episode, eight_of)
    assert rollout.turns[0].asked == (2, 3, 4, 5)
    assert (rollout.turns[1].indices, rollout.turns[1].times_s) == ((), (1.5, 2.5))
    assert scored(episode).terms["frames"] == 0.5


def test_a_look_without_frames() -> None:
    """It shows nothing of the evidence; without any evidence the profiles differ."""
    turns = [(FIRST, Retrieve(2, 5)), ((), Answer("B"))]
    assert scored(episode_of(turns)).terms["frames"] == pytest.approx(-1 / 5)
    assert scored(episode_of(turns), "release").terms["frames"] == 0.0
    assert scored(episode_of(turns, gold=())).terms["frames"] == 0.0
    assert scored(episode_of(turns, gold=()), "release").terms["frames"] == 0.5
    shown = [(FIRST, Retrieve(2, 5)), ((2, 3), Answer("B"))]
    for profile in ("paper", "release"):
        score = scored(episode_of(shown, gold=()), profile)
        assert (score.terms["frames"], score.num_unscored) == (0.0, 0)


def test_what_cannot_be_known_is_counted() -> None:
    turns = [(FIRST, Retrieve(2, 5)), ((2, 3, 4, 5), Answer("B"))]
    no_evidence = episode_of(turns, gold=None)
    assert scored(no_evidence).values == pytest.approx((0.1, 1.1))
    assert scored(no_evidence).num_unscored == 1
    no_answer = episode_of(turns, answer=None)
    assert scored(no_answer).values == pytest.approx((0.0, 0.1))
    assert scored(no_answer).num_unscored == 1
    neither = RetrievalRollout.of(episode_of(turns, answer=None, gold=None), eight_of)
    reasons = {term: [one.reason for one in found] for term, found in unscored(neither).items()}
    assert reasons == {
        "accuracy": ["the right answer is not known"],
        "frames": ["it is not known which frames are relevant"],
    }
    silent = RetrievalRollout.of(episode_of([(FIRST, Answer("Z"))], answer=None), eight_of)
    assert not any(unscored(silent).values())  # no option: malformed, whatever is right


@pytest.mark.parametrize(
    ("said", "gold", "options", "paper", "release"),
    [
        ("b", "B", ("A. red", "B. blue"), 1.1, 1.1),
        ("Blue", "b", ("A. red", "B. blue"), 1.1, 1.1),
        ("C", "B", ("A. red", "B. blue"), 0.0, 0.0),
        ("A", "B", ("A. red", "B. blue"), 0.1, 0.1),
        ("3.0", "3", (), 1.1, 0.1),
        ("three", "3", (), 0.0, 0.0),
        ("The box.", "the box", (), 1.1, 1.1),
        ("the lid", "the box", (), 0.1, 0.1),
    ],
)
def test_answers(
    said: str, gold: str, options: tuple[str, ...], paper: float, release: float
) -> None:
    episode = episode_of([(FIRST, Answer(said))], answer=gold, options=options)
    assert scored(episode).total == pytest.approx(paper)
    assert scored(episode, "release").total == pytest.approx(release)


def test_history_earns_nothing_and_has_a_place_in_the_values() -> None:
    episode = episode_of([(FIRST, Retrieve(2, 5)), ((2, 3, 4, 5), Answer("B"))])
    before = Exchange(EnvTurn("Hello.", 0.0), PolicyTurn(Answer("A"), sampled=False))
    longer = replace(episode, exchanges=(before, *episode.exchanges))
    assert scored(longer).values == (0.0, *scored(episode).values)
    assert all(earned[0] == 0.0 for earned in scored(longer).exchange_terms.values())
    nothing = scored(replace(episode, exchanges=()))
    assert (nothing.values, nothing.total) == ((), 0.0)
    assert nothing.terms == {"accuracy": 0.0, "frames": 0.0, "format": 0.0}


def test_episodes_of_another_task_are_refused() -> None:
    with pytest.raises(ValueError, match="as in retrieval, got Silence"):
        scored(episode_of([(FIRST, Silence())]))
    with pytest.raises(ValueError, match="turn 1 of 2 is one"):
        scored(episode_of([(FIRST, Answer("A")), ((), Answer("B"))]))
    episode = episode_of([(FIRST, Answer("B"))])
    unnamed = Exchange(EnvTurn(batch(FIRST, of_pool=False), 64.0), episode.exchanges[0].acted)
    with pytest.raises(ValueError, match="first turn need their indices"):
        scored(replace(episode, exchanges=(unnamed,)))


def test_a_rollout_is_the_same_from_its_own_words() -> None:
    rollout = RetrievalRollout.of(
        episode_of([(FIRST, Retrieve(2, 5)), ((2, 3, 4, 5), Answer("B"))]), eight_of
    )
    assert rollout.question == "Which colour has the box?"
    assert score_rollout(rollout, RetrievalRewardSettings()).values == pytest.approx((0.6, 1.1))
