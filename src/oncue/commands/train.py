"""`oncue train sft`: supervised fine-tuning."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oncue.commands.training import (
    RunOptions,
    TrainCommand,
    check_files,
    parse_settings,
    refuse_replaced,
    require_values,
)
from oncue.errors import ConfigError


@dataclass(frozen=True)
class _SftOptions(RunOptions):
    videos: Path | None = None
    """The folder of the videos that the rows of --data and --offline name. By default that of each
    file."""

    frames: Path | None = None
    """A frame store (oncue data frames build) with the frames of the proactive dialogues of --data,
    in place of their videos."""

    offline: tuple[Path, ...] | None = None
    """Files of questions about whole videos and of captions, mixed with --data: rows of
    LLaVA-Video-178K, of Tarsier2-Recap, or with videos and images. Each file is a source of its
    own."""

    offline_frames: int = 64
    """At most that many frames of a video of --offline, evenly over it, one a second."""

    ratios: tuple[float, ...] | None = None
    """How often --data and each file of --offline is drawn, such as 2 1 1. By default each row once
    in an epoch."""


class TrainSft(TrainCommand):
    """Supervised fine-tuning. Flags of the run first; every setting of the recipe is a flag too.

    Example: oncue train sft --recipe mini --out runs/mini
    """

    options_class = _SftOptions

    @classmethod
    def config_class(cls) -> type[Any]:
        from oncue.train.sft.settings import SftConfig

        return SftConfig

    @classmethod
    def recipe(cls, name: str) -> Any:
        from oncue.recipes import sft_recipe

        return sft_recipe(name)

    @classmethod
    def settings(cls, config: Any, flags: Sequence[str], options: Any, prog: str) -> Any:
        from oncue.data.dialogue_sources import RowSource
        from oncue.data.training_source import training_source

        require_values("--offline", options.offline)
        require_values("--ratios", options.ratios)
        if not options.data:
            _refuse_without_data(options)
            return parse_settings(config, flags, prog)
        check_files((*options.data, *(options.offline or ())), "files of rows")
        source = training_source(
            options.data,
            options.offline or (),
            ratios=options.ratios or (),
            videos=options.videos,
            store=options.frames,
            offline_frames=options.offline_frames,
        )
        of_source = f"--stages.{len(config.stages) - 1}.source."
        refuse_replaced(flags, of_source if isinstance(source, RowSource) else f"{of_source}paths")
        last = replace(config.stages[-1], source=source)
        return parse_settings(replace(config, stages=(*config.stages[:-1], last)), flags, prog)

    def train(self) -> Path:
        from oncue.recipes import builder_of
        from oncue.train.sft.loop import train_sft

        out, resume = self.options.out, self.resumes
        changed = self.options.allow_changed_data
        return train_sft(
            self.config,
            out,
            resume=resume,
            allow_changed_data=changed,
            report=self.report,
            build_model=builder_of(self.config),
            log_to=self.log_to,
        )

    def progress_line(self, metrics: dict[str, Any]) -> str:
        return (
            f"{metrics['step']:>6} / {metrics['total_steps']}  {metrics['stage']:<10} loss "
            f"{metrics['loss']:.4f}  "
            f"grad {metrics['grad_norm']:.2f}  {metrics['tokens_per_s']:,.0f} tokens/s"
        )

    def plan(self) -> Iterator[str]:
        from oncue.recipes import builder_of
        from oncue.train.sft.loop import NEW_MODEL
        from oncue.train.sft.plan import plan_stages

        with tempfile.TemporaryDirectory() as folder:
            model = self.config.model
            if model == NEW_MODEL:
                build = builder_of(self.config)
                seed, decision_format = self.config.seed, self.config.decision_format
                model = str(build(Path(folder), seed, decision_format or "text"))
            yield from plan_stages(self.config, model, self.options.out)


def _refuse_without_data(options: _SftOptions) -> None:
    """Raises ConfigError for a flag that is about --data, which is not given."""
    for name in ("videos", "frames", "offline", "ratios"):
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name} is about the rows of --data; give --data, too")
