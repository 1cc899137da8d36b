"""`oncue view`: the stored rollouts of a run as a page."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro

from oncue.errors import ConfigError
from oncue.files import prepare_folder, write_text
from oncue.startup import loading


@dataclass(frozen=True)
class View:
    """Show the rollouts of a run of reinforcement learning on a page: what each member said, when,
    and what it earned.

    Example: oncue view runs/grpo --open
    """

    run_folder: tyro.conf.Positional[Path]
    """The run directory (--out of oncue train grpo)."""

    out: Path | None = None
    """The page. By default rollouts.html in the run directory."""

    step: tuple[int, ...] = ()
    """Steps to show. By default the newest 20 that were stored."""

    open: bool = False
    """Open the page in the browser."""

    def run(self) -> int:
        """Read, make the films, write. Returns the exit code."""
        with loading():
            from oncue.view.film import film_of
            from oncue.view.rollout_page import to_page
            from oncue.view.stored import read_run

        out = self.out or self.run_folder / "rollouts.html"
        run = read_run(self.run_folder, self.step)
        prepare_folder(out.parent)
        if out.is_dir():
            raise ConfigError(
                f"{out} is a folder; give a file such as {out / 'rollouts.html'} with --out"
            )
        page = to_page(run, partial(film_of, config=run.config))
        write_text(out, page)
        num_rollouts = sum(len(group.members) for step in run.steps for group in step.groups)
        steps = f"{len(run.steps)} step" + ("" if len(run.steps) == 1 else "s")
        print(f"wrote {out}: {steps}, {num_rollouts} rollouts, {len(page) / 1e6:.1f} MB")
        if run.num_left_out:
            print(
                f"{run.num_left_out} more stored steps are not on it; --step N names those to show",
                file=sys.stderr,
            )
        if self.open:
            import webbrowser

            webbrowser.open(out.resolve().as_uri())
        return 0
