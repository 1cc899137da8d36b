"""The bonus for retrievals: how much, to which turns, and when it ends."""

from __future__ import annotations

import json

import pytest

from oncue.errors import ConfigError
from oncue.rewards.bootstrapping import Bootstrapping, BootstrappingSettings
from oncue.rewards.retrieval import (
    Profile,
    RetrievalRewardSettings,
    score_rollout,
)
from oncue.rewards.retrieval_rollout import RetrievalRollout
from oncue.scoring.score import Score
from oncue.types import Answer, Episode, Malformed, Retrieve
from retrieval_rollouts import eight_of, episode_of

LOOK = episode_of([((0, 32), Retrieve(2, 5)), ((2, 3, 4, 5), Answer("B"))])
AT_ONCE = episode_of([((0, 32), Answer("B"))])
BLIND = episode_of([((0, 32), Retrieve(40, 63)), ((40, 63), Answer("A"))])  # wrong, and no frames
LOST = episode_of([((0, 32), Malformed("?", "no tag")), ((), Malformed("?", "no tag"))])


def scores(episodes: list[Episode], profile: Profile = "paper") -> list[Score]:
    settings = RetrievalRewardSettings(profile)
    return [score_rollout(RetrievalRollout.of(e, eight_of), settings) for e in episodes]


def bonuses(shaper: Bootstrapping, episodes: list[Episode]) -> list[tuple[float, ...]]:
    """What the turns of each episode get."""
    before = scores(episodes, shaper.settings.profile)
    shaped = shaper.shape(episodes, before)
    for old, new in zip(before, shaped, strict=True):
        more = new.exchange_terms["bootstrap"]
        assert new.values == pytest.approx([a + b for a, b in zip(old.values, more, strict=True)])
        assert new.total == pytest.approx(old.total + sum(more)) == sum(new.values)
        assert new.terms == {**old.terms, "bootstrap": sum(more)}
    return [score.exchange_terms["bootstrap"] for score in shaped]


@pytest.mark.parametrize(
    ("num_looks", "num_at_once", "bonus"),
    [(1, 18, 1.0), (2, 16, 0.5), (6, 8, 0.5), (9, 1, 0.5), (10, 0, 0.0)],
)  # of 20 turns: .05, .1, .3, .47, .5
def test_a_low_rate_of_turns_is_paid(num_looks: int, num_at_once: int, bonus: float) -> None:
    batch = [LOOK] * num_looks + [AT_ONCE] * num_at_once
    got = bonuses(Bootstrapping(BootstrappingSettings()), batch)
    assert got == [(bonus, 0.0)] * num_looks + [(0.0,)] * num_at_once


def test_it_is_paid_whatever_was_shown_and_however_it_ended() -> None:
    got = bonuses(Bootstrapping(BootstrappingSettings()), [BLIND, AT_ONCE, AT_ONCE, LOST])
    assert got == [(0.5, 0.0), (0.0,), (0.0,), (0.0, 0.0)]  # 1 of 6 turns


OFTEN = [episode_of([((0,), Retrieve(2, 5)), ((2,), Retrieve(2, 5)), ((2,), Answer("B"))])]


def test_it_ends_for_good_after_enough_batches_in_a_row() -> None:
    seldom = [LOOK] + [AT_ONCE] * 18
    shaper = Bootstrapping(BootstrappingSettings(latch_after=3))
    for batch in (OFTEN, OFTEN, seldom, OFTEN, OFTEN, [LOOK], OFTEN, OFTEN):  # never three in a row
        bonuses(shaper, batch)
        assert not shaper.is_off
    assert bonuses(shaper, seldom)[0] == (1.0, 0.0)
    for _ in range(3):
        assert not shaper.is_off
        assert bonuses(shaper, OFTEN) == [(0.0, 0.0, 0.0)]
    assert shaper.is_off
    for _ in range(3):
        assert bonuses(shaper, seldom)[0] == (0.0, 0.0)
    assert Bootstrapping(BootstrappingSettings()).settings.latch_after == 5


def test_it_goes_on_from_a_stored_state() -> None:
    settings = BootstrappingSettings(latch_after=3)
    first = Bootstrapping(settings)
    for number in range(5):
        second = Bootstrapping(settings)
        second.restore(json.loads(json.dumps(first.state())))
        assert second.is_off == first.is_off == (number >= 3)
        assert bonuses(second, OFTEN) == bonuses(first, OFTEN)
        assert second.state() == first.state()
    for wrong in ({}, {"num_above": -1}, {"num_above": True}, {"num_above": "3"}):
        with pytest.raises(ValueError, match="num_above"):
            first.restore(wrong)


def test_a_batch_without_turns_changes_nothing() -> None:
    for profile in ("paper", "release"):
        shaper = Bootstrapping(BootstrappingSettings(profile, 2))
        bonuses(shaper, OFTEN)
        before = shaper.state()
        assert bonuses(shaper, []) == []
        assert bonuses(shaper, [episode_of([])]) == [()]
        assert shaper.state() == before


def test_the_release_counts_episodes_and_never_ends() -> None:
    shaper = Bootstrapping(BootstrappingSettings("release", 1))
    wrong = episode_of([((0, 32), Retrieve(2, 5)), ((2, 3, 4, 5), Answer("A"))])
    # 1 of 11 episodes with a turn above 0 has more than one; LOST has none
    got = bonuses(shaper, [wrong, LOST, *[AT_ONCE] * 10])
    assert got == [(1.0, 0.0), (0.0, 0.0), *[(0.0,)] * 10]  # although the answer is wrong
    assert bonuses(shaper, [LOOK, BLIND, *[AT_ONCE] * 3]) == [
        *[(0.5, 0.0)] * 2,
        *[(0.0,)] * 3,
    ]
    for _ in range(10):
        assert bonuses(shaper, [LOOK, AT_ONCE]) == [(0.0, 0.0), (0.0,)]  # .5
    assert not shaper.is_off
    assert bonuses(shaper, [LOOK, *[AT_ONCE] * 2])[0] == (0.5, 0.0)
    thrice = episode_of([((0,), Retrieve(2, 5)), ((2,), Malformed("?", "")), ((), Answer("B"))])
    assert bonuses(shaper, [thrice, *[AT_ONCE] * 2])[0] == (0.5, 0.0, 0.0)


def test_what_does_not_fit_is_refused() -> None:
    shaper = Bootstrapping(BootstrappingSettings())
    with pytest.raises(ValueError, match="1 values for an episode of 2"):
        shaper.shape([LOOK], [Score((1.0,))])
    with pytest.raises(ValueError, match="shape each batch once"):
        shaper.shape([AT_ONCE], shaper.shape([AT_ONCE], scores([AT_ONCE])))
    with pytest.raises(ConfigError, match="latch_after must be at least 1, got 0"):
        BootstrappingSettings(latch_after=0)
    with pytest.raises(ConfigError, match="one of paper, release"):
        BootstrappingSettings("official")  # type: ignore[arg-type]
    whole = shaper.shape([LOOK, AT_ONCE], [Score((0.0, 1.0), reward=5.0), Score((1.0,))])
    assert (whole[0].values, whole[0].total) == ((0.5, 1.0), 5.5)  # 1 of 3 turns
