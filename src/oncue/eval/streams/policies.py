"""Who is run on a benchmark: a model as it is, what a model is compared with, and baselines.

All of them go through the same loop, turn by turn, on the same frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from oncue.errors import ConfigError
from oncue.policy.open_policy import LocalModel, Policy, PolicySpec, Script, ServerModel
from oncue.policy.polling import LeakingPollingSession, PollingSession, asking
from oncue.policy.scripted import PeriodicPolicy, ScriptedPolicy, SilentPolicy, TalkPolicy
from oncue.types import FrameBatch, FrameSource, PolicySession, Task

MODEL, SILENCE, TALK, BLIND = "model", "silence", "talk", "blind"
POLLING, LEAKING = "polling", "polling-leaking-gold"
DELAY, EVERY, THRESHOLD = "delay", "every", "threshold"
PLAIN = (MODEL, SILENCE, TALK, BLIND, POLLING, LEAKING)
NUMBERED = (DELAY, EVERY, THRESHOLD)
FORMS = (*PLAIN, f"{DELAY}:SECONDS", f"{EVERY}:SECONDS", f"{THRESHOLD}:T")
GREY = 128
SpecT = TypeVar("SpecT", bound=PolicySpec)


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy by name: its kind, and the number that the kind needs.

    `say`: what the baselines say. `poll_frames`: how many of the newest frames a poll shows.
    """

    kind: str = MODEL
    number: float | None = None
    say: str = "Now."
    poll_frames: int = 16

    def __post_init__(self) -> None:
        if not self.say.strip():
            raise ConfigError("--say is empty; give the baseline something to say")
        if self.poll_frames < 1:
            raise ConfigError(f"--poll-frames must be at least 1, got {self.poll_frames}")

    @classmethod
    def named(cls, text: str, say: str = "Now.", poll_frames: int = 16) -> Contender:
        """The policy that `text` names, one of `FORMS`. Raises ConfigError for another one."""
        kind, colon, written = text.partition(":")
        if kind in PLAIN and not colon:
            return cls(kind, None, say, poll_frames)
        try:
            number = float(written)
        except ValueError:
            number = math.nan
        if kind not in NUMBERED or not math.isfinite(number):
            raise ConfigError(f"unknown policy {text!r}; expected one of {', '.join(FORMS)}")
        if kind != THRESHOLD and (number < 0 or (kind == EVERY and number == 0)):
            raise ConfigError(f"policy {text!r}: the seconds must be positive")
        return cls(kind, number, say, poll_frames)

    @property
    def name(self) -> str:
        return self.kind if self.number is None else f"{self.kind}:{self.number:g}"

    @property
    def has_model(self) -> bool:
        """Whether weights, here or on a server, are asked."""
        return self.kind not in (SILENCE, TALK, DELAY, EVERY)

    @property
    def speaks_fixed_text(self) -> bool:
        """Whether `say` is said."""
        return self.kind in (TALK, DELAY, EVERY)

    @property
    def polls(self) -> bool:
        return self.kind in (POLLING, LEAKING)

    @property
    def takes_reply_bias(self) -> bool:
        """Whether how readily it replies can be set; a threshold sets that itself."""
        return self.kind in (MODEL, BLIND)

    def spec(self, model: PolicySpec) -> PolicySpec:
        """What is opened, where `model` is the model; a policy without one does not look at it.
        Raises ConfigError for a threshold together with a reply bias: they are one knob."""
        if not self.has_model:
            return self.script()
        if self.kind == THRESHOLD:
            if reply_bias_of(model):
                raise ConfigError("a threshold is the reply bias, negated; leave --reply-bias out")
            assert self.number is not None
            return with_reply_bias(model, -self.number)
        return model

    def script(self) -> Script:
        """A policy that asks no model."""
        return Script(self._scripted, self.name)

    def source(self, source: FrameSource) -> FrameSource:
        """What is shown of `source`."""
        return GreySource(source) if self.kind == BLIND else source

    def session(
        self, policy: Policy[PolicySession], task: Task, system: str | None, seed: int
    ) -> PolicySession:
        """A session of `policy`, which `spec` opened, for one item."""
        if self.kind == POLLING:
            return PollingSession(asking(policy, task, system, seed), self.poll_frames)
        if self.kind == LEAKING:
            return LeakingPollingSession(asking(policy, task, system, seed), self.poll_frames, task)
        return policy.open(task, system=system, seed=seed)

    def _scripted(self, task: Task | None) -> PolicySession:
        asked_s = task.questions[0].time_s if task is not None and task.questions else 0.0
        if self.kind == SILENCE:
            return SilentPolicy()
        if self.kind == TALK:
            return TalkPolicy(self.say)
        assert self.number is not None
        if self.kind == DELAY:
            return ScriptedPolicy({asked_s + self.number: self.say})
        return PeriodicPolicy(self.number, self.say, asked_s)


class GreySource:
    """Plain grey frames in place of those of another source, at their times and of their size: what
    a model says without seeing."""

    def __init__(self, source: FrameSource) -> None:
        self.frame_interval_s = source.frame_interval_s
        self.duration_s: float | None = getattr(source, "duration_s", None)
        self._source = source

    def read(self) -> FrameBatch | None:
        """The next frame, None at the end."""
        batch = self._source.read()
        return None if batch is None else replace(batch, pixels=np.full_like(batch.pixels, GREY))

    def close(self) -> None:
        self._source.close()


def reply_bias_of(spec: PolicySpec) -> float:
    """The reply bias that a model is opened with."""
    if isinstance(spec, LocalModel):
        return 0.0 if spec.sampling is None else spec.sampling.reply_bias
    if isinstance(spec, ServerModel):
        return 0.0 if spec.options is None else spec.options.reply_bias
    return 0.0


def with_reply_bias(spec: SpecT, bias: float) -> SpecT:
    """`spec` with another reply bias. It must have sampling settings, or be of a server with
    options. Raises ConfigError for a script, which has no such knob."""
    if isinstance(spec, LocalModel) and spec.sampling is not None:
        return replace(spec, sampling=replace(spec.sampling, reply_bias=bias))
    if isinstance(spec, ServerModel) and spec.options is not None:
        return replace(spec, options=replace(spec.options, reply_bias=bias))
    raise ConfigError(f"a policy needs settings to have a reply bias, got {spec!r:.60}")


def loaded_once(spec: PolicySpec) -> PolicySpec:
    """`spec` with its model in memory, so that several engines can be opened on it."""
    if not isinstance(spec, LocalModel):
        return spec
    return replace(spec, model=spec.load(), device=None, dtype=None, max_pixels=None)
