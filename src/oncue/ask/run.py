"""Asking one question about one video, from the first frame to the answer, or until someone stops
it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from oncue.aio import completed
from oncue.ask.preparation import shrink_for
from oncue.ask.record import Asked, AskedTurn
from oncue.env.retrieval import RetrievalEnv, RetrievalSettings, asked_span
from oncue.policy.open_policy import LocalModel, Policy, PolicySpec, open_policy
from oncue.rollout import run_episode
from oncue.startup import loading
from oncue.stopping import Stopper
from oncue.types import Episode, Exchange, Malformed, PolicySession, Retrieve, StopReason, Task
from oncue.video.pool import FramePool, Zoom


class Asking:
    """One question about one video, as it happens; `finish` gives what there is, whatever ended
    it.

    `turned` is called with each turn, `doing` with what is being done.
    """

    def __init__(
        self,
        source: str,
        task: Task,
        settings: RetrievalSettings,
        *,
        turned: Callable[[AskedTurn], None] = lambda _: None,
        doing: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.source, self.task, self.settings = source, task, settings
        self.turns: list[AskedTurn] = []
        self.pool: FramePool | None = None
        self.model = ""
        self.read_s = self.load_s = 0.0
        self._zooms = False
        self._turned, self._doing = turned, doing

    def run(
        self, video: str, spec: PolicySpec, num_frames: int, stopper: Stopper, *, zoom: bool = False
    ) -> StopReason:
        """Read `num_frames` frames of `video`, open the policy, ask. A stop by signal once it is
        asked is a StopReason, not an exception. Raises as `read_pool` and `open_policy`."""
        with ExitStack() as closing:
            policy = None if isinstance(spec, LocalModel) else self._open(spec, closing)
            pool, look_closer = self._read(video, spec, num_frames, zoom)
            policy = policy or self._open(spec, closing)
            env = RetrievalEnv(pool, self.task, self.settings, look_closer)
            session = policy.open(
                self.task,
                system=env.system,
                action_format=env.format,
                last_turns=self.settings.last_turns,
            )

            def on_exchange(exchange: Exchange) -> None:
                with stopper.undisturbed():
                    self.turns.append(self._turn(exchange))
                    self._turned(self.turns[-1])
                self._say_turn()

            self._say_turn()
            try:
                return completed(self._play(env, session, policy, on_exchange)).stop
            except KeyboardInterrupt:
                stopper.stopped = True
                return StopReason.CANCELLED

    async def _play(
        self,
        env: RetrievalEnv,
        session: PolicySession,
        policy: Policy[PolicySession],
        on_exchange: Callable[[Exchange], None],
    ) -> Episode:
        """The episode. Connections of the policy end with the event loop that they belong to."""
        try:
            return await run_episode(env, session, self.task, on_exchange)
        finally:
            await policy.disconnect()

    def _say_turn(self) -> None:
        number, most = len(self.turns) + 1, self.settings.max_turns
        if number <= most:
            self._doing(f"turn {number} of at most {most}")

    def _open(self, spec: PolicySpec, closing: ExitStack) -> Policy[PolicySession]:
        """The policy, which `closing` closes. A server is opened before the video is read, since it
        answers at once; a model that runs here after that, since it takes long to load."""
        self._doing("opening the model")
        began_s = time.perf_counter()
        with loading():
            policy: Policy[PolicySession] = open_policy(spec)
        closing.callback(policy.close)
        self.load_s, self.model = time.perf_counter() - began_s, policy.name
        return policy

    def _read(
        self, video: str, spec: PolicySpec, num_frames: int, zoom: bool
    ) -> tuple[FramePool, Zoom | None]:
        """The pool; and what looks closer, where `zoom` asks for it."""
        from oncue.video.pool_reader import read_pool, zoom_of

        self._doing("reading the video")
        shrink = shrink_for(spec)
        began_s = time.perf_counter()
        self.pool = read_pool(
            video,
            num_frames,
            shrink=shrink,
            on_frames=lambda num: self._doing(f"reading the video: {num} of {num_frames} frames"),
        )
        self.read_s = time.perf_counter() - began_s
        self._zooms = zoom
        return self.pool, zoom_of(video, shrink=shrink) if zoom else None

    def _turn(self, exchange: Exchange) -> AskedTurn:
        assert self.pool is not None
        number, action, settings = len(self.turns) + 1, exchange.acted.action, self.settings
        if not isinstance(action, Retrieve):
            return AskedTurn(number, exchange)
        length, duration_s = len(self.pool), self.pool.duration_s
        span = asked_span(action, settings.unit, length, duration_s)
        if number == settings.max_turns:
            return AskedTurn(number, exchange, span)
        num_frames = len(settings.frames_of(action, length, duration_s))
        if self._zooms and span.duration_s > 0:
            num_frames = settings.frames_per_look
        return AskedTurn(number, exchange, span, num_frames)

    def finish(self, stop: str) -> Asked:
        """What came of it; `stop` as of `Asked`."""
        return Asked(
            self.source,
            self.model,
            self.task,
            self.settings,
            tuple(self.turns),
            self.pool,
            stop,
            self._reason(stop),
            self.read_s,
            self.load_s,
        )

    def _reason(self, stop: str) -> str:
        if stop == StopReason.ANSWERED:
            return ""
        if stop == StopReason.CANCELLED:
            return "it was stopped"
        if stop != StopReason.OUT_OF_BUDGET:
            return "an error ended it"
        last, most = self.turns[-1].acted.action, self.settings.max_turns
        turns = "its only turn" if most == 1 else f"the last of its {most} turns"
        if not isinstance(last, Malformed):
            return (
                f"the model asked for more frames in {turns}, where only an answer counts; allow "
                "more turns (--max-turns)"
            )
        if most > 1 and all(isinstance(turn.acted.action, Malformed) for turn in self.turns):
            turns = f"any of its {most} turns; the last one"
        return f"the model gave no valid answer in {turns}: {last.reason}"
