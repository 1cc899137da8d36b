"""What the commands of `oncue eval` share: a policy from flags, the benchmark run on it, its
report."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from oncue.commands.progress import Progress
from oncue.commands.server import ServerFlags, server_model
from oncue.files import prepare_folder, write_json, write_text
from oncue.hub import name_or_bundled
from oncue.startup import loading
from oncue.terminal import console_on

if TYPE_CHECKING:
    from oncue.eval.runner import Benchmark, Scores
    from oncue.policy.open_policy import PolicySpec
    from oncue.types import Question

ItemT = TypeVar("ItemT")
SeenT = TypeVar("SeenT")


class ReportFlags(Protocol):
    """Where scores go."""

    @property
    def json(self) -> bool: ...

    @property
    def out(self) -> Path | None: ...


class PolicyFlags(ServerFlags, Protocol):
    """The flags that name a policy, here or on a server."""

    @property
    def device(self) -> str | None: ...

    @property
    def dtype(self) -> str | None: ...


class EvalFlags(PolicyFlags, ReportFlags, Protocol):
    """The flags of all that run a policy and report scores."""


def evaluate(
    flags: EvalFlags,
    benchmark: Benchmark[ItemT, SeenT],
    sampling: Mapping[str, Any],
    local_only: Iterable[str],
    seed: int = 0,
) -> int:
    """Run `benchmark` on the policy of `flags` and report. Returns the exit code.

    `sampling` (fields of `SamplingParams`) is recorded, `seed` is that of the sampling;
    `local_only` as of `server_model`.
    """
    from oncue.eval.runner import run_benchmark
    from oncue.policy.open_policy import open_policy

    if flags.out is not None:
        prepare_folder(flags.out, files=("scores.json", *benchmark.text_files))
    if flags.server is None:
        benchmark.check_name(name_or_bundled(flags.model))  # before it is loaded
    with loading():
        policy = open_policy(policy_spec(flags, sampling, seed, local_only, benchmark.questions()))
    scores = run_benchmark(benchmark, policy, Progress)
    report(flags, scores, {"sampling": sampling, "ran": policy.provenance.as_json()})
    return 0


def policy_spec(
    flags: PolicyFlags,
    sampling: Mapping[str, Any],
    seed: int,
    local_only: Iterable[str],
    questions: Iterable[Question],
) -> PolicySpec:
    """The policy that the flags name."""
    if flags.server is not None:
        return server_model(flags, local_only, questions)
    from oncue.engine.engine import SamplingParams, Window
    from oncue.env.streaming import FILE_LOOKAHEAD
    from oncue.policy.open_policy import LocalModel

    return LocalModel(
        name_or_bundled(flags.model),
        flags.device,
        flags.dtype,
        flags.max_pixels,
        sampling=SamplingParams(seed=seed, **sampling),
        window=None if flags.context_tokens is None else Window(flags.context_tokens),
        lookahead=FILE_LOOKAHEAD,
    )


def report(flags: ReportFlags, scores: Scores, how: Mapping[str, Any]) -> None:
    """Scores to where the flags say. `how` goes into scores.json beside them. Files first: whoever
    reads the last line finds them there."""
    if flags.out is not None:
        write_json(flags.out / "scores.json", {**scores.numbers(), **how})
        for name, text in scores.texts().items():
            write_text(flags.out / name, text)
    console = console_on(sys.stderr if flags.json else sys.stdout)
    for table in scores.tables():
        shown = table.rich() if console.is_terminal else table.plain()
        console.print(shown, markup=False, soft_wrap=True)
    if remarks := scores.remarks():
        console.print("\n".join(remarks), markup=False, soft_wrap=True)
    if flags.json:
        print(json.dumps(scores.headline(), ensure_ascii=False), flush=True)
