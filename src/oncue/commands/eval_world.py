"""`oncue eval world`: a model on held-out clips with exact gold."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from oncue.aio import completed
from oncue.commands.number_checks import check_smallest
from oncue.commands.progress import Progress
from oncue.files import prepare_folder, user_cache, write_json, write_text
from oncue.hub import name_or_bundled
from oncue.startup import loading
from oncue.terminal import console_on

if TYPE_CHECKING:
    from oncue.eval.benchmarks.world import WorldScores
    from oncue.policy.open_policy import PolicySpec

FILES = ("scores.json", "table.txt", "clips.jsonl")  # of --out


@dataclass(frozen=True)
class EvalWorld:
    """Score a model on held-out clips of a world: timing and content, beside silence, talk at every turn (one fixed
    sentence that is often due) and the earliest perfect replies.

    Example: oncue eval world --world shapes --split test --limit 200 --json
    """

    world: Literal["shapes", "footage"] = "shapes"
    """Which world the clips come from."""

    split: Literal["train", "val", "test"] = "test"
    """Splits share no seed."""

    limit: int = 200
    """Number of clips."""

    model: str | None = None
    """A model folder, a hub id (owner/name), or mini, which ships with the package. By default mini."""

    server: str | None = None
    """Address of an OpenAI-compatible chat server, as for `oncue watch`; --model is then its name for the model."""

    seed: int = 0
    """Picks the clips of the split, the random numbers of sampling, and the order of shuffled frames."""

    control: Literal["none", "frozen", "shuffled"] = "none"
    """frozen: every clip stands still, so any reply is false. shuffled: its frames come in a random order. Things then
    differ from each frame to the next, and some of what may be said of that is due by chance; so a truthful watcher,
    who tells just that, gets a row of its own. A model that looks should lie between silence and it, and below its own
    score on ordered frames."""

    frame_interval_s: float = 1.0
    """Seconds between the frames that are shown, one per turn."""

    cache: Path | None = None
    """Folder to keep the clips in. By default oncue/world in the user's cache folder."""

    device: str | None = None
    """cpu, cuda, cuda:1, ... By default a GPU where there is one."""

    dtype: str | None = None
    """float32, bfloat16 or float16. By default bfloat16 on a GPU, float32 elsewhere."""

    temperature: float = 0.0
    """0 always takes the likeliest token."""

    reply_bias: float = 0.0
    """Added to the log-odds of replying in every turn: above 0 the model speaks more readily, below 0 less. 0: as it
    was trained."""

    max_new_tokens: int = 32
    """Longest reply; a longer one is cut. No reply of a world needs more."""

    context_tokens: int | None = None
    """Longest context the model is given, as for `oncue watch`. By default everything is kept."""

    max_pixels: int | None = None
    """Largest area of a frame, in pixels, before it is scaled down. By default what the model's folder says, but no
    more than the 128 vision tokens MMDuet2 was trained with."""

    json: bool = False
    """One JSON object as the last line on stdout; everything else goes to stderr."""

    out: Path | None = None
    """Folder for scores.json, table.txt and clips.jsonl, which says per clip what was due and what was said."""

    def run(self) -> int:
        """Make the clips, watch them, score what was said. Returns the exit code."""
        from oncue.eval.benchmarks.world import ClipSet, check_model_name, prepare, score_world, watch_world
        from oncue.policy.open_policy import open_policy

        check_smallest(self, context_tokens=1)
        clips = ClipSet(self.world, self.split, self.limit, self.seed, self.control, self.frame_interval_s)
        if self.out is not None:
            prepare_folder(self.out, files=FILES)
        spec = self._spec()
        if spec.name is not None:
            check_model_name(spec.name)
        with loading():
            policy = open_policy(spec)
        with policy:
            check_model_name(policy.name)
            with Progress("making clips", clips.limit) as progress:
                files = prepare(self.cache or user_cache() / "world", clips, progress.step)
            seed = self.seed << 32  # each clip has a seed of its own, whoever else is being watched
            with Progress("watching clips", clips.limit) as progress:
                watched = watch_world(
                    files,
                    lambda clip: policy.open(clip.task, seed=seed + clip.index),
                    clips.control,
                    lambda _: progress.step(),
                    frame_interval_s=clips.frame_interval_s,
                )
                said = completed(watched)
        scores = completed(score_world(clips, files, policy.name, said))
        self._report(scores, policy.provenance.as_json())
        return 0

    def _spec(self) -> PolicySpec:
        if self.server is not None:
            from oncue.commands.server import server_model

            return server_model(self, ("device", "dtype", "temperature", "reply_bias"))
        with loading():
            from oncue.engine.engine import Sampling, Window
            from oncue.env.streaming import FILE_LOOKAHEAD
            from oncue.policy.open_policy import LocalModel

            return LocalModel(
                name_or_bundled(self.model),
                self.device,
                self.dtype,
                self.max_pixels,
                sampling=Sampling(seed=self.seed, **self._sampling()),
                window=None if self.context_tokens is None else Window(self.context_tokens),
                lookahead=FILE_LOOKAHEAD,
            )

    def _sampling(self) -> dict[str, Any]:
        """How the model is sampled; the record says it, too. Behind a server there is no bias."""
        names = ("temperature", "reply_bias", "max_new_tokens")
        return {name: getattr(self, name) for name in names}

    def _report(self, scores: WorldScores, ran: dict[str, Any]) -> None:
        from oncue.eval.benchmarks.world import clip_lines

        table = scores.table()
        if self.out is not None:
            lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in clip_lines(scores.results[scores.model])]
            write_json(
                self.out / "scores.json",
                {**scores.numbers(), "sampling": self._sampling(), "ran": ran},
            )
            write_text(self.out / "table.txt", table.plain() + "\n")
            write_text(self.out / "clips.jsonl", "".join(lines))
        console = console_on(sys.stderr if self.json else sys.stdout)
        console.print(table.rich() if console.is_terminal else table.plain(), markup=False, soft_wrap=True)
        if self.json:
            print(json.dumps(scores.headline()), flush=True)
