"""The batches of a run, addressed by (stage, step), so that a resumed run sees exactly the data it would have seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from oncue.clock import Clock
from oncue.render.base import PatchedFrame
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.train.ahead import made_ahead
from oncue.train.packing import TrainingBatch, collate
from oncue.train.samples import TrainingSample, fit, to_sample
from oncue.train.settings import SftConfig, stage_steps
from oncue.types import Dialogue


@dataclass(frozen=True, slots=True, eq=False)
class StepBatch:
    """What one optimiser step reads: micro-batches, and how many of their dialogues lost exchanges to `max_tokens`."""

    parts: tuple[TrainingBatch, ...]
    num_cut: int

    @property
    def num_tokens(self) -> int:
        """How many tokens all micro-batches compute."""
        return sum(part.num_tokens for part in self.parts)


def step_batches(config: SftConfig, renderer: QwenVLRenderer, step: int) -> Iterator[tuple[StepBatch, int]]:
    """(batch, number of its stage) of every step from global step `step` on, made in worker processes.

    Raises what a source raises about its data, as if it had been read here.
    """
    for index, stage in enumerate(config.stages):
        count = stage_steps(stage)
        if step >= count:
            step -= count
            continue
        batches = _StageBatches(config, index, renderer, step)
        for made in made_ahead(batches.batch, count - step, config.num_workers):
            yield made, index
        step = 0


def draw_dialogue(
    config: SftConfig, stage_index: int, index: int, renderer: QwenVLRenderer
) -> tuple[Dialogue, list[PatchedFrame]]:
    """Dialogue number `index` of a stage and its patched frames, before any cut."""
    source = config.stages[stage_index].source
    seed = config.seed * 1000 + stage_index
    dialogue, frames = source.item(index, seed, Clock(config.frame_interval_s), config.frames_per_turn)
    return dialogue, [renderer.frame_processor(frame) for frame in frames]


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
        drawn = [self._sample(index) for index in range(start, start + size)]
        samples = [sample for sample, _ in drawn]
        parts = _split(samples, self.config.micro_batch_size)
        return StepBatch(
            tuple(collate(part, self.renderer.image_pad_id) for part in parts), sum(was_cut for _, was_cut in drawn)
        )

    def _sample(self, index: int) -> tuple[TrainingSample, bool]:
        config = self.config
        dialogue, patched = draw_dialogue(config, self.stage_index, index, self.renderer)
        kept = fit(dialogue, patched, self.renderer, config.max_tokens)
        sample = to_sample(kept, patched[: kept.num_frames], self.renderer, silence_weight=config.silence_weight)
        return sample, len(kept.turns) < len(dialogue.turns)


def _split(samples: Sequence[TrainingSample], size: int) -> list[Sequence[TrainingSample]]:
    return [samples[k : k + size] for k in range(0, len(samples), size)]
