"""The bounds of perfect observers of long films, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from oncue.env.retrieval import RetrievalSettings
from oncue.eval.table import TextTable, percent
from oncue.world.long.film import Film
from oncue.world.long.observers import LOOK, NUM_FRAMES, Bound, bounds


@dataclass(frozen=True, slots=True)
class LongBounds:
    """The bounds by observer, for the films of each length and for "all". `num_frames`: of the
    pool; `look`: how it may be looked into."""

    num_frames: int
    look: RetrievalSettings
    by_length: Mapping[str, Mapping[str, Bound]]

    @classmethod
    def of(
        cls, films: Sequence[Film], num_frames: int = NUM_FRAMES, look: RetrievalSettings = LOOK
    ) -> LongBounds:
        """Those of these films, of which there is at least one."""
        return cls(num_frames, look, bounds(films, num_frames, look))

    @property
    def num_films(self) -> dict[str, int]:
        """How many films of each length there are, and in all."""
        return {
            length: next(iter(of_length.values())).num_films
            for length, of_length in self.by_length.items()
        }

    def as_json(self) -> dict[str, Any]:
        """Shares in percent."""
        look = asdict(self.look)
        names = ("first_frames", "frames_per_look", "max_turns")
        return {
            "num_frames": self.num_frames,
            **{name: look[name] for name in names},
            "by_length": {
                length: {
                    "n": self.num_films[length],
                    "observers": {
                        name: {"seen": percent(each.seen), "accuracy": percent(each.accuracy)}
                        for name, each in of_length.items()
                    },
                }
                for length, of_length in self.by_length.items()
            },
        }

    def table(self) -> TextTable:
        """For each observer and length: how many films it sees the flash of, and its accuracy."""
        header = [""]
        counts, rows = ["N"], {name: [name] for name in self.by_length["all"]}
        for length, of_length in self.by_length.items():
            header += [f"{length}: seen %", "accuracy %"]
            counts += [str(self.num_films[length])] * 2
            for name, each in of_length.items():
                rows[name] += [f"{100 * each.seen:.1f}", f"{100 * each.accuracy:.1f}"]
        title = f"Perfect observers ({self.shown()})"
        return TextTable(title, tuple(header), (tuple(counts), *map(tuple, rows.values())))

    def shown(self) -> str:
        """What they are shown, in words."""
        look = self.look
        return (
            f"a pool of {self.num_frames} frames, {look.first_frames} at first, "
            f"{look.frames_per_look} per look"
        )
