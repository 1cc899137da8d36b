"""`oncue world make`: generated videos with exact gold."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from oncue.errors import ConfigError
from oncue.files import prepare_folder


@dataclass(frozen=True)
class WorldMake:
    """Make videos with exact gold: clips, questions, due replies, scenes and gold dialogues.

    Example: oncue world make clips/ --world footage --split test --count 8
    """

    out: tyro.conf.Positional[Path]
    """The folder to write to; clips that are already there are kept with their gold, also where
    they are more than --count."""

    world: Literal["shapes", "footage"] = "shapes"
    """shapes: clean, for studies. footage: objects cut into noisy, unevenly lit backgrounds."""

    split: Literal["train", "val", "test"] = "train"
    """Splits share no seed."""

    count: int = 16
    """Number of clips."""

    seed: int = 0
    """The same seed makes the same clips."""

    frame_interval_s: float = 1.0
    """Seconds from one frame to the next in the gold dialogues."""

    json: bool = False
    """One JSON object per clip on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Make the clips and say what was made. Returns the exit code."""
        from oncue.clock import Clock
        from oncue.world.clip import Clip
        from oncue.world.make import make_world

        def tell(clip: Clip, path: Path) -> None:
            if self.json:
                gold = [
                    {"span": [g.span.start_s, g.span.end_s], "text": g.content}
                    for g in clip.task.gold
                ]
                print(
                    json.dumps(
                        {"type": "clip", "video": str(path), "num_gold": len(gold), "gold": gold}
                    ),
                    flush=True,
                )
            else:
                print(
                    f"{path}  {clip.scene.duration_s:g} s, {len(clip.task.gold)} replies due",
                    flush=True,
                )

        if self.seed < 0:
            raise ConfigError(f"--seed must not be negative, got {self.seed}")
        try:
            Clock(self.frame_interval_s)
        except ValueError as error:
            raise ConfigError(f"--frame-interval-s cannot be used: {error}") from error
        prepare_folder(self.out, "give another folder")
        make_world(
            self.out,
            world=self.world,
            split=self.split,
            count=self.count,
            seed=self.seed,
            frame_interval_s=self.frame_interval_s,
            on_clip=tell,
        )
        print(
            f"wrote annotations.json, scenes.jsonl and dialogues.jsonl to {self.out}",
            file=sys.stderr,
        )
        return 0
