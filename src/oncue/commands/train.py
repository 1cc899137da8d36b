"""`oncue train sft`: supervised fine-tuning."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oncue.commands.training import (
    RunOptions,
    TrainCommand,
    check_files,
    parse_settings,
    refuse_replaced,
)


class TrainSft(TrainCommand):
    """Supervised fine-tuning. Flags of the run first; every setting of the recipe is a flag too.

    Example: oncue train sft --recipe mini --out runs/mini
    """

    @classmethod
    def config_class(cls) -> type[Any]:
        from oncue.train.sft.settings import SftConfig

        return SftConfig

    @classmethod
    def recipe(cls, name: str) -> Any:
        from oncue.recipes import sft_recipe

        return sft_recipe(name)

    @classmethod
    def settings(cls, config: Any, flags: Sequence[str], options: RunOptions, prog: str) -> Any:
        from oncue.data.dialogue_sources import RowSource

        config = parse_settings(config, flags, prog)
        if not options.data:
            return config
        check_files(options.data, "JSONL files in the SFT row format")
        refuse_replaced(flags, f"--stages.{len(config.stages) - 1}.source.")
        last = replace(config.stages[-1], source=RowSource(paths=options.data))
        return replace(config, stages=(*config.stages[:-1], last))

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
