"""`oncue world make`: generated videos with exact gold."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from oncue.errors import ConfigError
from oncue.files import prepare_folder

if TYPE_CHECKING:
    from oncue.world.clip import Clip
    from oncue.world.long.film import Film


@dataclass(frozen=True)
class WorldMake:
    """Make videos with exact gold: clips, questions, due replies, scenes and gold dialogues; or
    long films, questions with options about them, and where the answers can be seen.

    Example: oncue world make clips/ --world footage --split test --count 8
    """

    out: tyro.conf.Positional[Path]
    """The folder to write to; clips that are already there are kept with their gold, also where
    they are more than --count."""

    world: Literal["shapes", "footage", "long"] = "shapes"
    """shapes: clean, for studies. footage: objects cut into noisy, unevenly lit backgrounds. long:
    films of 2 to 20 minutes with short events, for retrieval (oncue ask, eval mcq, train ppo)."""

    split: Literal["train", "val", "test"] = "train"
    """Splits share no seed."""

    count: int = 16
    """Number of clips."""

    seed: int = 0
    """The same seed makes the same clips."""

    frame_interval_s: float | None = None
    """Seconds from one frame to the next in the gold dialogues. By default 1. Not for long films,
    which have no dialogues."""

    json: bool = False
    """One JSON object per clip on stdout, and for long films one more with the bounds of perfect
    observers; everything else goes to stderr."""

    def run(self) -> int:
        """Make the clips and say what was made. Returns the exit code."""
        if self.seed < 0:
            raise ConfigError(f"--seed must not be negative, got {self.seed}")
        if self.world == "long":
            return self._make_films()
        return self._make_clips()

    def _make_clips(self) -> int:
        from oncue.clock import Clock
        from oncue.world.make import make_world

        interval_s = 1.0 if self.frame_interval_s is None else self.frame_interval_s
        try:
            Clock(interval_s)
        except ValueError as error:
            raise ConfigError(f"--frame-interval-s cannot be used: {error}") from error
        prepare_folder(self.out, "give another folder")
        make_world(
            self.out,
            world=self.world,
            split=self.split,
            count=self.count,
            seed=self.seed,
            frame_interval_s=interval_s,
            on_clip=self._tell_clip,
        )
        print(
            f"wrote annotations.json, scenes.jsonl and dialogues.jsonl to {self.out}",
            file=sys.stderr,
        )
        return 0

    def _make_films(self) -> int:
        from oncue.data.long_world import make_long_world
        from oncue.eval.long_bounds import LongBounds
        from oncue.files import write_json

        if self.frame_interval_s is not None:
            raise ConfigError(
                "--frame-interval-s is for gold dialogues, which long films do not have; leave it "
                "out, or give another --world"
            )
        prepare_folder(self.out, "give another folder")
        films = make_long_world(
            self.out, split=self.split, count=self.count, seed=self.seed, on_film=self._tell_film
        )
        found = LongBounds.of(films)
        write_json(self.out / "bounds.json", found.as_json())
        if self.json:
            self._print_json({"type": "bounds", **found.as_json()})
        print(found.table().plain(), file=sys.stderr if self.json else sys.stdout)
        print(f"wrote rows.jsonl and bounds.json to {self.out}", file=sys.stderr)
        return 0

    def _tell_clip(self, clip: Clip, path: Path) -> None:
        if self.json:
            gold = [
                {"span": [g.span.start_s, g.span.end_s], "text": g.content} for g in clip.task.gold
            ]
            self._print_json(
                {"type": "clip", "video": str(path), "num_gold": len(gold), "gold": gold}
            )
        else:
            print(
                f"{path}  {clip.scene.duration_s:g} s, {len(clip.task.gold)} replies due",
                flush=True,
            )

    def _tell_film(self, film: Film, path: Path) -> None:
        span, flash = film.target.span, film.target.flash
        if self.json:
            self._print_json(
                {
                    "type": "film",
                    "video": str(path),
                    "duration_s": film.duration_s,
                    "length": film.length,
                    "question": film.question,
                    "answer": film.answer,
                    "span": [span.start_s, span.end_s],
                    "decisive_span": [flash.span.start_s, flash.span.end_s],
                }
            )
        else:
            print(
                f"{path}  {film.duration_s} s, {film.question} {flash.colour}, at "
                f"{flash.span.start_s:g} s",
                flush=True,
            )

    @staticmethod
    def _print_json(plain: dict[str, Any]) -> None:
        print(json.dumps(plain), flush=True)
