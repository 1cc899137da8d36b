"""The study of retrieval: what is measured of looks, arms that differ by what they say, its claims
and its page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from oncue.aio import completed
from oncue.clock import Clock
from oncue.data.long_examples import LongFilmExamples
from oncue.data.retrieval_skills import RetrievalSkills
from oncue.rewards.retrieval import RetrievalRewardSettings
from oncue.rollout import run_episode
from oncue.study.claims import claims_of
from oncue.study.film_claims import CLAIMS, MAIN, targets_of
from oncue.study.film_findings import FILMS
from oncue.study.film_view import FilmView, numbers_of_episodes
from oncue.study.study_page import study_page
from oncue.study.video_mtr_mini import LOOK, SINGLE, STUDY
from oncue.train.rl.settings import GrpoConfig, PpoConfig
from oncue.train.sft.settings import SftConfig
from oncue.types import Action, Answer, EnvTurn, Episode, Malformed, PolicyTurn, Retrieve
from oncue.world.long.film import Film

EXAMPLES = LongFilmExamples(look=replace(LOOK, max_turns=3), split="test")
FILM_IDS = range(12)
POOL = EXAMPLES.num_frames


class Scripted:
    """A session that acts as it was written."""

    def __init__(self, actions: list[Action]) -> None:
        self.actions = iter(actions)

    async def respond(self, observed: EnvTurn) -> PolicyTurn:  # noqa: ARG002
        return PolicyTurn(next(self.actions))

    def close(self) -> None: ...


def measured(script: Callable[[Film], list[Action]]) -> dict[str, float | None]:
    films = [EXAMPLES.film(index, 0) for index in FILM_IDS]
    episodes: list[Episode] = []
    for index, film in zip(FILM_IDS, films, strict=True):
        example = EXAMPLES.item(index, 0, Clock(1.0), 1)
        session = Scripted(script(film))
        episodes.append(completed(run_episode(example.env(), session, example.task)))
    return numbers_of_episodes(films, episodes, EXAMPLES)


def around(film: Film) -> Retrieve:
    first = min(min(film.decisive(POOL)), POOL - 8)
    return Retrieve(first, first + 7)


def wrong(film: Film) -> Answer:
    return Answer(next(letter for letter in "ABCD" if letter != film.answer))


def test_looks_at_the_flash_are_told_from_the_same_looks_elsewhere() -> None:
    found = measured(lambda film: [around(film), Answer(film.answer)])
    assert (found["accuracy"], found["flash_share"], found["flash_seen"]) == (100, 100, 100)
    assert (found["hit_share"], found["hit_look_1"], found["hit_look_2"]) == (100, 100, None)
    assert found["hit_elsewhere"] is not None
    assert found["hit_ratio"] == pytest.approx(100 / found["hit_elsewhere"], rel=0.01)
    assert (found["hit_ratio"] or 0) > 2
    assert (found["looks_per_episode"], found["retrieve_rate"]) == (1, 50)
    assert found["long_over_short"] == 0


def test_looks_at_one_place_hit_no_more_often_than_elsewhere() -> None:
    fixed = Retrieve(40, 47)
    found = measured(lambda film: [fixed, Malformed("?", "no tag"), wrong(film)])
    films = [EXAMPLES.film(index, 0) for index in FILM_IDS]
    hits = [bool(set(range(40, 48)) & film.frames_in(film.target.span, POOL)) for film in films]
    assert found["hit_share"] == round(100 * sum(hits) / len(hits), 2)
    assert found["hit_elsewhere"] == pytest.approx(found["hit_share"])
    assert (found["accuracy"], found["accuracy_seen"]) == (0, 0)
    assert found["malformed_share"] == pytest.approx(100 / 3, abs=0.01)
    assert found["distinct_ranges"] == pytest.approx(1 / len(films), abs=1e-3)


def test_a_second_look_is_counted_apart() -> None:
    """The first look is at the first frame, where no scene has begun."""
    found = measured(lambda film: [Retrieve(0, 0), around(film), Answer(film.answer)])
    assert (found["hit_look_1"], found["hit_look_2"], found["hit_share"]) == (0, 100, 50)


def test_nothing_is_said_of_looks_where_there_is_none() -> None:
    found = measured(lambda film: [Answer(film.answer)])
    assert (found["accuracy"], found["looks_per_episode"], found["hit_share"]) == (100, 0, None)
    assert found.keys() == set(FilmView(MAIN, LOOK).names)


ARMS = {arm.name: arm for arm in STUDY.arms}


def config_of(name: str) -> Any:
    return ARMS[name].config("m", 1)


def changes(name: str) -> set[str]:
    """The settings that an arm has otherwise than `ppo`."""
    mine, base = config_of(name), config_of("ppo")
    return {
        each.name
        for each in fields(GrpoConfig if not isinstance(mine, PpoConfig) else PpoConfig)
        if getattr(mine, each.name) != getattr(base, each.name)
    }


def test_arms_of_reinforcement_learning_differ_from_ppo_by_what_they_say() -> None:
    assert {name: changes(name) for name in ARMS if not name.endswith("sft")} == {
        "ppo": set(),
        "grpo": {"scale_by_deviation"},
        "one_level": {"gae"},
        "no_gate": {"reward"},
        "no_frames": {"reward"},
        "release": {"reward", "gae"},
        "turns_1": {"examples"},
        "turns_3": {"examples"},
        "single": {"examples"},
        "seldom": set(),
        "bootstrap": {"bootstrapping"},
    }
    assert config_of("no_gate").reward == RetrievalRewardSettings("paper", gate=False)
    assert config_of("no_frames").reward == RetrievalRewardSettings("paper", frames=False)
    assert config_of("ppo").gae.kind == "paper_boundary"
    assert not isinstance(config_of("grpo"), PpoConfig)


def test_a_model_is_looked_at_by_the_rules_it_was_trained_by() -> None:
    names = list(ARMS)
    for arm in STUDY.arms:
        config = arm.config("m", 0)
        assert not arm.start or names.index(arm.start) < names.index(arm.name)
        assert [view.name for view in arm.views] == [MAIN, "sampled"]
        looks = {view.look for view in arm.views if isinstance(view, FilmView)}
        if isinstance(config, GrpoConfig):
            assert looks == {config.examples.look}  # type: ignore[union-attr]
    assert SINGLE.first_frames == LOOK.first_frames + LOOK.frames_per_look
    sources = [stage.source for stage in config_of("single_sft").stages]
    assert [s.num_shown for s in sources if isinstance(s, RetrievalSkills)] == [(1, 1), (24, 24)]


def test_the_start_that_seldom_looks_is_taught_to_look_in_less_than_a_tenth_of_its_turns() -> None:
    config = config_of("seldom_sft")
    assert isinstance(config, SftConfig)
    (stage,) = config.stages
    assert isinstance(stage.source, RetrievalSkills)
    odds = stage.source.odds
    looks = odds["look"] / (odds["look"] + odds["answer"] * stage.source.answered_at_once_frac)
    assert looks / (1 + looks) < 0.1


def arm(accuracy: float, **more: float) -> dict[str, Any]:
    """An arm of three seeds, from both sides."""
    numbers = {"accuracy": accuracy, "hit_share": 60.0, "hit_elsewhere": 9.0, **more}
    lists = {name: [value + 0.1 * seed for seed in range(3)] for name, value in numbers.items()}
    about = {"about": "so", "start": "", "paper": "", "seeds": [0, 1, 2]}
    return {**about, **lists, "sampled": lists}


REFERENCES: dict[str, dict[str, Any]] = {
    MAIN: {"n_films": 200, "observers": {"24 uniform frames": {"accuracy": 52.0}}},
    "sampled": {"n_films": 200},
}


def test_targets_are_differences_in_points() -> None:
    arms = {"sft": arm(45), "ppo": arm(70), "single": arm(65)}
    found = {t.target: (t.measured, t.met) for t in targets_of(arms, REFERENCES)}
    assert list(found.values()) == [
        ("25.00", True),
        ("25.00", True),
        ("18.10", True),
        ("6.60", True),
        ("5.00", False),
    ]
    assert all(t.met is None for t in targets_of({}, {}))


def test_claims_are_about_arms_and_measures_of_the_study() -> None:
    for claim in CLAIMS:
        assert claim.arm in ARMS
        assert claim.measure in (*FilmView(MAIN, LOOK).names, *FILMS.logged)
    arms = {"ppo": arm(70, long_over_short=-5.0), "single": arm(60, long_over_short=-20.0)}
    found = {claim.claim: claim.verdict for claim in claims_of(CLAIMS, arms, {})}
    assert list(found.values()) == ["seen", "seen"]


def results(**arms: dict[str, Any]) -> dict[str, Any]:
    study = {
        "name": "video-mtr-mini",
        "title": "t",
        "about": "a",
        "oncue": "0",
        "complete": True,
        "references": REFERENCES,
    }
    return {**arms, "study": study}


def test_the_page_has_a_section_for_what_was_measured_and_none_for_what_was_not() -> None:
    page = study_page(results(sft=arm(45), ppo=arm(70), single=arm(65)), FILMS)
    for shown in (
        "perfect: 24 uniform frames",
        "70.1 ±",
        "Table 4",
        "long-world, sampled at temperature 1",
    ):
        assert shown in page
    assert "200 held-out films of long-world" in page
    for missing in ("Fig. 6", "How rewards become advantages", "How many turns"):
        assert missing not in page
    assert "How many turns" in study_page(results(ppo=arm(70), turns_3=arm(71)), FILMS)
