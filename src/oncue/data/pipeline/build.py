"""`oncue data build` as one call: plan, run, write."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from oncue.aio import completed
from oncue.data.pipeline.journal import Journal
from oncue.data.pipeline.outputs import Counts, write_outputs
from oncue.data.pipeline.readers import VideoReaders
from oncue.data.pipeline.runner import Ending, OnDone, run_videos
from oncue.data.pipeline.steps import Models
from oncue.data.pipeline.values import BuildSettings
from oncue.data.source_videos import VideoSource
from oncue.errors import BackendError, RunStoppedError
from oncue.files import prepare_folder

OnPlanned = Callable[[int, int], None]  # is called with the number of videos, and of those done


@dataclass(frozen=True, slots=True)
class Built:
    """What a run has made so far, and how it ended."""

    out: Path
    counts: Counts
    ending: Ending

    def check(self) -> None:
        """Raises RunStoppedError where the budget is spent, or the source changed under the run,
        and BackendError where videos have no outcome since a server gave no answer."""
        counts = self.counts
        if not self.ending.reason:
            if counts.num_open:
                raise RunStoppedError(
                    f"{counts.num_open:,} videos have no outcome in {self.out}: the source said "
                    "something else of them when it was read again; start again"
                )
            return
        state = (
            f"{counts.num_rows:,} rows of {counts.num_videos:,} videos are in {self.out}, "
            f"{counts.num_open:,} videos are left"
        )
        if self.ending.is_budget:
            raise RunStoppedError(
                f"{self.ending.reason}; {state}. To go on, raise --max-cost or --max-tokens-total "
                "and start again: nothing is paid for twice"
            )
        raise BackendError(
            f"{state}, one of them since {self.ending.reason}. Start again when that is corrected: "
            "nothing is paid for twice"
        )


def run_settings(settings: BuildSettings, models: Models) -> dict[str, Any]:
    """All that the rows of a run depend on besides its videos, as the journal and the summary keep
    it."""
    asked = {
        name: {
            "model": writer.model,
            "max_tokens": writer.options.max_tokens,
            "request_fields": dict(writer.options.request_fields),
        }
        for name, writer in (("captioner", models.captioner), ("writer", models.writer))
    }
    return {
        **asdict(settings),
        **asked,
        "prompts": models.prompts.versions(),
        "prices": models.writer.spending.prices.plain(),
    }


def build(
    source: VideoSource,
    folder: Path,
    out: Path,
    models: Models,
    settings: BuildSettings,
    *,
    limit: int | None = None,
    num_processes: int = 2,
    most_at_once: int = 16,
    ray_workers: int | None = None,
    on_planned: OnPlanned = lambda *_: None,
    on_done: OnDone = lambda *_: None,
) -> Built:
    """Makes dialogues of the first `limit` videos of `source` (None: all), which are in `folder`,
    and writes them to the folder `out`; goes on where a run with the same settings was stopped.

    `num_processes` read videos; `most_at_once` videos are at work. With `ray_workers` so many
    actors of Ray do all of that instead. Raises ConfigError where `out` has a run with other
    settings, or another process is at work in it. How the run ended is in what is returned
    (`Built.check`).
    """
    prepare_folder(out)
    kept_settings = run_settings(settings, models)
    with closing(Journal(out, kept_settings)) as journal:
        num_videos = journal.plan(source.videos(), limit)
        on_planned(num_videos, journal.num_done())
        models.writer.spending.start_from(journal.spent(), journal.note_spent)
        if ray_workers is not None:
            from oncue.data.pipeline.ray_runner import run_on_ray

            ending = run_on_ray(source, journal, folder, models, settings, ray_workers, on_done)
        else:
            with VideoReaders(folder, settings, num_processes) as readers:
                ending = completed(
                    run_videos(source, journal, readers, models, settings, most_at_once, on_done)
                )
        return Built(out, write_outputs(out, journal.entries(), kept_settings), ending)
