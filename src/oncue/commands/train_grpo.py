"""`oncue train grpo` and `oncue train ppo`: multi-turn reinforcement learning."""

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
class _RlOptions(RunOptions):
    held_out_from: tuple[Path, ...] | None = None
    """Files of supervised training (JSONL rows): examples of --data whose video is in them are
    refused. Not for questions about videos."""

    judge_server: JudgeServer = field(default_factory=JudgeServer)
    """How a judge openai:MODEL@URL is asked. It may differ when a run is resumed."""


@dataclass(frozen=True)
class _GrpoOptions(_RlOptions):
    """Multi-turn reinforcement learning: the run itself. Every setting of the recipe is a flag too
    (listed below).

    Example: oncue train grpo --recipe mini --out runs/mini-rl
    """


@dataclass(frozen=True)
class _PpoOptions(_RlOptions):
    """Reinforcement learning with a critic: the run itself. Every setting of the recipe is a flag
    too (listed below).

    Example: oncue train ppo --recipe video-mtr-7b --data rows.jsonl --examples.videos videos/
    --out runs/mtr
    """


class TrainRl(TrainCommand):
    """What both have in common."""

    @classmethod
    def _with_rows(
        cls, config: Any, flags: Sequence[str], paths: tuple[Path, ...], prog: str
    ) -> Any:
        """The settings with `flags`, and examples from the files `paths`."""
        from oncue.data.proactive_examples import ProactiveExamples
        from oncue.data.retrieval_examples import RetrievalRows
        from oncue.data.row_examples import RowExamples
        from oncue.data.training_source import is_proactive

        given = config.examples
        kind: Any = RetrievalRows if given.is_retrieval else RowExamples
        if kind is RowExamples and is_proactive(paths[0]):
            kind = ProactiveExamples
        if isinstance(given, kind):
            examples: Any = replace(given, paths=paths)
        elif kind is RetrievalRows:  # in place of films that are drawn
            examples = kind(paths, num_frames=given.num_frames, look=given.look)
        else:
            examples = kind(paths)
        others = {each.name for each in fields(given)} - {each.name for each in fields(examples)}
        refuse_replaced(flags, *(f"--examples.{name.replace('_', '-')}" for name in others))
        own = make_dataclass("OfRows", [("examples", kind)])
        of_rows, flags = parse_known(own(examples), flags, prog)
        return replace(parse_settings(config, flags, prog), examples=of_rows.examples)

    @classmethod
    def settings(cls, config: Any, flags: Sequence[str], options: Any, prog: str) -> Any:
        from oncue.data.proactive_examples import ProactiveExamples
        from oncue.data.retrieval_examples import RetrievalRows
        from oncue.data.row_examples import RowExamples, check_held_out

        require_values("--held-out-from", options.held_out_from)
        if not options.data:
            config = parse_settings(config, flags, prog)
        else:
            check_files(options.data, "files of examples")
            refuse_replaced(flags, "--examples.paths")
            config = cls._with_rows(config, flags, options.data, prog)
        if isinstance(config.examples, RetrievalRows):
            check_files(config.examples.paths, "files of questions with --data")
        if config.examples.is_retrieval and options.held_out_from:
            raise ConfigError(
                "--held-out-from is for streams; leave it out for questions about videos"
            )
        if isinstance(config.examples, ProactiveExamples):
            check_files(config.examples.paths, "files of proactive dialogues with --data")
            check_files(options.held_out_from or (), "the JSONL rows of supervised training")
            if options.held_out_from:
                check_held_out(config.examples.examples(), options.held_out_from)
            return config
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
        from oncue.scoring.server_judge import ServerJudge
        from oncue.train.rl.loop import train_grpo
        from oncue.train.rl.make_reward import make_reward

        judge = self._judge()
        reward, out = make_reward(self.config, judge), self.options.out
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
        parts += _of_retrieval(metrics) if "retrieve_rate" in metrics else _of_streams(metrics)
        parts.append(f"rollout {metrics['rollout_s']:.1f} s")
        parts.append(f"train {metrics['train_s']:.1f} s")
        parts.append(f"{metrics['tokens_per_s']:,.0f} tokens/s")
        return "  ".join(parts)

    def plan(self) -> Iterator[str]:
        from oncue.train.rl.make_reward import make_reward
        from oncue.train.rl.plan import plan_rl

        reward = make_reward(self.config, self._judge(keep_answers=False))
        yield from plan_rl(self.config, reward, self.options.out)

    def _judge(self, *, keep_answers: bool = True) -> Judge | None:
        """None for questions about videos, which need none."""
        from oncue.rewards.proactive import MAX_SCORE

        server: JudgeServer = self.options.judge_server
        if self.config.examples.is_retrieval:
            server.check_unused("(retrieval needs none)", "--judge-server.")
            return None
        return server.judge(
            self.config.judge, MAX_SCORE, prefix="--judge-server.", keep_answers=keep_answers
        )


def _of_streams(metrics: dict[str, Any]) -> list[str]:
    parts = [f"replies {metrics['replies_per_episode']:.1f}"]
    if "first_reply_delay_s" in metrics:
        delay_s = metrics["first_reply_delay_s"]
        parts.append("no reply in time" if delay_s is None else f"delay {delay_s:.1f} s")
    return parts


def _of_retrieval(metrics: dict[str, Any]) -> list[str]:
    hits, elsewhere = (metrics[name] or 0.0 for name in ("hit_share", "hit_elsewhere"))
    return [
        f"right {100 * (metrics['accuracy'] or 0.0):.1f} %",
        f"looks {metrics['looks_per_episode']:.2f}",
        f"hits {hits:.2f} (elsewhere {elsewhere:.2f})",
    ]


class TrainGrpo(TrainRl):
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


class TrainPpo(TrainRl):
    """Reinforcement learning with a critic. Flags of the run first; every setting of the recipe is
    a flag too.

    Example: oncue train ppo --recipe video-mtr-7b --data rows.jsonl --examples.videos videos/
    --out runs/mtr
    """

    options_class = _PpoOptions
    help_recipe = "video-mtr-7b"

    @classmethod
    def config_class(cls) -> type[Any]:
        from oncue.train.rl.settings import PpoConfig

        return PpoConfig

    @classmethod
    def recipe(cls, name: str) -> Any:
        from oncue.recipes import ppo_recipe

        return ppo_recipe(name)
