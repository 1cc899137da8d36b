"""What a training run will cost, found out before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from oncue.data.mixed_source import has_end, rows_of
from oncue.errors import ConfigError, ModelError
from oncue.hub import resolve_model
from oncue.out_of_memory import lack_of_memory
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.train.ending import less_memory
from oncue.train.sft.batches import draw_dialogue
from oncue.train.sft.loop import try_first_step
from oncue.train.sft.settings import SftConfig, Stage, stage_steps
from oncue.train.trial import Problem, Shortage, cost_lines

_NUM_LOOKED_AT = 8


def plan_stages(config: SftConfig, model: str, out: Path | None = None) -> Iterator[str]:
    """One line per stage: steps, dialogues, and the tokens of its first dialogues against the
    limit.

    `model` has the tokenizer and the image processor; where it cannot be had, tokens are not
    counted. What keeps the run from starting is a `Problem`. Without one, and with the folder of
    the run in `out`, the first step is made and thrown away, and further lines say the time and the
    disk that the run needs. Raises DialogueError and DataError for rows that break their format.
    """
    renderer = None
    can_start, num_tokens = True, 0.0
    try:
        renderer = QwenVLRenderer.from_pretrained(model, config.max_pixels, config.decision_format)
    except ModelError as error:
        can_start = False
        yield Problem(f"tokens are not counted: {error}")
    for index, stage in enumerate(config.stages):
        try:
            line = f"{stage.name}: {stage_steps(stage):,} steps of {stage.batch_size} dialogues"
            if renderer is not None:
                about, said = _tokens(config, index, renderer)
                num_tokens += about
                line += said
        except ConfigError as error:
            can_start = False
            line = Problem(f"{stage.name}: {error}")
        yield line
    if can_start and out is not None:
        yield from _costs(config, model, num_tokens, out)


def _costs(config: SftConfig, model: str, num_tokens: float, out: Path) -> Iterator[str]:
    try:
        trial = try_first_step(config, resolve_model(model))
    except (MemoryError, RuntimeError) as error:
        lack = lack_of_memory(error)
        if lack is None:
            raise
        yield Shortage(f"{lack} in the first step; {less_memory(config, None)}")
        return
    yield from cost_lines(config, trial, num_tokens / trial.num_tokens * trial.seconds, out)


def _tokens(config: SftConfig, stage_index: int, renderer: QwenVLRenderer) -> tuple[float, str]:
    """About how many tokens the stage has in all, and what is said of them."""
    stage = config.stages[stage_index]
    lengths: list[int] = []
    num_cut = 0
    for index in range(_num_looked_at(stage)):
        drawn = draw_dialogue(config, stage_index, index, renderer)
        lengths.append(len(renderer.dialogue(drawn.dialogue, drawn.frames).whole))
        num_cut += len(drawn.kept.turns) < len(drawn.dialogue.turns)
    about = (
        sum(min(n, config.max_tokens) for n in lengths)
        / len(lengths)
        * stage.batch_size
        * stage_steps(stage)
    )
    return about, (
        f", about {about:,.0f} tokens in all; the first {len(lengths)} have {min(lengths):,} to "
        f"{max(lengths):,} "
        f"tokens, the limit is {config.max_tokens:,}, {num_cut} would lose their last exchanges"
    )


def _num_looked_at(stage: Stage) -> int:
    rows = rows_of(stage.source) if has_end(stage.source) else None
    return _NUM_LOOKED_AT if rows is None else min(_NUM_LOOKED_AT, len(rows))
