"""Watching one source from start to end, or until someone stops it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from oncue.aio import completed
from oncue.env.streaming import StreamingEnv
from oncue.rollout import run_episode
from oncue.stopping import Stopper
from oncue.types import Episode, Exchange, FrameSource, PolicySession, Question, StopReason, Task
from oncue.watch.record import Recorder, SpokenReply


@dataclass(frozen=True, slots=True)
class WatchEvents:
    """What to call while it happens."""

    asked: Callable[[Question], None] = lambda _: None
    replied: Callable[[SpokenReply], None] = lambda _: None
    malformed: Callable[[float, str], None] = lambda _time_s, _text: None
    turned: Callable[[Recorder], None] = lambda _: None


def watch_source(
    source: FrameSource,
    session: PolicySession,
    recorder: Recorder,
    *,
    frames_per_turn: int = 1,
    turns_ahead: int = 1,
    events: WatchEvents | None = None,
    stopper: Stopper | None = None,
    disconnect: Callable[[], Awaitable[None]] | None = None,
) -> StopReason:
    """Run the episode, fill `recorder` as it goes, and close `source` and `session`.

    A stop by signal is a StopReason, not an exception. `disconnect` is awaited in the end, in the
    event loop of the episode: it closes what belongs to that, such as connections.

    Raises: InputError: a question lies past the known end of the video (`recorder.unasked` holds
        those that an
            unforeseen end left over), or the source cannot be read.
    """
    events, stopper = events or WatchEvents(), stopper or Stopper()
    waiting = list(recorder.questions)

    def on_exchange(exchange: Exchange) -> None:
        with stopper.undisturbed():
            reply = recorder.add(exchange)
            while waiting and recorder.is_due(waiting[0], exchange.observed.clock_s):
                events.asked(waiting.pop(0))
            if reply is not None:
                events.replied(reply)
            elif recorder.malformed and recorder.malformed[-1][0] == exchange.observed.clock_s:
                events.malformed(*recorder.malformed[-1])
            events.turned(recorder)

    recorder.start()
    try:
        env = StreamingEnv(
            source, recorder.questions, frames_per_turn=frames_per_turn, turns_ahead=turns_ahead
        )
        task = Task("watch", recorder.questions)

        async def watch() -> Episode:
            try:
                return await run_episode(env, session, task, on_exchange, keep_exchanges=False)
            finally:
                if disconnect is not None:
                    await disconnect()

        episode = completed(watch())
    except KeyboardInterrupt:
        stopper.stopped = True
        return StopReason.CANCELLED
    finally:
        session.close()
        source.close()
    return episode.stop
