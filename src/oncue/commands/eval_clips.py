"""`oncue eval clips`: does a model speak when something is due, on real clips with hand-made
gold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from oncue.commands.evaluating import evaluate
from oncue.commands.number_checks import check_smallest
from oncue.errors import ConfigError
from oncue.watch.questions import check_untimed


@dataclass(frozen=True)
class EvalClips:
    """Score only when a model speaks: a gold span with a reply is a hit, a reply in no span is
    false. It is compared with silence, talk at every turn, and a frame-difference threshold tuned
    on generated training clips.

    Example: oncue eval clips gold.json --videos clips/ --ask "Tell me everything that happens."
    """

    gold: tyro.conf.Positional[Path]
    """Gold file in the format of ProactiveVideoQA."""

    videos: Path
    """The folder of its videos."""

    model: str | None = None
    """A model folder, a hub id (owner/name), or mini, which ships with the package. By default
    mini."""

    server: str | None = None
    """Address of an OpenAI-compatible chat server, as for `oncue watch`; --model is then its name
    for the model."""

    ask: str | None = None
    """A question in the model's own words, in place of those of the gold file. It is asked at the
    times of theirs, so it begins with no time."""

    asks: Path | None = None
    """JSON object from question_id to such a question; ids that it leaves out get --ask, else their
    own question."""

    tune_world: Literal["shapes", "footage"] = "footage"
    """The world whose training clips the frame-difference threshold is tuned on."""

    tune_clips: int = 60
    """Number of those clips."""

    device: str | None = None
    """cpu, cuda, cuda:1, ... By default a GPU where there is one."""

    dtype: str | None = None
    """float32, bfloat16 or float16. By default bfloat16 on a GPU, float32 elsewhere."""

    reply_bias: float = 0.0
    """Added to the log-odds of replying in every turn: above 0 the model speaks more readily, below
    0 less. 0: as it was trained."""

    max_new_tokens: int = 32
    """Longest reply; a longer one is cut."""

    context_tokens: int | None = None
    """Longest context the model is given, as for `oncue watch`. By default everything is kept."""

    max_pixels: int | None = None
    """Largest area of a frame, in pixels, before it is scaled down. By default what the model's
    folder says, but no more than the 128 vision tokens MMDuet2 was trained with."""

    json: bool = False
    """One JSON object as the last line on stdout; everything else goes to stderr."""

    out: Path | None = None
    """Folder for scores.json, which holds every reply."""

    def run(self) -> int:
        """Watch, count, show where it fails. Returns the exit code."""
        from oncue.data.gold import load_gold
        from oncue.eval.benchmarks.clip_items import check_items, find_items, read_asks
        from oncue.eval.benchmarks.clips import Clips

        check_smallest(self, context_tokens=1)
        if self.ask is not None and not self.ask.strip():
            raise ConfigError(
                "--ask is empty; give it a question, or leave it out to ask those of the gold file"
            )
        asks = read_asks(self.asks) if self.asks is not None else {}
        for text in (self.ask or "", *asks.values()):
            check_untimed(text)
        items = find_items(load_gold(self.gold), self.videos, self.ask, asks)
        check_items(items)
        benchmark = Clips(items, self.tune_world, self.tune_clips)
        sampling = {
            "temperature": 0.0,
            "reply_bias": self.reply_bias,
            "max_new_tokens": self.max_new_tokens,
        }
        return evaluate(self, benchmark, sampling, ("device", "dtype", "reply_bias"))
