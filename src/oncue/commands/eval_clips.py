"""`oncue eval clips`: does a model speak when something is due, on real clips with hand-made gold."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from oncue.aio import completed
from oncue.commands.number_checks import check_smallest
from oncue.commands.progress import Progress
from oncue.errors import ConfigError
from oncue.files import prepare_folder, write_json
from oncue.hub import name_or_bundled
from oncue.startup import loading
from oncue.terminal import console_on
from oncue.watch.questions import check_untimed

if TYPE_CHECKING:
    from oncue.eval.benchmarks.clips import ClipScores, Item, WatchedItem
    from oncue.policy.open_policy import Policy, PolicySpec
    from oncue.types import PolicySession

FILES = ("scores.json",)  # of --out


@dataclass(frozen=True)
class EvalClips:
    """Score only when a model speaks: a gold span with a reply is a hit, a reply in no span is false. Beside it stand
    silence, talk at every turn, and a frame-difference threshold tuned on generated training clips.

    Example: oncue eval clips gold.json --videos clips/ --ask "Tell me everything that happens."
    """

    gold: tyro.conf.Positional[Path]
    """Gold file in the format of ProactiveVideoQA."""

    videos: Path
    """The folder of its videos."""

    model: str | None = None
    """A model folder, a hub id (owner/name), or mini, which ships with the package. By default mini."""

    server: str | None = None
    """Address of an OpenAI-compatible chat server, as for `oncue watch`; --model is then its name for the model."""

    ask: str | None = None
    """A question in the model's own words, in place of those of the gold file. It is asked when theirs are, so it
    takes no time in front."""

    asks: Path | None = None
    """JSON object from question_id to such a question; ids that it leaves out get --ask, else their own question."""

    tune_world: Literal["shapes", "footage"] = "footage"
    """The world whose training clips the frame-difference threshold is tuned on."""

    tune_clips: int = 60
    """Number of those clips."""

    device: str | None = None
    """cpu, cuda, cuda:1, ... By default a GPU where there is one."""

    dtype: str | None = None
    """float32, bfloat16 or float16. By default bfloat16 on a GPU, float32 elsewhere."""

    reply_bias: float = 0.0
    """Added to the log-odds of replying in every turn: above 0 the model speaks more readily, below 0 less. 0: as it
    was trained."""

    max_new_tokens: int = 32
    """Longest reply; a longer one is cut."""

    context_tokens: int | None = None
    """Longest context the model is given, as for `oncue watch`. By default everything is kept."""

    max_pixels: int | None = None
    """Largest area of a frame, in pixels, before it is scaled down. By default what the model's folder says, but no
    more than the 128 vision tokens MMDuet2 was trained with."""

    json: bool = False
    """One JSON object as the last line on stdout; everything else goes to stderr."""

    out: Path | None = None
    """Folder for scores.json, which holds every reply."""

    def run(self) -> int:
        """Watch, count, show where it fails. Returns the exit code."""
        from oncue.data.gold import load_gold
        from oncue.eval.benchmarks.clips import ClipScores, check_items, find_items, read_asks, time_item, tune_on_world
        from oncue.policy.open_policy import open_policy

        check_smallest(self, context_tokens=1)
        if self.ask is not None and not self.ask.strip():
            raise ConfigError("--ask is empty; give it a question, or leave it out to ask those of the gold file")
        asks = read_asks(self.asks) if self.asks is not None else {}
        for text in (self.ask or "", *asks.values()):
            check_untimed(text)
        items = find_items(load_gold(self.gold), self.videos, self.ask, asks)
        check_items(items)
        if self.out is not None:
            prepare_folder(self.out, files=FILES)
        spec = self._spec(items)
        with loading():
            policy = open_policy(spec)
        with policy:
            with Progress(f"tuning on {self.tune_world}", self.tune_clips) as progress:
                tuned = tune_on_world(self.tune_world, self.tune_clips, progress.step)
            with Progress("watching clips", len(items)) as progress:
                watched = completed(_watch(items, policy, progress.step))
        timed = tuple(time_item(item, tuned) for item in watched)
        scores = ClipScores(policy.name, tuned, self.tune_world, self.tune_clips, timed)
        self._report(scores, policy.provenance.as_json())
        return 0

    def _spec(self, items: Sequence[Item]) -> PolicySpec:
        if self.server is not None:
            from oncue.commands.server import server_model

            questions = [question for item in items for question in item.task.questions]
            return server_model(self, ("device", "dtype", "reply_bias"), questions)
        with loading():
            from oncue.engine.engine import Sampling, Window
            from oncue.env.streaming import FILE_LOOKAHEAD
            from oncue.policy.open_policy import LocalModel

            return LocalModel(
                name_or_bundled(self.model),
                self.device,
                self.dtype,
                self.max_pixels,
                sampling=Sampling(**self._sampling()),
                window=None if self.context_tokens is None else Window(self.context_tokens),
                lookahead=FILE_LOOKAHEAD,
            )

    def _sampling(self) -> dict[str, Any]:
        """How the model is sampled: greedily; the record says it, too. Behind a server there is no bias."""
        return {"temperature": 0.0, "reply_bias": self.reply_bias, "max_new_tokens": self.max_new_tokens}

    def _report(self, scores: ClipScores, ran: dict[str, Any]) -> None:
        if self.out is not None:
            write_json(
                self.out / "scores.json",
                {**scores.as_json(), "sampling": self._sampling(), "ran": ran},
            )
        console = console_on(sys.stderr if self.json else sys.stdout)
        for table in (scores.table(), scores.item_table()):
            console.print(table.rich() if console.is_terminal else table.plain(), markup=False, soft_wrap=True)
        lines = [*scores.failures(), *scores.tuning()]
        console.print("\n".join(lines), markup=False, soft_wrap=True)
        if self.json:
            print(json.dumps(scores.as_json(), ensure_ascii=False), flush=True)


async def _watch(
    items: Sequence[Item], policy: Policy[PolicySession], on_item: Callable[[], None]
) -> list[WatchedItem]:
    from oncue.eval.benchmarks.clips import FRAME_INTERVAL_S, watch_item
    from oncue.video.source import FileSource

    watched = []
    for item in items:
        source = FileSource(item.path, FRAME_INTERVAL_S)
        watched.append(await watch_item(item, source, policy.open(item.task)))
        on_item()
    return watched
