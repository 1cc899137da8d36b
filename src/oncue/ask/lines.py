"""Questions about long videos as they come, a JSON object per line: how another program asks a
model that stays loaded.

    {"id", "video", "question", "options"?: [...]}         a request
    {"ready": true, "model", "oncue"}                      the first line of the answers
    {"id", "answer", "reason"?}                            an answer: a letter where there are
                                                           options; "" with a reason where none came
    {"id", "error"}                                        a request that cannot be asked

Answers come as they are ready, in any order. Requests end with the end of the input.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from oncue import __version__
from oncue.ask.opening import task_of
from oncue.chat_client import RefusedError, TooLargeError
from oncue.env.retrieval import RetrievalEnv, RetrievalSettings
from oncue.errors import DataError, InputError
from oncue.eval.benchmarks.mcq_result import McqResult
from oncue.fields import field_of, has_value, items_of, json_object, text_of
from oncue.policy.chat_prompt import check_text
from oncue.policy.open_policy import Policy
from oncue.rollout import run_episode
from oncue.types import PolicySession, Task
from oncue.video.pool import FramePool

EXPECTED = 'a request, {"id", "video", "question", "options"?}'

Write = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class LineRequest:
    """A question about a video; `request_id` as it was given, text or number."""

    request_id: Any
    video: str
    task: Task


def read_request(line: bytes, where: str) -> LineRequest:
    """Raises DataError for what is no request, InputError for one that nobody could answer."""
    row = json_object(line, where, EXPECTED)
    field_of(row, "id", where)
    options = items_of(row, "options", where) if has_value(row, "options") else []
    if not all(isinstance(option, str) for option in options):
        raise DataError(f"{where}: 'options' must be a list of texts, got {options!r:.80}")
    video, question = text_of(row, "video", where), text_of(row, "question", where)
    for text in (question, *options):
        check_text(text)
    return LineRequest(row["id"], video, task_of(video, question, options))


class RecentPools:
    """The frame pools of the videos that were asked about last, `most` of them. Each is read once,
    in a thread, while it is kept."""

    def __init__(self, read: Callable[[str], FramePool], most: int) -> None:
        self._read, self._most = read, most
        self._reading: OrderedDict[str, asyncio.Future[FramePool]] = OrderedDict()

    async def take(self, video: str) -> FramePool:
        """Raises what reading raises."""
        if video not in self._reading:
            self._reading[video] = asyncio.ensure_future(asyncio.to_thread(self._read, video))
            while len(self._reading) > self._most:
                self._reading.popitem(last=False)
        self._reading.move_to_end(video)
        return await asyncio.shield(self._reading[video])


class LineAnswerer:
    """Answers requests with one policy, up to `num_at_once` of them together. `seed` is that of the
    sampling, the same for every request."""

    def __init__(
        self,
        policy: Policy[PolicySession],
        settings: RetrievalSettings,
        read: Callable[[str], FramePool],
        write: Write,
        *,
        num_at_once: int = 8,
        seed: int = 0,
    ) -> None:
        self._policy, self._settings, self._write = policy, settings, write
        self._pools, self._seed = RecentPools(read, num_at_once), seed
        self._places = asyncio.Semaphore(num_at_once)

    async def run(self, lines: AsyncIterator[bytes]) -> None:
        """Until `lines` end and all are answered. Raises the first error that is no fault of a
        request, such as a lost server. Connections of the policy are closed in the end."""
        self._write({"ready": True, "model": self._policy.name, "oncue": __version__})
        try:
            async with asyncio.TaskGroup() as tasks:
                number = 0
                async for line in lines:
                    number += 1
                    if not line.strip():
                        continue
                    await self._places.acquire()
                    tasks.create_task(self._one(line, f"line {number}"))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            await self._policy.disconnect()

    async def _one(self, line: bytes, where: str) -> None:
        name: dict[str, Any] = {"id": _id_in(line)}
        try:
            answer = await self._answer(read_request(line, where))
        except (InputError, RefusedError, TooLargeError) as error:
            answer = {"error": " ".join(str(error).split())}
        finally:
            self._places.release()
        self._write(name | answer)

    async def _answer(self, request: LineRequest) -> dict[str, Any]:
        pool = await self._pools.take(request.video)
        env = RetrievalEnv(pool, request.task, self._settings)
        session = self._policy.open(
            request.task,
            system=env.system,
            seed=self._seed,
            action_format=env.format,
            last_turns=self._settings.last_turns,
        )
        with closing(session):
            episode = await run_episode(env, session, request.task, keep_frames=False)
        result = McqResult.of(episode, pool.duration_s)
        if result.letter is not None:
            return {"answer": result.letter}
        return {"answer": "", "reason": f"{result.ending}: {result.reason}".rstrip(": ")}


def _id_in(line: bytes) -> Any:
    """The id of a request, None where it has none that can be read."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row.get("id") if isinstance(row, dict) else None
