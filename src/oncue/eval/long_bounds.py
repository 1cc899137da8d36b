"""The bounds of perfect observers of long films, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from oncue.env.retrieval import RetrievalSettings
from oncue.eval.table import TextTable, percent
from oncue.world.long.film import Film
from oncue.world.long.observers import LOOK, NUM_FRAMES, Bound, bounds

Shares = tuple[float | None, float | None]  # of films whose flash is seen, and of right answers


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

    def table(self, measured: Mapping[str, Mapping[str, Shares]] | None = None) -> TextTable:
        """For each observer and length: of how many films it sees the flash, and its accuracy.
        `measured`: the same of policies, by name and length, in rows before them."""
        due = {
            name: {
                length: (each[name].seen, each[name].accuracy)
                for length, each in self.by_length.items()
            }
            for name in self.by_length["all"]
        }
        lengths = tuple(self.by_length)
        rows = [("N", *(cell for each in lengths for cell in (str(self.num_films[each]), "")))]
        for name, of_name in {**(measured or {}), **due}.items():
            shares = (share for length in lengths for share in of_name.get(length, (None, None)))
            rows.append((name, *("-" if x is None else f"{100 * x:.1f}" for x in shares)))
        look = self.look
        title = (
            f"Perfect observers of a pool of {self.num_frames} frames: {look.first_frames} at "
            f"first, {look.frames_per_look} per look"
        )
        header = ("", *(cell for each in lengths for cell in (f"{each}: seen %", "accuracy %")))
        return TextTable(title, header, tuple(rows))
