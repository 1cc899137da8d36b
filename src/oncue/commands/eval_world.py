"""`oncue eval world`: a model on held-out clips with exact gold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from oncue.commands.evaluating import evaluate
from oncue.commands.number_checks import check_smallest
from oncue.files import user_cache


@dataclass(frozen=True)
class EvalWorld:
    """Score a model on held-out clips of a world: timing and content, beside silence, talk at every
    turn (one fixed sentence that is often due) and the earliest perfect replies.

    Example: oncue eval world --world shapes --split test --limit 200 --json
    """

    world: Literal["shapes", "footage"] = "shapes"
    """Which world the clips come from."""

    split: Literal["train", "val", "test"] = "test"
    """Splits share no seed."""

    limit: int = 200
    """Number of clips."""

    model: str | None = None
    """A model folder, a hub id (owner/name), or mini, which ships with the package. By default
    mini."""

    server: str | None = None
    """Address of an OpenAI-compatible chat server, as for `oncue watch`; --model is then its name
    for the model."""

    seed: int = 0
    """Picks the clips of the split, the random numbers of sampling, and the order of shuffled
    frames."""

    control: Literal["none", "frozen", "shuffled"] = "none"
    """frozen: every clip is a still picture, so any reply is false. shuffled: its frames come in a
    random order. Things then differ from each frame to the next, and some of what may be said of
    that is due by chance. So a truthful watcher, who reports just that, gets a row of its own. A
    model that looks should score between silence and it, and below its own ordered score."""

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
    """Added to the log-odds of replying in every turn: above 0 the model speaks more readily, below
    0 less. 0: as it was trained."""

    max_new_tokens: int = 32
    """Longest reply; a longer one is cut. No reply of a world needs more."""

    context_tokens: int | None = None
    """Longest context the model is given, as for `oncue watch`. By default everything is kept."""

    max_pixels: int | None = None
    """Largest area of a frame, in pixels, before it is scaled down. By default what the model's
    folder says, but no more than the 128 vision tokens MMDuet2 was trained with."""

    json: bool = False
    """One JSON object as the last line on stdout; everything else goes to stderr."""

    out: Path | None = None
    """Folder for scores.json, table.txt and clips.jsonl, which says per clip what was due and what
    was said."""

    def run(self) -> int:
        """Make the clips, watch them, score what was said. Returns the exit code."""
        from oncue.eval.benchmarks.world import World
        from oncue.eval.benchmarks.world_clips import ClipSet

        check_smallest(self, context_tokens=1)
        clips = ClipSet(
            self.world, self.split, self.limit, self.seed, self.control, self.frame_interval_s
        )
        benchmark = World(clips, self.cache or user_cache() / "world")
        sampled_as = ("temperature", "reply_bias", "max_new_tokens")
        sampling = {name: getattr(self, name) for name in sampled_as}
        local_only = ("device", "dtype", "temperature", "reply_bias")
        return evaluate(self, benchmark, sampling, local_only, self.seed)
