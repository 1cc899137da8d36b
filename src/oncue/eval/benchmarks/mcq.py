"""Questions with options about long videos, in the environment of `oncue ask` (Video-MTR, paper
section 4).

Three modes: the policy retrieves; it sees as many frames at once, evenly spread, in its only turn;
it sees none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from oncue.chat_client import RefusedError, TooLargeError
from oncue.env.retrieval import RetrievalEnv, RetrievalSettings
from oncue.errors import BackendError, ConfigError, ContextFullError, DataError, InputError
from oncue.eval.benchmarks.mcq_bounds import McqBounds
from oncue.eval.benchmarks.mcq_journal import Journal
from oncue.eval.benchmarks.mcq_looks import McqLooks
from oncue.eval.benchmarks.mcq_pools import Pools
from oncue.eval.benchmarks.mcq_question import McqQuestion
from oncue.eval.benchmarks.mcq_report import LeftOut, McqScores
from oncue.eval.benchmarks.mcq_result import Ending, McqResult, Mode
from oncue.eval.benchmarks.mcq_rows import McqFormat
from oncue.eval.benchmarks.mcq_scores import Answered, ModeScores, length_group
from oncue.eval.resuming import seed_of
from oncue.eval.runner import ShowProgress
from oncue.policy.open_policy import Policy
from oncue.records.retrieval_rollouts import StoredRetrieval, retrieval_line
from oncue.rewards.retrieval_rollout import RetrievalRollout
from oncue.rollout import run_episode
from oncue.types import Episode, FrameBatch, PolicySession, Question, Retrieve, StopReason, Task
from oncue.video.pool import FramePool
from oncue.video.pool_reader import Shrink, read_pool

MODES: tuple[Mode, ...] = ("retrieval", "single-turn", "blind")


def most_frames(settings: RetrievalSettings) -> int:
    """The frames that a policy may see in all its turns: of a budget of 32, 64 or 80 in 3 turns,
    the budget."""
    return settings.first_frames + (settings.max_turns - 1) * settings.frames_per_look


def settings_for(mode: Mode, settings: RetrievalSettings) -> RetrievalSettings:
    """How a video may be looked into in `mode`, where `settings` are those of retrieval."""
    if mode == "retrieval":
        return settings
    num_frames = most_frames(settings) if mode == "single-turn" else 0
    return replace(settings, first_frames=num_frames, max_turns=1)


def files_of(modes: Sequence[Mode]) -> dict[Mode, tuple[str, str]]:
    """The names of the files of predictions and of episodes. Those of the first mode are plain."""
    marks = {mode: f"-{mode}" if number else "" for number, mode in enumerate(modes)}
    return {mode: (f"predictions{x}.json", f"episodes{x}.jsonl") for mode, x in marks.items()}


@dataclass(frozen=True, slots=True)
class McqItem:
    """A question to be asked in a mode. `path`: its video, None where none is looked at."""

    mode: Mode
    question: McqQuestion
    path: Path | None


@dataclass(frozen=True, slots=True)
class McqSetup:
    """What is asked, and how. `num_frames`: of the pool; `retrieval`: the settings of that mode;
    `shown`: all settings, for the record.

    Raises ConfigError for a pool that has fewer frames than may be seen.
    """

    form: McqFormat
    modes: tuple[Mode, ...]
    num_frames: int
    retrieval: RetrievalSettings
    seed: int
    shown: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.num_frames < most_frames(self.retrieval):
            raise ConfigError(
                f"a pool of {self.num_frames} frames (--frames) is smaller than the "
                f"{most_frames(self.retrieval)} frames that may be seen of it; raise --frames, or "
                "lower --budget or --max-turns"
            )


class Mcq:
    """The benchmark: `questions` about the videos at `paths`, each in every mode, one video after
    the other. `num_at_once` are asked together. `shrink` as of `read_pool`."""

    def __init__(
        self,
        setup: McqSetup,
        questions: Sequence[McqQuestion],
        paths: Mapping[str, Path],
        journal: Journal,
        *,
        left_out: LeftOut | None = None,
        shrink: Shrink | None = None,
        num_at_once: int = 8,
    ) -> None:
        self.num_at_once = num_at_once
        self._setup, self._questions, self._paths = setup, tuple(questions), paths
        self._journal, self._left_out, self._shrink = journal, left_out or LeftOut(), shrink
        self._files = files_of(setup.modes)
        self._model = ""
        self._pools: Pools[Path] = Pools(self._read)

    @property
    def text_files(self) -> tuple[str, ...]:
        return tuple(name for names in self._files.values() for name in names)

    def check_name(self, name: str) -> None:
        """Any will do. The last one is that of the policy, which the journal keeps."""
        self._model = name

    def questions(self) -> list[Question]:
        """Options, too, since a policy is shown them."""
        return [
            Question(text)
            for question in self._questions
            for text in (question.question, *question.options)
        ]

    def items(self, show: ShowProgress) -> list[McqItem]:  # noqa: ARG002 - takes no time
        """What is not finished yet."""
        self._journal.begin(self._model)
        by_video: dict[str, list[McqQuestion]] = {}
        for question in self._questions:
            by_video.setdefault(question.video, []).append(question)
        items = [
            McqItem(mode, question, None if mode == "blind" else self._paths[video])
            for video, questions in by_video.items()
            for mode in self._setup.modes
            for question in questions
            if (mode, question.question_id) not in self._journal.results
        ]
        self._pools = Pools(self._read, (item.path for item in items if item.path is not None))
        return items

    async def watch(self, item: McqItem, policy: Policy[PolicySession]) -> McqResult:
        try:
            result, rollout = await self._asked(item, policy)
        finally:
            if item.path is not None:
                self._pools.give_back(item.path)
        line = retrieval_line(StoredRetrieval(result.question_id, rollout))
        self._journal.add(item.mode, result, line)
        return result

    async def _asked(
        self, item: McqItem, policy: Policy[PolicySession]
    ) -> tuple[McqResult, RetrievalRollout]:
        """The result of a question, and what was done; one that cannot be asked has a reason."""
        task = item.question.task()
        settings = settings_for(item.mode, self._setup.retrieval)

        def failed(ending: Ending, error: Exception) -> tuple[McqResult, RetrievalRollout]:
            result = McqResult(task.task_id, None, ending, " ".join(str(error).split()))
            nothing = Episode(task, (), StopReason.CANCELLED)
            return result, RetrievalRollout.of(nothing, lambda *_: ())

        try:
            pool = _no_pool() if item.path is None else await self._pools.take(item.path)
        except InputError as error:
            return failed("unreadable video", error)
        env = RetrievalEnv(pool, task, settings)
        session = policy.open(
            task,
            system=env.system,
            seed=seed_of(self._setup.seed, item.mode, task.task_id),
            action_format=env.format,
            last_turns=settings.last_turns,
        )
        with closing(session):
            try:
                episode = await run_episode(env, session, task, keep_frames=False)
            except (ContextFullError, TooLargeError) as error:
                return failed("context full", error)
            except RefusedError as error:
                return failed("refused", error)

        seen_s = None if item.path is None else pool.duration_s

        def asked_frames(action: Retrieve, task: Task) -> Collection[int]:
            length_s = seen_s or task.duration_s  # one is known where the evidence is
            assert length_s is not None
            return settings.frames_of(action, self._setup.num_frames, length_s)

        return McqResult.of(episode, seen_s), RetrievalRollout.of(episode, asked_frames)

    async def score(
        self,
        name: str,
        items: Sequence[McqItem],  # noqa: ARG002 - the journal has those of before, too
        seen: Sequence[McqResult],  # noqa: ARG002
    ) -> McqScores:
        """Raises an error where not one question could be asked."""
        modes, results = self._setup.modes, self._journal.results
        _check_any_asked(results.values())
        durations = {
            question_id: result.duration_s
            for (_, question_id), result in results.items()
            if result.duration_s is not None
        }
        ids = [question.question_id for question in self._questions]
        groups = [length_group(q, durations.get(q.question_id)) for q in self._questions]
        scores = {}
        for mode in modes:
            found = (results[mode, each] for each in ids)
            answered = zip(self._questions, found, groups, strict=True)
            scores[mode] = ModeScores(tuple(Answered(*each) for each in answered))
        lines = {mode: [self._journal.lines[mode, each] for each in ids] for mode in modes}
        return McqScores(
            self._setup.form,
            name,
            self._setup.shown,
            self._questions,
            scores,
            lines,
            self._files,
            self._left_out,
            McqLooks.of(lines),
            McqBounds.of(self._questions, self._setup.num_frames, self._setup.retrieval, lines),
        )

    def _read(self, path: Path) -> FramePool:
        return read_pool(path, self._setup.num_frames, shrink=self._shrink)


def _no_pool() -> FramePool:
    """A pool of one black frame, for a policy that is shown none of it."""
    return FramePool(FrameBatch(np.zeros((1, 1, 1, 3), np.uint8), np.zeros(1)), 1.0)


def _check_any_asked(results: Iterable[McqResult]) -> None:
    """Raises the error of the first question where all failed."""
    failed = list(results)
    if not failed or not all(result.failed for result in failed):
        return
    kinds: Mapping[Ending, Callable[[str], Exception]] = {
        "unreadable video": DataError,
        "context full": ContextFullError,
    }
    first = failed[0]
    error = kinds.get(first.ending, BackendError)
    raise error(f"not one of {len(failed)} questions could be asked; the first: {first.reason}")
