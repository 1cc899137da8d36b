"""A run on one machine: videos are read in processes, models are asked in one event loop, and only
so many videos are at work at once, so that memory does not grow with their number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from oncue.data.chat_writer import TOO_MANY_FAILURES
from oncue.data.pipeline.journal import Journal
from oncue.data.pipeline.steps import Models, make_dialogue
from oncue.data.pipeline.values import BuildSettings, Outcome, Rejected, SeenVideo
from oncue.data.source_videos import SourceVideo, VideoSource
from oncue.errors import BackendError, BudgetSpentError, DataError

OnDone = Callable[[SourceVideo, Outcome], None]


class Readers(Protocol):
    """Who reads videos (`oncue.data.pipeline.readers`)."""

    async def seen(self, video: SourceVideo) -> SeenVideo | Rejected: ...


@dataclass(slots=True)
class Ending:
    """How a run ended: why it stopped early ("" where it did not), whether by its budget, and how
    many videos have no outcome since a server gave no answer."""

    reason: str = ""
    is_budget: bool = False
    num_failed: int = 0


async def run_videos(
    source: VideoSource,
    journal: Journal,
    readers: Readers,
    models: Models,
    settings: BuildSettings,
    most_at_once: int,
    on_done: OnDone = lambda *_: None,
) -> Ending:
    """Takes every planned video that is due through the steps, and notes in the journal what comes
    of it. `on_done` is called for each.

    After a budget is spent, or after too many failures in a row, no other video is begun; those at
    work go on as far as they can.
    """
    run = _Run(journal, readers, models, settings, on_done)
    slots = asyncio.Semaphore(most_at_once)
    due = due_videos(source, journal)

    async def work(video: SourceVideo) -> None:
        try:
            await run.take(video)
        finally:
            slots.release()

    try:
        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                if run.is_over or (video := await asyncio.to_thread(next, due, None)) is None:
                    break
                group.create_task(work(video))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        for writer in {id(w): w for w in (models.captioner, models.writer)}.values():
            await writer.aclose()
    return run.ending


def due_videos(source: VideoSource, journal: Journal) -> Iterator[SourceVideo]:
    """The videos of the source that are planned and have no outcome yet, one by one."""
    last = journal.last_place()
    for place, video in enumerate(source.videos()):
        if not isinstance(video, DataError) and journal.is_due(video):
            yield video
        if place >= last:
            return


async def outcome_of(
    video: SourceVideo, readers: Readers, models: Models, settings: BuildSettings
) -> Outcome:
    """What comes of one video. Raises BackendError and BudgetSpentError."""
    seen = await readers.seen(video)
    if isinstance(seen, Rejected):
        return Outcome(None, (seen,))
    return await make_dialogue(video, seen, models, settings)


class _Run:
    """One run: what it works with, and how it is going."""

    def __init__(
        self,
        journal: Journal,
        readers: Readers,
        models: Models,
        settings: BuildSettings,
        on_done: OnDone,
    ) -> None:
        self._journal, self._readers, self._models = journal, readers, models
        self._settings, self._on_done = settings, on_done
        self._num_in_a_row = 0
        self.ending = Ending()

    @property
    def is_over(self) -> bool:
        return bool(self.ending.is_budget) or self._num_in_a_row >= TOO_MANY_FAILURES

    async def take(self, video: SourceVideo) -> None:
        try:
            outcome = await outcome_of(video, self._readers, self._models, self._settings)
        except BudgetSpentError as error:
            self.ending.reason, self.ending.is_budget = str(error), True
        except BackendError as error:
            self._num_in_a_row += 1
            self.ending.num_failed += 1
            if not self.ending.is_budget:
                self.ending.reason = str(error)
        else:
            if outcome.steps:  # else no server was asked
                self._num_in_a_row = 0
            self._journal.note(video, outcome)
            self._on_done(video, outcome)
