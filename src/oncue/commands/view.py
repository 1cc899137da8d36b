"""`oncue view`: the stored rollouts of a run, or stored episodes of retrieval, as a page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from oncue.commands.progress import Progress
from oncue.errors import ConfigError
from oncue.files import prepare_folder, write_text
from oncue.startup import loading
from oncue.view.retrieval_page import MAX_EPISODES

if TYPE_CHECKING:
    from oncue.view.retrieval_stored import StoredEpisode


@dataclass(frozen=True)
class View:
    """Show the rollouts of a run of reinforcement learning on a page: what each member said, when,
    and what it earned. Or episodes of retrieval: where the model looked, turn by turn.

    Example: oncue view runs/grpo --open
    """

    run_folder: tyro.conf.Positional[Path]
    """The run directory (--out of oncue train grpo or ppo); or a file or folder of stored episodes
    of retrieval, such as episode.jsonl of oncue ask."""

    out: Path | None = None
    """The page. By default rollouts.html in the run directory, or episodes.html beside the
    episodes."""

    step: tuple[int, ...] = ()
    """Steps of a run to show. By default the newest 20 that were stored."""

    open: bool = False
    """Open the page in the browser."""

    def run(self) -> int:
        """Read, make the films, write. Returns the exit code."""
        from oncue.view.retrieval_stored import holds_episodes

        if holds_episodes(self.run_folder):
            out = self._write_episodes(self.run_folder)
        elif self._retrieves():
            out = self._write_looks()
        else:
            out = self._write_run()
        if self.open:
            import webbrowser

            webbrowser.open(out.resolve().as_uri())
        return 0

    def _write_run(self) -> Path:
        with loading():
            from oncue.view.film import film_of
            from oncue.view.rollout_page import to_page
            from oncue.view.stored import read_run

        out = self.out or self.run_folder / "rollouts.html"
        run = read_run(self.run_folder, self.step)
        _prepare(out)
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
        return out

    def _retrieves(self) -> bool:
        """Whether it is a run whose episodes look into videos."""
        from oncue.view.stored import settings_of

        with loading():
            is_run = (self.run_folder / "config.yaml").is_file()
            return is_run and settings_of(self.run_folder).examples.is_retrieval

    def _write_looks(self) -> Path:
        from oncue.view.retrieval_stored import read_episodes
        from oncue.view.stored import step_files

        files, num_left_out = step_files(self.run_folder, self.step)
        episodes = [one for path in reversed(files.values()) for one in read_episodes(path)]
        out = self._write(episodes, self.out or self.run_folder / "rollouts.html")
        if num_left_out:
            print(
                f"{num_left_out} more stored steps are not on it; --step N names those to show",
                file=sys.stderr,
            )
        return out

    def _write_episodes(self, stored: Path) -> Path:
        from oncue.view.retrieval_stored import read_episodes

        if self.step:
            raise ConfigError("--step is for a run of training; leave it out for episodes")
        folder = stored if stored.is_dir() else stored.parent
        return self._write(read_episodes(stored), self.out or folder / "episodes.html")

    def _write(self, episodes: Sequence[StoredEpisode], out: Path) -> Path:
        from oncue.view.retrieval_page import episodes_page

        _prepare(out)
        with Progress("episodes", min(len(episodes), MAX_EPISODES)) as progress:
            page = episodes_page(self.run_folder.resolve().name, episodes, progress.step)
        write_text(out, page)
        num_shown = min(len(episodes), MAX_EPISODES)
        counted = f"{num_shown} episode" + ("" if num_shown == 1 else "s")
        print(f"wrote {out}: {counted}, {len(page) / 1e6:.1f} MB")
        if len(episodes) > MAX_EPISODES:
            print(
                f"{len(episodes) - MAX_EPISODES} more episodes are not on it; give a file with "
                "those to show",
                file=sys.stderr,
            )
        return out


def _prepare(out: Path) -> None:
    """Raises InputError, before the work, for a page that could not be written."""
    prepare_folder(out.parent)
    if out.is_dir():
        raise ConfigError(
            f"{out} is a folder; give a file such as {out / 'rollouts.html'} with --out"
        )
