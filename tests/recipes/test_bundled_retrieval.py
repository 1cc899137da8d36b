"""The bundled model that looks into long films, and the demo that shows it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import oncue
from oncue.aio import completed
from oncue.clock import Clock
from oncue.data.long_examples import LongFilmExamples
from oncue.engine.sampling import SamplingParams
from oncue.hub import BUNDLED_FOLDERS, RETRIEVAL_NAME
from oncue.policy.open_policy import LocalModel, open_policy
from oncue.recipes import grpo_recipe
from oncue.recipes.retrieval_mini_model import LOOK
from oncue.train.rl.groups import roll_out
from oncue.train.rl.make_reward import make_reward
from oncue.types import Retrieve
from oncue.world.long.film import make_film

NUM_FILMS = 24


def test_it_looks_at_what_is_asked_for_and_answers() -> None:
    """On films that no training drew. Guessing gives 25 % right; the same looks on other films
    find as much as looks that do not follow the question."""
    examples = LongFilmExamples(look=LOOK, split="val")
    items = [examples.item(index, 0, Clock(1.0), 1) for index in range(NUM_FILMS)]
    sampling = SamplingParams(temperature=0.0, max_new_tokens=8)
    model = LocalModel(
        RETRIEVAL_NAME, "cpu", "float32", sampling=sampling, lockstep=True, record=True
    )
    with open_policy(model) as policy, asyncio.Runner() as runner:
        groups = completed(roll_out(policy.engine, items, 1, (0, 0)), runner)
    episodes = [episode for group in groups for episode in group.episodes]
    measured = make_reward(grpo_recipe("mini-retrieval"), None).metrics(episodes)
    assert measured["accuracy"] > 0.6
    assert measured["hit_share"] > 0.9
    assert measured["hit_share"] > 3 * measured["hit_elsewhere"]
    actions = [exchange.acted.action for each in episodes for exchange in each.exchanges]
    assert len({(a.start, a.end) for a in actions if isinstance(a, Retrieve)}) > 8


def test_it_is_small() -> None:
    folder = BUNDLED_FOLDERS[RETRIEVAL_NAME]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8_000_000


def test_the_demo_asks_the_question_of_its_film() -> None:
    makefile = Path(oncue.__file__).parents[2] / "Makefile"
    demo = makefile.read_text("utf-8").partition("demo-ask: ")[2].partition("\n\n")[0]
    film = make_film("test", 0, 0)
    assert f'{film.film_id}.mp4 "{film.question}"' in demo
    assert f"--options {' '.join(film.options)} " in demo
