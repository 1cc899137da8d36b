"""What a training run will cost, found out before it starts."""

from __future__ import annotations

from collections.abc import Iterator

from oncue.errors import ConfigError, ModelError
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.train.batches import draw_dialogue
from oncue.train.settings import SftConfig, Stage, stage_steps
from oncue.train.sources import RowSource

_NUM_LOOKED_AT = 8


def plan_stages(config: SftConfig, model: str) -> Iterator[str]:
    """One line per stage: steps, dialogues, and the tokens of its first dialogues against the limit.

    `model` has the tokenizer and the image processor; where it cannot be had, a line says so and tokens are not
    counted. A stage that cannot run says why. Raises DialogueError and DataError for rows that break their format.
    """
    renderer = None
    try:
        renderer = QwenVLRenderer.from_pretrained(model, config.max_pixels, config.decision_format)
    except ModelError as error:
        yield f"tokens are not counted: {error}"
    for index, stage in enumerate(config.stages):
        try:
            line = f"{stage.name}: {stage_steps(stage):,} steps of {stage.batch_size} dialogues"
            if renderer is not None:
                line += _tokens(config, index, renderer)
        except ConfigError as error:
            line = f"{stage.name}: {error}"
        yield line


def _tokens(config: SftConfig, stage_index: int, renderer: QwenVLRenderer) -> str:
    stage = config.stages[stage_index]
    lengths: list[int] = []
    num_cut = 0
    for index in range(_num_looked_at(stage)):
        drawn = draw_dialogue(config, stage_index, index, renderer)
        lengths.append(len(renderer.dialogue(drawn.dialogue, drawn.frames)))
        num_cut += len(drawn.kept.turns) < len(drawn.dialogue.turns)
    about = sum(min(n, config.max_tokens) for n in lengths) / len(lengths) * stage.batch_size * stage_steps(stage)
    return (
        f", about {about:,.0f} tokens in all; the first {len(lengths)} have {min(lengths):,} to {max(lengths):,} "
        f"tokens, the limit is {config.max_tokens:,}, {num_cut} would lose their last exchanges"
    )


def _num_looked_at(stage: Stage) -> int:
    return min(_NUM_LOOKED_AT, len(stage.source)) if isinstance(stage.source, RowSource) else _NUM_LOOKED_AT
