"""A run on many machines with Ray Data: the same work per video, in actors; the journal is written
here, in the driver, alone.

Videos go out in small batches, only so many at once (Ray's own back-pressure). What a lost machine
had at work is done again elsewhere; a result that comes twice is noted once. Limits a minute, and
what is left of the budget, are dealt out to the actors in equal parts. Their caches of answers are
files of their machines.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from oncue.data.chat_writer import TOO_MANY_FAILURES, ChatWriter, WriterOptions
from oncue.data.pipeline.journal import Journal
from oncue.data.pipeline.prompt_files import Prompts
from oncue.data.pipeline.readers import VideoReaders
from oncue.data.pipeline.runner import Ending, OnDone, due_videos, outcome_of
from oncue.data.pipeline.steps import Models
from oncue.data.pipeline.values import BuildSettings, Outcome
from oncue.data.request_limits import Prices, Spending
from oncue.data.source_videos import SourceVideo, VideoSource
from oncue.errors import BackendError, BudgetSpentError, ConfigError
from oncue.extras import install_command

_BATCH = 4  # videos of an actor at once
_CHUNK = 2000  # videos of one data set, so that the driver holds no more
_DONE, _FAILED, _BUDGET, _WRONG = "done", "failed", "budget", "wrong"


@dataclass(frozen=True, slots=True)
class _Server:
    """What a ChatWriter is made of, to be sent to an actor."""

    url: str
    model: str
    options: WriterOptions
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Job:
    """What an actor needs. `servers`: of the captioner, and of the writer."""

    servers: tuple[_Server, _Server]
    prompts: Prompts
    prices: Prices
    max_cost: float | None
    max_tokens: int | None
    folder: Path
    settings: BuildSettings


def run_on_ray(
    source: VideoSource,
    journal: Journal,
    folder: Path,
    models: Models,
    settings: BuildSettings,
    num_workers: int,
    on_done: OnDone = lambda *_: None,
) -> Ending:
    """As `run_videos`, by `num_workers` actors on the cluster that is running, or on this machine.
    `folder` must lead to the videos on every machine. Raises ConfigError where Ray is not
    installed."""
    ray = _ray()
    spending = models.writer.spending
    ending, num_in_a_row = Ending(), 0
    due = due_videos(source, journal)
    while chunk := list(itertools.islice(due, _CHUNK)):
        job = _job(models, settings, folder, num_workers)
        by_id = {video.video_id: video for video in chunk}
        for result in _results(ray, chunk, job, num_workers):
            for model, tokens_in, tokens_out in json.loads(result["spent"]):
                spending.note(model, tokens_in, tokens_out)
            video = by_id[result["video_id"]]
            if result["kind"] == _DONE and journal.is_due(video):
                outcome = Outcome.from_plain(json.loads(result["text"]))
                journal.note(video, outcome)
                on_done(video, outcome)
            _note(ending, result)
            num_in_a_row = num_in_a_row + 1 if result["kind"] == _FAILED else 0
            if num_in_a_row >= TOO_MANY_FAILURES:
                return ending
        if ending.is_budget:  # after all that was on the way: it is paid for
            return ending
    return ending


def _note(ending: Ending, result: Mapping[str, Any]) -> None:
    """What a result says of the run. Raises ConfigError for one that ends the run."""
    kind, text = result["kind"], result["text"]
    if kind == _WRONG:
        raise ConfigError(text)
    if kind == _BUDGET:
        ending.reason, ending.is_budget = text, True
    elif kind == _FAILED:
        ending.num_failed += 1
        if not ending.is_budget:
            ending.reason = text


def _results(
    ray: Any, chunk: Sequence[SourceVideo], job: _Job, num_workers: int
) -> Iterator[Mapping[str, Any]]:
    """What comes of each video, as it comes."""
    items = [{"video": pickle.dumps(video)} for video in chunk]
    num_blocks = -(-len(items) // _BATCH)
    videos = ray.data.from_items(items, override_num_blocks=num_blocks)
    done = videos.map_batches(
        _Actor,
        fn_constructor_args=(job,),
        batch_size=_BATCH,
        batch_format="numpy",
        concurrency=min(num_workers, num_blocks),
        num_cpus=1,
    )
    yield from done.iter_rows()


class _Actor:
    """One worker. It lives as long as its data set is at work."""

    def __init__(self, job: _Job) -> None:
        self._job, self._runner = job, asyncio.Runner()
        self._spent: list[tuple[str, int, int]] = []
        spending = Spending(job.prices, job.max_cost, job.max_tokens)
        spending.start_from((0, 0, 0, 0.0), lambda *paid: self._spent.append(paid[:3]))
        captioner, writer = (
            ChatWriter(
                each.url,
                each.model,
                each.options,
                api_key=each.api_key,
                spending=spending,
                keep_cut=True,
            )
            for each in job.servers
        )
        if job.servers[0] == job.servers[1]:
            captioner = writer
        self._models = Models(captioner, writer, job.prompts)
        self._readers = VideoReaders(job.folder, job.settings, 1)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        videos = [pickle.loads(each) for each in batch["video"]]
        kinds_and_texts = self._runner.run(self._all(videos))
        spent = ["[]"] * len(videos)
        spent[0], self._spent[:] = json.dumps(self._spent), []
        return {
            "video_id": [video.video_id for video in videos],
            "kind": [kind for kind, _ in kinds_and_texts],
            "text": [text for _, text in kinds_and_texts],
            "spent": spent,
        }

    async def _all(self, videos: Sequence[SourceVideo]) -> list[tuple[str, str]]:
        return await asyncio.gather(*map(self._one, videos))

    async def _one(self, video: SourceVideo) -> tuple[str, str]:
        """What kind of end it took, and the outcome or the reason."""
        try:
            outcome = await outcome_of(video, self._readers, self._models, self._job.settings)
        except BudgetSpentError as error:
            return _BUDGET, str(error)
        except BackendError as error:
            return _FAILED, str(error)
        except ConfigError as error:
            return _WRONG, str(error)
        return _DONE, json.dumps(outcome.plain(), ensure_ascii=False)


def _job(models: Models, settings: BuildSettings, folder: Path, num_workers: int) -> _Job:
    """What each of so many actors gets, with its part of limits and of the budget that is left."""
    spending = models.writer.spending
    left_cost, left_tokens = spending.left()
    servers = tuple(
        _Server(writer.url, writer.model, _share(writer.options, num_workers), writer.api_key)
        for writer in (models.captioner, models.writer)
    )
    return _Job(
        (servers[0], servers[1]),
        models.prompts,
        spending.prices,
        None if left_cost is None else left_cost / num_workers,
        None if left_tokens is None else left_tokens // num_workers,
        folder.absolute(),
        settings,
    )


def _share(options: WriterOptions, num_workers: int) -> WriterOptions:
    """Raises ConfigError for a limit that has no part for each."""
    parts: dict[str, Any] = {}
    for name in ("max_at_once", "requests_per_minute", "tokens_per_minute"):
        whole = getattr(options, name)
        if whole is not None and whole < num_workers:
            raise ConfigError(
                f"--{name.replace('_', '-')} {whole} is too little for {num_workers} workers; "
                "raise it, or lower --workers"
            )
        parts[name] = None if whole is None else whole // num_workers
    return replace(options, **parts)


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError(
            f"--runner ray needs Ray; {install_command('ray')}, or leave --runner out"
        ) from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray
