"""The new mini model: small, reproducible, an ordinary folder, and looking where a watcher must
look."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from oncue.clock import Clock
from oncue.data.dialogue_sources import WorldSource
from oncue.dialogue.write import Placement
from oncue.model.loading import LoadedModel, load_model
from oncue.recipes import sft_recipe
from oncue.recipes.mini_model import build_mini
from oncue.recipes.mini_start import CHANGED_CHANNELS, Distances
from oncue.render.qwen_vl import DEFAULT_SYSTEM
from oncue.train.packing import collate
from oncue.train.samples import to_sample
from oncue.train.sft.settings import stage_steps
from oncue.types import Dialogue, DialogueTurn


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    return build_mini(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def loaded(built) -> LoadedModel:
    return load_model(built, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def token_loaded(tmp_path_factory) -> LoadedModel:
    """A new model for the token format."""
    torch.set_num_threads(1)
    return load_model(
        build_mini(tmp_path_factory.mktemp("token"), 0, "token"), device="cpu", dtype="float32"
    )


def without_aim(loaded: LoadedModel) -> LoadedModel:
    """The same model, its first layer looking nowhere in particular."""
    model = copy.deepcopy(loaded.model)
    attention = model.model.language_model.layers[0].self_attn
    for projection in (attention.q_proj, attention.k_proj):
        torch.nn.init.zeros_(projection.bias)
    return replace(loaded, model=model)


def test_it_is_small_and_its_numbers_fit_together(loaded):
    text = loaded.model.config.get_text_config()
    assert sum(p.numel() for p in loaded.model.parameters()) <= 5_000_000
    head_dim = text.hidden_size // text.num_attention_heads
    assert head_dim * text.num_attention_heads == text.hidden_size
    assert sum(text.rope_parameters["mrope_section"]) == head_dim // 2
    assert text.vocab_size >= loaded.renderer.tokenizer.get_vocab_size(with_added_tokens=True)
    assert len(loaded.renderer.encode("NO REPLY")) == 2
    assert loaded.renderer.silence_ids[-1] == loaded.renderer.im_end_id


def test_the_same_seed_builds_the_same_model(built, tmp_path):
    again, other = build_mini(tmp_path / "again"), build_mini(tmp_path / "other", seed=1)
    names = {path.name for path in built.iterdir()}
    assert {path.name for path in again.iterdir()} == names
    assert all((again / name).read_bytes() == (built / name).read_bytes() for name in names)
    assert (other / "model.safetensors").read_bytes() != (built / "model.safetensors").read_bytes()


def test_transformers_reads_the_folder(built, loaded):
    from transformers import AutoConfig, AutoTokenizer

    assert AutoConfig.from_pretrained(built).model_type == "qwen2_5_vl"
    tokenizer = AutoTokenizer.from_pretrained(built)
    text = "Tell me whenever something red appears on the left."
    assert tokenizer(text)["input_ids"] == loaded.renderer.encode(text)
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") == loaded.renderer.im_end_id


def test_every_stage_of_the_recipe_ends_and_starts_small():
    config = sft_recipe("mini")
    turns = [stage.source.num_turns[1] for stage in config.stages]
    assert turns[0] <= 8
    assert turns[-1] == max(turns) > 30
    assert all(stage_steps(stage) > 0 for stage in config.stages)


@torch.no_grad()
def hidden(
    loaded: LoadedModel, dialogue: Dialogue, frames: list[np.ndarray], **options: Any
) -> tuple[Any, np.ndarray]:
    """What the decoder gives on a dialogue, and the places (frames, vision tokens) of its
    frames."""
    batch = collate([to_sample(dialogue, frames, loaded.renderer)], loaded.renderer.image_pad_id)
    model = loaded.model.model
    embeds = model.get_input_embeddings()(batch.token_ids_T[None])
    where = batch.token_ids_T[None] == loaded.renderer.image_pad_id
    embeds[where] = torch.cat(
        list(model.get_image_features(batch.patches_NP, batch.grids_F3).pooler_output)
    )
    positions = batch.positions_3T[:, None]
    output = model.language_model(
        inputs_embeds=embeds, position_ids=positions, use_cache=False, **options
    )
    return output, np.flatnonzero(where[0].numpy()).reshape(len(frames), -1)


def look_back(loaded: LoadedModel, height_px: int, width_px: int) -> tuple[float, float]:
    """Of the best head of the first layer: the share of attention that a frame gives to the frame
    one silent turn before, and the share of its places that attend most to their own place in that
    frame.
    """
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (height_px, width_px, 3), dtype=np.uint8) for _ in range(3)]
    turns = [DialogueTurn("system", DEFAULT_SYSTEM)]
    for text in ("Tell me whenever something appears.", "", ""):
        turns += [DialogueTurn("user", text, 1), DialogueTurn("assistant", "NO REPLY")]
    loaded.model.set_attn_implementation("eager")
    output, (_, before, newest) = hidden(
        loaded, Dialogue("d", tuple(turns)), frames, output_attentions=True
    )
    loaded.model.set_attn_implementation("sdpa")
    shares = []
    for attention_LL in output.attentions[0][0]:
        mass = float(attention_LL[newest][:, before].sum(1).mean())
        shares.append((mass, float((attention_LL[newest].argmax(1).numpy() == before).mean())))
    return max(shares)


@pytest.mark.parametrize("fixture", ["loaded", "token_loaded"])
@pytest.mark.parametrize(
    ("height_px", "width_px"), [(126, 224), (144, 192), (224, 126), (432, 768)]
)
def test_a_new_model_looks_at_the_same_place_of_the_frame_before(
    request, fixture, height_px, width_px
):
    model = request.getfixturevalue(fixture)
    mass, same_place = look_back(model, height_px, width_px)
    assert mass > 0.5
    assert same_place > 0.9
    mass, same_place = look_back(without_aim(model), height_px, width_px)
    assert mass < 0.5
    assert same_place < 0.5


def test_the_start_is_made_for_the_distances_of_its_format(loaded, token_loaded):
    """Between frames of a silent turn lie 19 positions, or the 5 of a frame and its two marks."""
    text, token = (Distances.of(model.renderer) for model in (loaded, token_loaded))
    assert text == Distances(strides=(19, 22, 23), to_frame=10)
    assert token == Distances(strides=(7, 22, 23), to_frame=5)


def event_auc(loaded: LoadedModel) -> float:
    """How well the largest change since silence in the newest frame tells a turn with an event from
    one without: the chance that it is larger in a random turn of the first kind.
    """
    told_all = {"all": 1.0}  # every event is due a reply
    source = WorldSource(
        {"shapes": 1.0}, (6, 6), mean_gap_s=0.8, question_kinds=told_all, placement=Placement.START
    )
    change: dict[bool, list[float]] = {True: [], False: []}
    for index in range(30):
        dialogue, frames = source.item(index, 5, Clock(1.0), 1)
        states: list[torch.Tensor] = []
        layer = loaded.model.model.language_model.layers[0]
        hook = layer.register_forward_hook(lambda *call, states=states: states.append(call[-1]))
        _, places = hidden(loaded, dialogue, frames)
        hook.remove()
        silent = [turn.text == "NO REPLY" for turn in dialogue.turns if turn.role == "assistant"]
        for k in range(2, len(silent)):
            if silent[k - 1]:
                change[silent[k]].append(float(states[0][0, places[k], CHANGED_CHANNELS[0]].max()))
    quiet, event = (np.array(change[key]) for key in (True, False))
    return float((event[:, None] > quiet).mean())


@pytest.mark.parametrize("fixture", ["loaded", "token_loaded"])
def test_the_start_tells_events_from_quiet_turns(request, fixture):
    model = request.getfixturevalue(fixture)
    assert event_auc(model) > 0.85
    assert event_auc(without_aim(model)) < 0.75


def test_the_second_run_goes_on_with_the_last_stages_on_other_clips() -> None:
    first, second = sft_recipe("mini"), sft_recipe("mini-more")
    assert [stage.source for stage in second.stages] == [
        stage.source for stage in first.stages[-2:]
    ]
    assert second.model == "mini-sft"
    assert second.seed != first.seed
    assert sum(stage_steps(stage) for stage in second.stages) == 1600
