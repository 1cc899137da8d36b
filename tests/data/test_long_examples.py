"""Examples of retrieval from films that are drawn as they are needed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from oncue.clock import Clock
from oncue.config import from_plain, to_plain
from oncue.data.long_examples import LongFilmExamples
from oncue.data.retrieval_examples import RetrievalRows
from oncue.env.retrieval import RetrievalSettings
from oncue.errors import ConfigError
from oncue.rewards.retrieval import RetrievalReward, RetrievalRewardSettings
from oncue.rollout import run_episode
from oncue.train.rl.make_reward import make_reward
from oncue.train.rl.settings import GrpoConfig, PpoConfig
from oncue.types import Answer, EnvTurn, PolicyTurn, Retrieve
from oncue.world.long.film import film_named, make_film

CLOCK = Clock(1.0)
SHORT = LongFilmExamples(duration_s=(120, 130), num_frames=32)


def pixels(source: LongFilmExamples, index: int = 0, seed: int = 0) -> np.ndarray:
    return source.item(index, seed, CLOCK, 1).pool.frames.pixels


def test_an_example_follows_from_its_number_and_seed() -> None:
    noisy = replace(SHORT, pixel_noise=30.0)
    for source in (SHORT, noisy):
        assert (pixels(source) == pixels(source)).all()
        assert not (pixels(source) == pixels(source, index=1)).all()
        assert not (pixels(source) == pixels(source, seed=1)).all()
    assert pixels(SHORT).shape == (32, 28, 28, 3)
    gap = np.abs(pixels(noisy).astype(int) - pixels(SHORT))
    assert 0 < gap.mean() < 30
    assert (pixels(noisy)[0] != pixels(noisy)[1]).any()


def test_the_films_of_examples_are_those_of_no_file() -> None:
    """Neither supervised training nor what is held out has them: their seed is another one."""
    for seed in (0, 7, 999):
        name = SHORT.item(3, seed, CLOCK, 1).task.task_id
        made = {make_film(split, 3, seed).film_id for split in ("train", "val", "test")}
        assert name not in made
        assert film_named(name) is not None  # control: the names are of one kind
        assert int(name.split("-")[2]) >= 1_000_003


def test_every_picture_is_made_as_small_as_a_model_sees_it() -> None:
    seen = []

    def shrink(picture: np.ndarray) -> np.ndarray:
        seen.append(picture.shape)
        return picture[::2, ::2]

    small = SHORT.item(0, 0, CLOCK, 1, shrink).pool.frames.pixels
    assert seen == [(28, 28, 3)] * 32
    assert small.shape == (32, 14, 14, 3)


class FindsIt:
    """Looks at the frames that show the flash, then names the colour that it sees there."""

    def __init__(self, decisive: frozenset[int], answer: str) -> None:
        self._at, self._answer = decisive, answer

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        shown = {i for batch in observed.batches for i in batch.indices}
        if self._at & shown:
            return PolicyTurn(Answer(self._answer))
        return PolicyTurn(Retrieve(min(self._at), max(self._at)))

    def close(self) -> None:
        pass


def test_an_episode_is_rewarded_by_the_evidence_of_the_film() -> None:
    config = PpoConfig(
        model="none", examples=LongFilmExamples(), reward=RetrievalRewardSettings("paper")
    )
    reward = make_reward(config, None)
    assert isinstance(reward, RetrievalReward)
    totals, episodes = [], []
    for index in range(12):
        example = config.examples.item(index, 0, CLOCK, 1)
        film = make_film("train", index, 1_000_003)
        assert example.task == film.task(96)
        answer = str(film.answer)
        session = FindsIt(film.decisive(96), answer)
        episode = asyncio.run(run_episode(example.env(), session, example.task))
        totals.append(sum(asyncio.run(reward(episode)).values))
        episodes.append(episode)
    found = reward.metrics(episodes)
    assert (found["accuracy"], found["hit_share"], found["seen_share"]) == (1.0, 1.0, 1.0)
    assert found["hit_elsewhere"] is not None
    assert found["hit_elsewhere"] < 0.5
    assert min(totals) >= 1.1


def test_settings_survive_a_file_and_are_told_from_rows() -> None:
    examples = LongFilmExamples(
        (120, 300), 64, 56, RetrievalSettings(8, 4, 2, unit="seconds", marks="both"), 5.0, "val"
    )
    config = GrpoConfig(model="none", examples=examples, reward=RetrievalRewardSettings())
    assert from_plain(GrpoConfig, to_plain(config)) == config
    rows = replace(config, examples=RetrievalRows((), num_frames=64))
    assert from_plain(GrpoConfig, to_plain(rows)) == rows


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"duration_s": (60, 300)}, "from 120 to 1200"),
        ({"duration_s": (300, 200)}, "the smallest first"),
        ({"duration_s": (120, 1201)}, "from 120 to 1200"),
        ({"num_frames": 0}, "num_frames must be at least 1"),
        ({"num_frames": 8}, "first_frames"),
        ({"size_px": 4}, "size_px must be at least 14"),
        ({"pixel_noise": -1.0}, "pixel_noise must be between 0 and 255"),
        ({"split": "all"}, "unknown split 'all'"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        LongFilmExamples(**changes)


def test_examples_of_a_stream_take_no_reward_of_retrieval() -> None:
    with pytest.raises(ConfigError, match="reward"):
        GrpoConfig(model="none", examples=LongFilmExamples())
