"""`oncue train grpo`: multi-turn reinforcement learning."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncue.clock import Clock
from oncue.commands.judging import JudgeServer
from oncue.commands.training import (
    RunOptions,
    TrainCommand,
    check_files,
    parse_known,
    parse_settings,
    refuse_replaced,
    require_values,
)
from oncue.errors import ConfigError
from oncue.rewards.shown_names import TERM_PREFIX, logged_terms

if TYPE_CHECKING:
    from oncue.scoring.judge import Judge


@dataclass(frozen=True)
class _GrpoOptions(RunOptions):
    """Multi-turn reinforcement learning: the run itself. Every setting of the recipe is a flag too
    (listed below).

    Example: oncue train grpo --recipe mini --out runs/mini-rl
    """

    held_out_from: tuple[Path, ...] | None = None
    """Files of supervised training (JSONL rows): examples of --data whose video is in them are
    refused."""

    judge_server: JudgeServer = field(default_factory=JudgeServer)
    """How a judge openai:MODEL@URL is asked. It may differ when a run is resumed."""


class TrainGrpo(TrainCommand):
    """Multi-turn reinforcement learning. Flags of the run first; every setting of the recipe is a
    flag too.

    Example: oncue train grpo --recipe mini --out runs/mini-rl
    """

    options_class = _GrpoOptions

    @classmethod
    def config_class(cls) -> type[Any]:
        from oncue.train.rl.settings import GrpoConfig

        return GrpoConfig

    @classmethod
    def recipe(cls, name: str) -> Any:
        from oncue.recipes import grpo_recipe

        return grpo_recipe(name)

    @classmethod
    def settings(cls, config: Any, flags: Sequence[str], options: Any, prog: str) -> Any:
        from oncue.data.row_examples import RowExamples, check_held_out

        require_values("--held-out-from", options.held_out_from)
        if not options.data:
            config = parse_settings(config, flags, prog)
        else:
            check_files(options.data, "JSONL files of examples")
            refuse_replaced(flags, "--examples.paths")
            given, examples = config.examples, RowExamples(options.data)
            if isinstance(given, RowExamples):
                examples = replace(given, paths=options.data)
            others = {each.name for each in fields(given)} - {
                each.name for each in fields(examples)
            }
            refuse_replaced(flags, *(f"--examples.{name.replace('_', '-')}" for name in others))
            own = make_dataclass("OfRows", [("examples", RowExamples)])
            of_rows, flags = parse_known(own(examples), flags, prog)
            config = replace(parse_settings(config, flags, prog), examples=of_rows.examples)
        if not isinstance(config.examples, RowExamples):
            if options.held_out_from:
                raise ConfigError(
                    "--held-out-from compares videos of examples; give them with --data"
                )
            return config
        check_files(config.examples.paths, "JSONL files of examples with --data")
        rows = config.examples.rows(skip_bad=config.skip_bad_rows)
        if not config.skip_bad_rows:
            config.examples.check_lengths(Clock(config.frame_interval_s), config.frames_per_turn)
        check_files(options.held_out_from or (), "the JSONL rows of supervised training")
        check_held_out(rows, options.held_out_from or ())
        return config

    def run(self) -> int:
        """As every training command, after a word about segments of unusual length."""
        from oncue.data.row_examples import RowExamples, unusual_segments
        from oncue.train.parallel import Ranks

        examples, is_first = self.config.examples, Ranks.of_environment().is_first
        if is_first and isinstance(examples, RowExamples):
            rows = examples.rows(skip_bad=self.config.skip_bad_rows)
            if warning := unusual_segments(rows):
                print(f"oncue: warning: {warning}", file=sys.stderr)
        return super().run()

    def train(self) -> Path:
        from oncue.rewards.proactive import ProactiveReward
        from oncue.scoring.server_judge import ServerJudge
        from oncue.train.rl.loop import train_grpo

        judge = self._judge()
        reward, out = ProactiveReward(judge, self.config.reward), self.options.out
        checks = {"check_judge": judge.check_alive} if isinstance(judge, ServerJudge) else {}
        try:
            return train_grpo(
                self.config,
                reward,
                out,
                resume=self.resumes,
                allow_changed_data=self.options.allow_changed_data,
                report=self.report,
                log_to=self.log_to,
                **checks,
            )
        finally:
            if isinstance(judge, ServerJudge):
                asyncio.run(judge.aclose())
                print(f"judge {judge.name}: {judge.usage.line()}", file=sys.stderr)

    def progress_line(self, metrics: dict[str, Any]) -> str:
        parts = [f"{metrics['step']:>6} / {metrics['total_steps']}"]
        parts.append(f"reward {metrics['reward']:.3f}")
        terms = logged_terms([metrics])
        if "pauc" in terms:
            parts.append(f"PAUC {100 * metrics['reward_pauc']:.1f}")
        else:
            parts += [f"{name} {metrics[TERM_PREFIX + name]:.3f}" for name in terms]
        parts.append(f"replies {metrics['replies_per_episode']:.1f}")
        if "first_reply_delay_s" in metrics:
            delay_s = metrics["first_reply_delay_s"]
            parts.append("no reply in time" if delay_s is None else f"delay {delay_s:.1f} s")
        parts.append(f"rollout {metrics['rollout_s']:.1f} s")
        parts.append(f"train {metrics['train_s']:.1f} s")
        parts.append(f"{metrics['tokens_per_s']:,.0f} tokens/s")
        return "  ".join(parts)

    def plan(self) -> Iterator[str]:
        from oncue.train.rl.plan import plan_grpo

        self._judge(keep_answers=False)
        yield from plan_grpo(self.config, self.options.out)

    def _judge(self, *, keep_answers: bool = True) -> Judge:
        from oncue.rewards.proactive import MAX_SCORE

        server: JudgeServer = self.options.judge_server
        return server.judge(
            self.config.judge, MAX_SCORE, prefix="--judge-server.", keep_answers=keep_answers
        )
