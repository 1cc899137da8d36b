"""The new mini model of retrieval: small, with tokens of its own, and reading what it must read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from oncue.clock import Clock
from oncue.data.retrieval_skills import NO_COLOUR, NO_SHAPE, SKILLS, RetrievalSkills
from oncue.errors import ConfigError
from oncue.model.loading import LoadedModel, load_model
from oncue.recipes import builder_of, grpo_recipe, ppo_recipe, sft_recipe
from oncue.recipes.mini_model import build_mini
from oncue.recipes.retrieval_mini_model import LOOK, NUM_FRAMES, build_retrieval_mini
from oncue.recipes.retrieval_mini_start import (
    ASKED_SHAPE,
    OWN_LETTER,
    OWN_NUMBER,
    SHAPE,
    number_code,
)
from oncue.train.forward import trained_logits
from oncue.train.packing import collate
from oncue.train.samples import to_sample
from oncue.world.long.film import COLOURS, SHAPES

CLOCK = Clock(1.0)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return build_retrieval_mini(tmp_path_factory.mktemp("retrieval"))


@pytest.fixture(scope="module")
def loaded(built: Path) -> LoadedModel:
    return load_model(built, device="cpu", dtype="float32")


def after_first_layer(loaded: LoadedModel, skill: str) -> tuple[list[str], torch.Tensor]:
    """The tokens of a dialogue of three frames, and what is at each of them behind layer 1."""
    source = RetrievalSkills({skill: 1.0}, (3, 3), look=LOOK)
    dialogue, frames = source.item(0, 0, CLOCK, 1)
    renderer, seen = loaded.renderer, {}
    sample = to_sample(dialogue, frames, renderer)

    def keep(_module: Any, _args: Any, output: Any) -> None:
        seen["states"] = output[0] if isinstance(output, tuple) else output

    hook = loaded.model.model.language_model.layers[0].register_forward_hook(keep)
    with torch.no_grad():
        trained_logits(
            loaded.model, collate([sample], renderer.image_pad_id), renderer.image_pad_id
        )
    hook.remove()
    tokens = [renderer.tokenizer.id_to_token(int(i)) for i in sample.segment.token_ids]
    return tokens, seen["states"].reshape(len(tokens), -1)


def test_it_fits_into_the_package(built: Path, loaded: LoadedModel) -> None:
    assert sum(path.stat().st_size for path in built.iterdir()) < 8_000_000
    vocab = loaded.model.config.get_text_config().vocab_size
    assert vocab >= loaded.renderer.tokenizer.get_vocab_size(with_added_tokens=True)


def test_numbers_names_and_letters_are_one_token_each(loaded: LoadedModel) -> None:
    words = [*map(str, range(NUM_FRAMES)), *SHAPES, *COLOURS, NO_SHAPE, NO_COLOUR, *"ABCD"]
    ids = [loaded.renderer.encode(word) for word in words]
    assert all(len(each) == 1 for each in ids)
    assert len({each[0] for each in ids}) == len(words)
    assert len(loaded.renderer.encode("starfish")) > 1  # a name inside a word is none


def test_an_episode_has_few_tokens(loaded: LoadedModel) -> None:
    for skill in SKILLS:
        dialogue, frames = RetrievalSkills({skill: 1.0}, look=LOOK).item(1, 0, CLOCK, 1)
        assert len(loaded.renderer.dialogue(dialogue, frames).whole) < 300


def test_other_text_can_be_said(loaded: LoadedModel) -> None:
    text = "What is in frame 412? Nothing, A.D. 7 <answer>é</answer>"
    assert loaded.renderer.tokenizer.decode(loaded.renderer.encode(text)) == text


def test_frames_take_on_their_numbers_and_openers_what_is_asked(loaded: LoadedModel) -> None:
    tokens, states = after_first_layer(loaded, "where")
    for place in (i for i, token in enumerate(tokens) if token == "<|image_pad|>"):
        codes = torch.stack([torch.from_numpy(number_code(n)) for n in range(NUM_FRAMES)])
        assert int((codes @ states[place, OWN_NUMBER]).argmax()) == int(tokens[place - 3])
    asked = next(token for token in tokens if token in SHAPES)
    opener = states[tokens.index("<answer>")]
    assert int(opener[ASKED_SHAPE].argmax()) == SHAPES.index(asked)  # type: ignore[arg-type]


def test_colours_of_options_take_on_their_letters(loaded: LoadedModel) -> None:
    tokens, states = after_first_layer(loaded, "answer")
    places = [i for i, token in enumerate(tokens) if token in COLOURS]
    assert ["ABCD"[int(states[i, OWN_LETTER].argmax())] for i in places] == list("ABCD")


def test_it_is_not_built_to_point_at_colours(loaded: LoadedModel) -> None:
    """The negative control: what nobody asks for is not there."""
    tokens, states = after_first_layer(loaded, "colour")
    asked = states[tokens.index("<answer>"), ASKED_SHAPE]
    present = after_first_layer(loaded, "where")
    found = present[1][present[0].index("<answer>"), ASKED_SHAPE]
    assert asked.norm() < 0.5 * found.norm()
    assert SHAPE.stop - SHAPE.start == len(SHAPES) + 1


def test_the_same_seed_builds_the_same_model(built: Path, tmp_path: Path) -> None:
    again = build_retrieval_mini(tmp_path / "again")
    assert all((again / path.name).read_bytes() == path.read_bytes() for path in built.iterdir())


def test_the_token_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="text, got token"):
        build_retrieval_mini(tmp_path, 0, "token")


def test_each_recipe_builds_its_own_model() -> None:
    assert builder_of(sft_recipe("mini-retrieval")) is build_retrieval_mini
    assert builder_of(sft_recipe("mini")) is build_mini


def test_rewards_meet_films_that_supervised_training_never_draws() -> None:
    taught = {
        stage.source.item(i, 0, CLOCK, 1)[0].dialogue_id.rpartition("-")[0]
        for stage in sft_recipe("mini-retrieval").stages
        for i in range(3)
    }
    for config in (grpo_recipe("mini-retrieval"), ppo_recipe("mini")):
        met = {config.examples.item(i, 0, CLOCK, 1).task.task_id for i in range(3)}
        assert taught.isdisjoint(met)
        assert config.examples.look == LOOK
