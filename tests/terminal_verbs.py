"""Every kind of verb with `--json`, one after the other, as `python terminal_verbs.py FOLDER
WORD...`.

They are the real ones, but for the model, which says what is written here, and the training, which
logs two steps.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from oncue import cli
from oncue.commands import evaluating
from oncue.commands.train import TrainSft
from oncue.commands.training import RunOptions
from oncue.commands.watch import Watch
from oncue.policy.open_policy import Script
from oncue.policy.scripted import ScriptedPolicy
from oncue.types import EnvTurn, PolicyTurn

SAID = {1.0: "first", 2.0: "second [bold]reply[/bold] :smile:", 3.0: "x" * 300}


class Speaker(ScriptedPolicy):
    """Warns between two replies, as a damaged video does."""

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        if observed.clock_s == 2.0:
            warnings.warn("a stretch is damaged", stacklevel=1)
        return await super().respond(observed)


def train(command: TrainSft) -> int:
    for step in (1, 2):
        metrics = {
            "step": step,
            "total_steps": 2,
            "stage": "one",
            "loss": 1.0,
            "grad_norm": 1.0,
            "tokens_per_s": 1.0,
        }
        command.report({**metrics, "warnings": ["fallen silent"]})
    return 0


def main(folder: Path, verbs: list[str]) -> int:
    """The sum of the exit codes."""
    Watch._session = lambda *_, **__: Speaker(SAID)  # type: ignore[assignment,method-assign,return-value]
    evaluating.policy_spec = lambda *_: Script(lambda _: Speaker(SAID), "mini")
    TrainSft.run = train  # type: ignore[method-assign]
    TrainSft.from_flags = classmethod(  # type: ignore[method-assign,assignment]
        lambda cls, flags, prog: cls(RunOptions(folder / "run", json="--json" in flags), None)  # noqa: ARG005
    )
    clips = folder / "clips"
    words = {
        "make": ["world", "make", str(clips), "--count", "2"],
        "watch": ["watch", str(clips / "videos" / "shapes-train-0-00000.mp4"), "--ask", "What?"],
        "eval": ["eval", "world", "--limit", "2", "--cache", str(folder / "cache")],
        "score": ["score", "rewards", str(folder / "rollouts.jsonl"), "--judge", "lexical"],
        "train": ["train", "sft"],
    }
    more = ["--json"] if "json" in verbs else []
    return sum(cli.main([*words[verb], *more]) for verb in verbs if verb != "json")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
