"""`oncue data view`: rows of proactive dialogues as a page to read."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from oncue.commands.curating import check_out
from oncue.commands.number_checks import check_smallest
from oncue.commands.progress import Progress
from oncue.commands.turn_flags import TurnFlags
from oncue.errors import ConfigError
from oncue.files import write_text

if TYPE_CHECKING:
    from oncue.data.proactive_rows import ProactiveRow


@dataclass(frozen=True)
class DataView:
    """Show rows of proactive dialogues on their film strip: scenes, questions, and the replies that
    are due, with all texts.

    Example: oncue data view rows.jsonl --videos videos/ --sample 20 --out rows.html
    """

    rows: tyro.conf.Positional[Path]
    """A JSON-lines file of proactive dialogues."""

    out: Path
    """File for the page."""

    videos: Path | None = None
    """The folder of the videos. By default the page has no film."""

    row: tuple[str, ...] = ()
    """Ids of the rows to show."""

    sample: int | None = None
    """Show so many rows, drawn at random. By default 20, where no --row is given."""

    seed: int = 0
    """Draws the sample."""

    turns: tyro.conf.OmitArgPrefixes[TurnFlags] = field(default_factory=TurnFlags)

    open: bool = False
    """Open the page in the browser."""

    def run(self) -> int:
        """Choose, make the films, write. Returns the exit code."""
        from oncue.view.dialogue_film import row_film
        from oncue.view.dialogue_page import dialogues_page

        check_smallest(self, sample=1, seed=0)
        if self.row and self.sample is not None:
            raise ConfigError("--row and --sample choose rows in two ways; give one of them")
        if self.videos is not None and not self.videos.is_dir():
            raise ConfigError(f"--videos {self.videos} is no folder; give that of the videos")
        check_out(self.out, (self.rows,))
        grid = self.turns.grid()
        chosen = self._chosen()
        with Progress("dialogues", len(chosen)) as progress:
            film_of = partial(row_film, videos=self.videos)
            page = dialogues_page(self.rows.name, chosen, grid, film_of, progress.step)
        write_text(self.out, page)
        counted = f"{len(chosen)} dialogue" + ("" if len(chosen) == 1 else "s")
        print(f"wrote {self.out}: {counted}, {len(page) / 1e6:.1f} MB")
        if self.open:
            import webbrowser

            webbrowser.open(self.out.resolve().as_uri())
        return 0

    def _chosen(self) -> list[ProactiveRow]:
        from oncue.data.quality.choosing import named_rows, sampled_rows

        if self.row:
            return named_rows(self.rows, self.row)
        return sampled_rows(self.rows, self.sample or 20, self.seed)
