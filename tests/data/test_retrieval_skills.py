"""Laws of the dialogues that teach retrieval: tokens of rollouts, right answers, blind ranges."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from oncue.aio import completed
from oncue.clock import Clock
from oncue.data.retrieval_skills import NO_COLOUR, NO_SHAPE, SKILLS, RetrievalSkills
from oncue.env.retrieval import RetrievalEnv, RetrievalSettings
from oncue.errors import ConfigError
from oncue.render.decision import Lead
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.types import DialogueTurn, Retrieve
from oncue.world.long.film import film_named, make_film
from oncue.world.long.pictures import draw_pool

LOOK = RetrievalSettings(max_turns=2, thinking="off")
CLOCK = Clock(1.0)


@pytest.fixture(scope="module")
def mini_renderer() -> QwenVLRenderer:
    return QwenVLRenderer.from_pretrained("mini-sft")


def skill(name: str, **options: object) -> RetrievalSkills:
    return RetrievalSkills({name: 1.0}, look=LOOK, **options)  # type: ignore[arg-type]


def shown(turn: DialogueTurn) -> list[int]:
    return [int(mark.removeprefix("frame ")) for mark in turn.marks]


def film_of(dialogue_id: str):
    film = film_named(dialogue_id.rpartition("-")[0])
    assert film is not None
    return film


def said(text: str) -> str:
    found = re.fullmatch(r"<answer>(.*)</answer>", text)
    assert found is not None
    return found[1]


def test_tokens_of_an_episode_are_those_of_its_rollout(mini_renderer: QwenVLRenderer) -> None:
    """System message, turns and marks are rendered as the environment shows them."""
    source = skill("look", uniform_frac=1.0)
    for index in range(3):
        dialogue, frames = source.item(index, 0, CLOCK, 1)
        film = film_of(dialogue.dialogue_id)
        env = RetrievalEnv(draw_pool(film, 96, 28), film.task(96), LOOK)
        ids = list(mini_renderer.system_block(env.system).token_ids)
        turn, lead = completed(env.open()), Lead.START
        for written in (dialogue.turns[2], dialogue.turns[4]):
            action = env.format.read(written.text)
            ids += list(mini_renderer.user_turn(turn, lead).token_ids)
            ids += mini_renderer.policy_turn_ids(action, env.format)
            turn, lead = completed(env.step(action)), Lead.CLOSED
        taught = mini_renderer.dialogue(dialogue, frames).whole.token_ids.tolist()
        assert taught == [*ids, *mini_renderer.encode("\n")]


def test_a_mark_is_part_of_the_tokens(mini_renderer: QwenVLRenderer) -> None:
    dialogue, frames = skill("shape").item(0, 0, CLOCK, 1)
    turn = dialogue.turns[1]
    other = replace(turn, marks=("frame 0",) * len(turn.marks))
    changed = replace(dialogue, turns=(dialogue.turns[0], other, dialogue.turns[2]))
    as_taught, otherwise = (
        mini_renderer.dialogue(each, frames).whole.token_ids.tolist()
        for each in (dialogue, changed)
    )
    assert as_taught != otherwise


@pytest.mark.parametrize("name", ["shape", "colour"])
def test_what_a_frame_shows_is_told_rightly(name: str) -> None:
    kinds = set()
    for index in range(60):
        dialogue, frames = skill(name, num_shown=(1, 4)).item(index, 1, CLOCK, 1)
        film, (_, observed, acted) = film_of(dialogue.dialogue_id), dialogue.turns
        asked = int(re.search(r"in frame (\d+)\?", observed.text)[1])  # type: ignore[index]
        assert asked in shown(observed)
        assert len(frames) == observed.num_frames
        shape, colour = film.shown_at((asked + 0.5) * film.duration_s / 96)
        right = (shape or NO_SHAPE) if name == "shape" else (colour or NO_COLOUR)
        assert said(acted.text) == right
        kinds.add(right)
    assert len(kinds) >= 4


def test_a_frame_that_is_pointed_at_shows_the_shape() -> None:
    for index in range(40):
        dialogue, _ = skill("where").item(index, 1, CLOCK, 1)
        film, (_, observed, acted) = film_of(dialogue.dialogue_id), dialogue.turns
        shape = re.search(r"shows the (\w+)\?", observed.text)[1]  # type: ignore[index]
        told = int(said(acted.text))
        assert told in shown(observed)
        assert film.shown_at((told + 0.5) * film.duration_s / 96)[0] == shape


@pytest.mark.parametrize("name", ["answer", "look", "found"])
def test_an_answer_is_trained_where_the_flash_is_in_view(name: str) -> None:
    trained = 0
    for index in range(60):
        dialogue, _ = skill(name).item(index, 2, CLOCK, 1)
        film = film_of(dialogue.dialogue_id)
        seen = {i for turn in dialogue.turns if turn.role == "user" for i in shown(turn)}
        is_seen = not film.decisive(96).isdisjoint(seen)
        assert dialogue.trained[-1] == is_seen
        assert said(dialogue.turns[-1].text) == film.answer
        trained += dialogue.trained[-1]
    assert trained == 60 if name != "look" else 5 < trained < 55


def ranges_of(dialogue) -> list[tuple[int, int]]:
    said = [turn.text for turn in dialogue.turns if turn.text.startswith("<retrieve>")]
    return [tuple(map(int, re.findall(r"\d+", text))) for text in said]  # type: ignore[misc]


def test_every_look_of_an_episode_draws_its_own_range() -> None:
    source = skill("look", max_turns=(2, 3))
    found = [ranges_of(source.item(index, 0, CLOCK, 1)[0]) for index in range(40)]
    assert {len(ranges) for ranges in found} == {1, 2}
    assert sum(len(set(ranges)) == 2 for ranges in found) > 10


def test_a_range_begins_at_a_shown_frame_or_some_before() -> None:
    leads = set()
    for index in range(60):
        dialogue, _ = skill("look", num_shown=(2, 2), uniform_frac=0.0).item(index, 0, CLOCK, 1)
        (first, last), near = ranges_of(dialogue)[0], shown(dialogue.turns[1])
        leads.add(min(frame - first for frame in near if frame >= first))
        assert 1 <= last - first + 1 <= 9
    assert leads == set(range(6))


def test_some_answers_are_given_in_the_first_of_several_turns() -> None:
    source = skill("answer", max_turns=(3,), answered_at_once_frac=0.5)
    leads = [source.item(index, 0, CLOCK, 1)[0].turns[1].lead for index in range(40)]
    assert 10 < sum("Turn 1 of 3." in lead for lead in leads) < 30
    assert all("Turn 1 of 3." in lead or "Turn 1 of 1." in lead for lead in leads)


@pytest.mark.parametrize("max_turns", [(), (2, 3)])
def test_trained_ranges_are_blind_to_the_film(max_turns: tuple[int, ...]) -> None:
    """With other films behind the same numbers, every trained range stays what it was."""
    ranges = []
    for seed_of_films in (0, 5):
        source = skill("look", max_turns=max_turns)
        found = []
        for index in range(80):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    "oncue.data.retrieval_skills.make_film",
                    lambda split, i, _seed, length, other=seed_of_films: make_film(
                        split, i, other, length
                    ),
                )
                dialogue, _ = source.item(index, 3, CLOCK, 1)
            assert dialogue.trained[2]
            found.append((ranges_of(dialogue), dialogue.turns[1].marks))
        ranges.append(found)
    assert ranges[0] == ranges[1]


def test_ranges_with_the_flash_are_never_trained() -> None:
    """The negative control of the law above: these do depend on the film."""
    hits = 0
    for index in range(40):
        dialogue, _ = skill("found").item(index, 3, CLOCK, 1)
        assert dialogue.trained == (False, False, False, False, True)
        action = RetrievalEnv(
            draw_pool(film_of(dialogue.dialogue_id), 96, 28),
            film_of(dialogue.dialogue_id).task(96),
            LOOK,
        ).format.read(dialogue.turns[2].text)
        assert isinstance(action, Retrieve)
        decisive = film_of(dialogue.dialogue_id).decisive(96)
        hits += not decisive.isdisjoint(range(int(action.start), int(action.end) + 1))
    assert hits == 40


def test_splits_and_seeds_give_other_films_and_the_same_number_the_same_dialogue() -> None:
    source = RetrievalSkills(dict.fromkeys(SKILLS, 1.0), look=LOOK, pixel_noise=3.0)
    first, again = source.item(3, 0, CLOCK, 1), source.item(3, 0, CLOCK, 1)
    assert first[0] == again[0]
    assert all(np.array_equal(a, b) for a, b in zip(first[1], again[1], strict=True))
    others = [replace(source, split="val").item(3, 0, CLOCK, 1), source.item(3, 1, CLOCK, 1)]
    assert (
        len(
            {
                first[0].dialogue_id.rpartition("-")[0],
                *(other[0].dialogue_id.rpartition("-")[0] for other in others),
            }
        )
        == 3
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"odds": {"guess": 1.0}}, "guess"),
        ({"odds": {}}, "odds"),
        ({"odds": {"look": 1.0}, "num_shown": (4, 200)}, "num_shown"),
        ({"odds": {"look": 1.0}, "widths": (0, 3)}, "widths"),
        ({"odds": {"look": 1.0}, "look": RetrievalSettings(max_turns=1)}, "max_turns"),
        ({"odds": {"look": 1.0}, "max_turns": (2, 1)}, "max_turns"),
        ({"odds": {"look": 1.0}, "leads": (3, 2)}, "leads"),
        ({"odds": {"answer": 1.0}, "answered_at_once_frac": 1.5}, "answered_at_once_frac"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        RetrievalSkills(**options)  # type: ignore[arg-type]
