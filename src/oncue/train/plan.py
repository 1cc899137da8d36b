"""What a training run will cost, found out before it starts."""

from __future__ import annotations

from collections.abc import Iterator

from oncue.clock import Clock
from oncue.errors import ConfigError, ModelError
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.train.samples import fit
from oncue.train.sft import SftConfig, stage_steps

_NUM_LOOKED_AT = 8


def plan_stages(config: SftConfig) -> Iterator[str]:
    """One line per stage: steps, dialogues, and the tokens of its first dialogues against the limit."""
    renderer = _renderer(config)
    clock = Clock(config.frame_interval_s)
    for index, stage in enumerate(config.stages):
        try:
            steps = stage_steps(stage)
            items = [
                stage.source.item(i, config.seed * 1000 + index, clock, config.frames_per_turn)
                for i in range(_NUM_LOOKED_AT)
            ]
        except ConfigError as error:
            yield f"{stage.name}: {error}"
            continue
        line = f"{stage.name}: {steps} steps of {stage.batch_size} dialogues"
        if renderer is not None:
            patched = [[renderer.frame_processor(frame) for frame in frames] for _, frames in items]
            lengths = [len(renderer.dialogue(d, f).token_ids) for (d, _), f in zip(items, patched, strict=True)]
            cut = sum(
                len(fit(d, f, renderer, config.max_tokens).turns) < len(d.turns)
                for (d, _), f in zip(items, patched, strict=True)
            )
            line += (
                f"; first {len(lengths)} have {min(lengths)} to {max(lengths)} tokens, limit {config.max_tokens}, "
                f"{cut} would lose their last exchanges"
            )
        yield line


def _renderer(config: SftConfig) -> QwenVLRenderer | None:
    """The model's renderer, or None for a model that is yet to be built or is not here."""
    try:
        return None if config.model == "new" else QwenVLRenderer.from_pretrained(config.model, config.max_pixels)
    except ModelError:
        return None
