"""`oncue train sft`: a recipe, a file of settings and flags become one complete config, and that becomes a run."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from oncue.errors import ConfigError
from oncue.files import prepare_folder


@dataclass(frozen=True)
class _Run:
    """Supervised fine-tuning: the run itself. Every setting of the recipe is a flag too (listed below).

    Example: oncue train sft --recipe mini --out runs/mini
    """

    recipe: str
    """mini (the bundled model, from nothing) or mmduet2-3b (published settings)."""

    out: Path
    """The run directory."""

    config: Path | None = None
    """YAML file of settings, such as the config.yaml of another run; it replaces those of the recipe."""

    data: tuple[Path, ...] = ()
    """Training files (JSONL, SFT row format); they replace the data of the recipe's last stage."""

    resume: Literal["auto", "never"] = "never"
    """auto: go on where the run in --out stopped, or start it."""

    dry_run: bool = False
    """Print the resolved settings and what they cost, and stop."""

    json: bool = False
    """One JSON object per logged step on stdout; everything else goes to stderr."""


class TrainSft:
    """Supervised fine-tuning. Flags of the run first; every setting of the recipe is a flag too.

    Example: oncue train sft --recipe mini --out runs/mini
    """

    def __init__(self, run: _Run, config: Any) -> None:
        self.options, self.config = run, config

    @classmethod
    def from_flags(cls, flags: Sequence[str], prog: str) -> TrainSft:
        """Reads the flags of the run, then the rest as settings over the recipe's."""
        from oncue.config import load_config
        from oncue.recipes import sft_recipe
        from oncue.train.sft import SftConfig

        wants_help = not {"-h", "--help"}.isdisjoint(flags)
        flags = [flag for flag in flags if flag not in ("-h", "--help")]
        if wants_help:  # shows the settings of a recipe, so it needs one
            flags = ["--recipe", "mini", "--out", "RUN", *flags]
        shape = (tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands, tyro.conf.EnumChoicesFromValues)
        run, rest = tyro.cli(_Run, args=flags, prog=prog, config=shape, return_unknown_args=True)
        config = sft_recipe(run.recipe)
        if run.config is not None:
            config = load_config(SftConfig, run.config, config)
        if wants_help:
            with contextlib.suppress(SystemExit):
                tyro.cli(_Run, args=["--help"], prog=prog, config=shape, default=run)
            tyro.cli(SftConfig, args=["--help"], prog=prog, config=shape, default=config)
        config = tyro.cli(SftConfig, args=rest, prog=prog, config=shape, default=config)
        return cls(run, _with_data(config, run.data))

    def run(self) -> int:
        """Train, or say what would be trained. Returns the exit code."""
        from oncue.recipes.mini_model import build_mini
        from oncue.train.sft import train_sft

        if self.options.dry_run:
            return self._describe()
        prepare_folder(self.options.out)
        resume = self.options.resume == "auto"
        final = train_sft(self.config, self.options.out, resume=resume, report=self._report, build_model=build_mini)
        print(f"trained: {final}", file=sys.stderr)
        return 0

    def _report(self, metrics: dict[str, Any]) -> None:
        if self.options.json:
            print(json.dumps({"type": "step", **metrics}), flush=True)
            return
        print(
            f"{metrics['step']:>6} / {metrics['total_steps']}  {metrics['stage']:<10} loss {metrics['loss']:.4f}  "
            f"grad {metrics['grad_norm']:.2f}  {metrics['tokens_per_s']:,.0f} tokens/s",
            flush=True,
        )

    def _describe(self) -> int:
        """Prints the resolved settings, and what every stage costs. Nothing is written."""
        import yaml

        from oncue.config import to_plain
        from oncue.recipes.mini_model import build_mini
        from oncue.train.plan import plan_stages
        from oncue.train.sft import NEW_MODEL

        print(yaml.safe_dump(to_plain(self.config), sort_keys=False, allow_unicode=True), end="")
        with tempfile.TemporaryDirectory() as folder:
            model = self.config.model
            if model == NEW_MODEL:
                model = str(build_mini(Path(folder), self.config.seed, self.config.decision_format or "text"))
            for line in plan_stages(self.config, model):
                print(line, file=sys.stderr)
        return 0


def _with_data(config: Any, paths: tuple[Path, ...]) -> Any:
    from oncue.train.sources import RowSource

    if not paths:
        return config
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ConfigError(f"there is no training file {missing[0]}; give JSONL files in the SFT row format")
    last = replace(config.stages[-1], source=RowSource(paths=paths))
    return replace(config, stages=(*config.stages[:-1], last))
