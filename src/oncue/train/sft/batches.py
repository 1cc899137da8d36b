"""The batches of a run, addressed by (stage, step), so that a resumed run sees exactly the data it
would have seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from oncue.clock import Clock
from oncue.data.bad_rows import first_usable
from oncue.data.mixed_source import rows_of
from oncue.errors import DataError
from oncue.render.base import PatchedFrame
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.render.shrink import shrink_by
from oncue.train.packing import TrainingBatch, collate
from oncue.train.prefetch import prefetched
from oncue.train.samples import TrainingSample, fit, to_sample
from oncue.train.sft.settings import SftConfig, stage_steps
from oncue.types import Dialogue


@dataclass(frozen=True, slots=True, eq=False)
class StepBatch:
    """What one optimiser step reads: micro-batches, how many of their dialogues lost exchanges to
    `max_tokens`, and what was wrong with each row that was skipped."""

    parts: tuple[TrainingBatch, ...]
    num_cut: int
    skipped: tuple[str, ...] = ()

    @property
    def num_tokens(self) -> int:
        """How many tokens all micro-batches compute."""
        return sum(part.num_tokens for part in self.parts)


def step_batches(
    config: SftConfig, renderer: QwenVLRenderer, step: int
) -> Iterator[tuple[StepBatch, int]]:
    """(batch, number of its stage) of every step from global step `step` on, made in worker
    processes.

    Raises what a source raises about its data, as if it had been read here.
    """
    for index, stage in enumerate(config.stages):
        count = stage_steps(stage)
        if step >= count:
            step -= count
            continue
        batches = _StageBatches(config, index, renderer, step)
        for made in prefetched(batches.batch, count - step, config.num_workers):
            yield made, index
        step = 0


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A dialogue of a stage with its patched frames, and what is left of it within `max_tokens`.
    `skipped`: what was wrong with the row in whose place it is shown."""

    dialogue: Dialogue
    frames: Sequence[PatchedFrame]
    kept: Dialogue
    skipped: str = ""


def draw_dialogue(
    config: SftConfig, stage_index: int, index: int, renderer: QwenVLRenderer
) -> Drawn:
    """Dialogue number `index` of a stage, or of the row that takes its place. Raises DialogueError
    and DataError for a row that cannot be used, with its file and number."""
    source = config.stages[stage_index].source
    seed = config.seed * 1000 + stage_index
    rows, shrink = rows_of(source), shrink_by(renderer.frame_processor)

    def make(number: int) -> Drawn:
        clock = Clock(config.frame_interval_s)
        dialogue, frames = source.item(number, seed, clock, config.frames_per_turn, shrink)
        with rows.named(number, seed) if rows is not None else nullcontext():
            patched = [renderer.frame_processor(frame) for frame in frames]
            kept = fit(dialogue, patched, renderer, config.max_tokens)
            if config.skip_bad_rows and not any(kept.trained):
                raise DataError(
                    'no message is trained; expected an assistant message without "loss": false'
                )
        return Drawn(dialogue, patched, kept)

    drawn, wrong = first_usable(
        make, index, None if rows is None else len(rows), skip=config.skip_bad_rows
    )
    return replace(drawn, skipped=wrong)


@dataclass(frozen=True, slots=True, eq=False)
class _StageBatches:
    """The batches of a stage from its step `first` on."""

    config: SftConfig
    stage_index: int
    renderer: QwenVLRenderer
    first: int

    def batch(self, i: int) -> StepBatch:
        """Batch `first + i`."""
        size = self.config.stages[self.stage_index].batch_size
        start = (self.first + i) * size
        config, renderer = self.config, self.renderer
        drawn = [
            draw_dialogue(config, self.stage_index, index, renderer)
            for index in range(start, start + size)
        ]
        parts = _split([self._sample(each) for each in drawn], config.micro_batch_size)
        return StepBatch(
            tuple(collate(part, renderer.image_pad_id) for part in parts),
            sum(len(each.kept.turns) < len(each.dialogue.turns) for each in drawn),
            tuple(each.skipped for each in drawn if each.skipped),
        )

    def _sample(self, drawn: Drawn) -> TrainingSample:
        frames = drawn.frames[: drawn.kept.num_frames]
        return to_sample(
            drawn.kept, frames, self.renderer, silence_weight=self.config.silence_weight
        )


def _split(samples: Sequence[TrainingSample], size: int) -> list[Sequence[TrainingSample]]:
    return [samples[k : k + size] for k in range(0, len(samples), size)]
