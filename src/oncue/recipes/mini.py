"""The mini recipes: how the bundled model learns to notice, on two cores.

The curriculum goes from a few frames in which something happens half of the time to long streams in
which little does: trained on streams from the start, the model falls silent for good.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from oncue.data.dialogue_sources import WorldSource
from oncue.dialogue.write import Placement
from oncue.render.qwen_vl import DEFAULT_SYSTEM
from oncue.train.sft.loop import NEW_MODEL, SftConfig, Stage

# Parameters of the new model's start (`mini_model`): while the words are still being learned, the
# gradient would wash them out within two hundred steps. What compares stays frozen throughout, the
# rest in the first stage only.
SEEING = ("model.visual.*",)
COMPARING = ("model.language_model.layers.0.*",)
AIMING = ("model.language_model.layers.[12].self_attn.[qk]_proj.*",)


def mini_sft() -> SftConfig:
    """Every setting of the bundled model's first training; `model` "new" builds an untrained one
    first."""

    def stage(
        name: str, num_turns: tuple[int, int], num_steps: int, batch_size: int, **options: Any
    ) -> Stage:
        scale, frozen = options.pop("scale"), options.pop("frozen")
        source = WorldSource(
            num_turns=num_turns, placement=Placement.START, pixel_noise=3.0, **options
        )
        return Stage(name, source, batch_size, num_steps, scale, frozen)

    return SftConfig(
        model=NEW_MODEL,
        stages=(
            stage(
                "changes",
                (6, 6),
                1000,
                16,
                mean_gap_s=0.8,
                empty_frac=0.05,
                question_kinds={"all": 1.0},
                system=DEFAULT_SYSTEM,
                scale=1.0,
                frozen=(*SEEING, *COMPARING, *AIMING),
            ),
            stage(
                "names",
                (4, 4),
                1500,
                24,
                worlds={"shapes": 1.0},
                mean_gap_s=0.3,
                empty_frac=0.0,
                question_kinds={"all": 4.0, "appears": 1.0},
                scale=0.7,
                frozen=COMPARING,
            ),
            stage(
                "words",
                (8, 8),
                800,
                12,
                mean_gap_s=0.8,
                empty_frac=0.05,
                question_kinds={"all": 4.0, "appears": 1.0, "leaves": 1.0},
                scale=0.7,
                frozen=COMPARING,
            ),
            stage(
                "short",
                (6, 14),
                1400,
                10,
                mean_gap_s=1.2,
                empty_frac=0.15,
                scale=0.7,
                frozen=COMPARING,
            ),
            stage("long", (12, 40), 900, 4, empty_frac=0.2, scale=0.6, frozen=COMPARING),
        ),
        frame_interval_s=1.0,
        frames_per_turn=1,
        learning_rate=1.5e-3,
        warmup_frac=0.01,
        final_learning_rate_frac=0.03,
        weight_decay=0.01,
        betas=(0.9, 0.98),
        silence_weight=0.5,
        max_tokens=4096,
        micro_batch_size=64,
        freeze_vision=False,
        gradient_checkpointing=False,
        log_every_steps=50,
        save_every_steps=400,
    )


def mini_more_sft() -> SftConfig:
    """Every setting of its second: the last two stages once more, longer, in larger batches and on
    other clips.

    `model` is to be a checkpoint of the first; by default it is the bundled model, which has had
    both.

    What it learns is to tell one kind of event from another: a thing that moves is not one that
    appears.
    """
    recipe = mini_sft()
    short, long = recipe.stages[-2:]
    return replace(
        recipe,
        model="mini-sft",
        stages=(
            replace(short, batch_size=16, num_steps=1200, learning_rate_scale=1.0),
            replace(long, batch_size=6, num_steps=400, learning_rate_scale=0.6),
        ),
        learning_rate=1e-3,
        seed=7,
        log_every_steps=25,
        save_every_steps=200,
    )
