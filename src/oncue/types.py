"""What happened: the values that cross module borders. Frozen, slotted, free of torch.

Axis letters: F frames, H height, W width.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A stretch of video time in seconds, closed at both ends (a reply at either end is inside)."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s)):
            raise ValueError(f"span times must be finite, got {self.start_s} to {self.end_s}")
        if self.end_s < self.start_s:
            raise ValueError(
                f"span must not end before it starts, got {self.start_s} s to {self.end_s} s"
            )

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s

    def __contains__(self, time_s: float) -> bool:
        return self.start_s <= time_s <= self.end_s


@dataclass(frozen=True, slots=True, eq=False)
class FrameBatch:
    """Frames shown together: `pixels` (F, H, W, 3) uint8 RGB and `pts_s` (F,) float64 seconds, both
    possibly F = 0.

    `marks`: a name for each frame that the policy can refer to (`frame 12`, `01:30`); "" or none at
    all: no mark. `indices`: of frames drawn from a pool (`oncue.video.pool`), the index of each in
    it.
    """

    pixels: np.ndarray
    pts_s: np.ndarray
    marks: tuple[str, ...] = ()
    indices: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.shape[-1] != 3 or self.pixels.dtype != np.uint8:
            raise ValueError(
                f"pixels must be (F, H, W, 3) uint8, got {self.pixels.shape} {self.pixels.dtype}"
            )
        if self.pts_s.shape != (len(self.pixels),):
            raise ValueError(f"pts_s must be ({len(self.pixels)},), got {self.pts_s.shape}")
        if len(self.marks) not in (0, len(self.pixels)):
            raise ValueError(
                f"{len(self.pixels)} frames need as many marks, or none, got {len(self.marks)}"
            )
        if len(self.indices) not in (0, len(self.pixels)):
            raise ValueError(
                f"{len(self.pixels)} frames need as many indices, or none, got {len(self.indices)}"
            )

    def __len__(self) -> int:
        return len(self.pixels)

    @classmethod
    def empty(cls) -> FrameBatch:
        """A batch of no frames, for turns that carry text only."""
        return cls(np.zeros((0, 0, 0, 3), np.uint8), np.zeros(0, np.float64))


# What the policy does in a turn. Silence is an action; failure to follow the grammar is a value.


@dataclass(frozen=True, slots=True)
class Silence:
    """The policy watched and chose to say nothing."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The policy spoke. `truncated` when the per-turn token limit closed the turn."""

    text: str
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Retrieve:
    """The policy asked to see the frames from `start` to `end`, both inside.

    The grammar of the task says what is counted: frame numbers of a pool, or seconds.
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end)):
            raise ValueError(f"a retrieved range must be finite, got {self.start} to {self.end}")
        if self.end < self.start:
            raise ValueError(
                f"a retrieved range must not end before it starts, got {self.start} to {self.end}"
            )


@dataclass(frozen=True, slots=True)
class Answer:
    """The policy answered the question of the task, which ends the episode."""

    text: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """Sampled text that is no action of the grammar in use."""

    text: str
    reason: str


Action = Silence | Reply | Retrieve | Answer | Malformed


def in_stream(action: Action) -> Silence | Reply | Malformed:
    """`action`, which the policy did in a stream. Raises ValueError for what a stream has not: it
    is no silence."""
    if isinstance(action, Retrieve | Answer):
        raise ValueError(
            f"expected silence, a reply or a malformed turn, as in a stream, got {action}"
        )
    return action


def reply_text(action: Action) -> str | None:
    """The text of a reply; None for silence and malformed turns. Raises ValueError as `in_stream`
    does."""
    said = in_stream(action)
    return said.text if isinstance(said, Reply) else None


class StopReason(enum.StrEnum):
    """Why an episode ended."""

    SOURCE_ENDED = "source_ended"
    MAX_TURNS = "max_turns"
    CANCELLED = "cancelled"
    ANSWERED = "answered"
    OUT_OF_BUDGET = "out_of_budget"  # of turns or frames, before there was an answer


@dataclass(frozen=True, slots=True, init=False)
class EnvTurn:
    """What is shown in one turn; an answer to it happens at `clock_s` (video seconds).

    `content` holds text and frames in the order in which they are shown; empty parts are left out.
    A turn of a stream is `EnvTurn(frames, clock_s, text)`: frames, then text.
    """

    content: tuple[str | FrameBatch, ...]
    clock_s: float

    def __init__(
        self, content: FrameBatch | Iterable[str | FrameBatch], clock_s: float, text: str = ""
    ) -> None:
        """`content`: one batch, or text and batches in any order, of frames of any sizes. `text`
        comes after it."""
        parts = (content,) if isinstance(content, FrameBatch | str) else content
        object.__setattr__(self, "content", tuple(part for part in (*parts, text) if len(part)))
        object.__setattr__(self, "clock_s", clock_s)

    @property
    def text(self) -> str:
        """All text of the turn, its parts joined by line breaks."""
        return "\n".join(part for part in self.content if isinstance(part, str))

    @property
    def batches(self) -> tuple[FrameBatch, ...]:
        """The frames of the turn, in order."""
        return tuple(part for part in self.content if isinstance(part, FrameBatch))

    @property
    def frames(self) -> FrameBatch:
        """The frames of a turn that shows one batch, or none. Raises ValueError for several: see
        `batches`."""
        if len(self.batches) > 1:
            raise ValueError(
                f"the turn at {self.clock_s:g} s shows {len(self.batches)} batches, read them one "
                "by one"
            )
        return self.batches[0] if self.batches else FrameBatch.empty()

    @property
    def pictures(self) -> tuple[np.ndarray, ...]:
        """Every frame of the turn, in order: (H, W, 3) uint8 RGB each."""
        return tuple(pixels for batch in self.batches for pixels in batch.pixels)


@dataclass(frozen=True, slots=True)
class PolicyTurn:
    """What the policy answered. `token_ids` end with the turn's closing token.

    `logprobs` has one natural-log probability per id, of the distribution it was drawn from, or is
    empty where the backend gives none. `sampled=False` marks history: context, never trained.
    `latency_ms` is the wall time from the turn being submitted to its closing token; 0 for history.
    Of a forward that several turns shared (`ForeseeingSession`) each has an equal part.
    `forced_close`: the token limit closed the turn, so the last id was appended, not drawn
    (log-probability 0.0), and must not be trained. `thought`: what the policy wrote before its
    action, "" for nothing.
    """

    action: Action
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    sampled: bool = True
    latency_ms: float = 0.0
    forced_close: bool = False
    thought: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One env turn and the policy turn that answers it."""

    observed: EnvTurn
    acted: PolicyTurn


@dataclass(frozen=True, slots=True)
class Question:
    """Something a person wants to know. It is delivered with the first turn whose clock reaches
    `time_s`."""

    text: str
    time_s: float = 0.0


@dataclass(frozen=True, slots=True)
class GoldTurn:
    """A reply that is due: what to say, to which question, inside which closed span of video time.

    `visible_s` is the moment from which the event can be seen (the start of the span where it is
    not known better); `related_span` is the span of the event itself, of which `span` is the
    extended version used for scoring.
    """

    content: str
    span: TimeSpan
    question: str = ""
    visible_s: float | None = None
    related_span: TimeSpan | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where in a video the answer can be seen: the `frames` (indices) of a pool of `num_frames`,
    and the `spans` of video time where those are known."""

    frames: frozenset[int]
    num_frames: int
    spans: tuple[TimeSpan, ...] = ()

    def __post_init__(self) -> None:
        outside = sorted(i for i in self.frames if not 0 <= i < self.num_frames)
        if outside:
            raise ValueError(
                f"relevant frames of a pool of {self.num_frames} must lie from 0 to "
                f"{self.num_frames - 1}, got {outside[:8]}"
            )


@dataclass(frozen=True, slots=True)
class Task:
    """One dialogue to be held about one video: its name, its questions and the replies that are due
    (if known).

    `options` to choose from, the right `answer`, and where it can be seen (`evidence`): of a
    question that has one answer (see `Answer`).
    """

    task_id: str
    questions: tuple[Question, ...] = ()
    gold: tuple[GoldTurn, ...] = ()
    duration_s: float | None = None
    options: tuple[str, ...] = ()
    answer: str | None = None
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """A finished dialogue: the task, every exchange in order, and why it ended."""

    task: Task
    exchanges: tuple[Exchange, ...]
    stop: StopReason

    @property
    def replies(self) -> tuple[TimedReply, ...]:
        """The sampled replies in order, with the clock of their turn. Turns that did something else
        are left out."""
        return tuple(
            TimedReply(e.observed.clock_s, e.acted.action.text)
            for e in self.exchanges
            if e.acted.sampled and isinstance(e.acted.action, Reply)
        )


@dataclass(frozen=True, slots=True)
class TimedReply:
    """What was said, and when on the video clock."""

    time_s: float
    text: str


@dataclass(frozen=True, slots=True)
class DialogueTurn:
    """One message of a written dialogue (training data): `lead`, then `num_frames` images, then
    `text`. `marks`: the name of each image, as of `FrameBatch`; none at all: no mark."""

    role: str
    text: str
    num_frames: int = 0
    lead: str = ""
    marks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.role not in ("system", "user", "assistant"):
            raise ValueError(f"role must be system, user or assistant, got {self.role!r}")
        if (self.num_frames or self.lead) and self.role != "user":
            raise ValueError(
                f"only user turns hold frames, got {self.num_frames} in a turn of {self.role!r}"
            )
        if len(self.marks) not in (0, self.num_frames):
            raise ValueError(
                f"{self.num_frames} frames need as many marks, or none, got {len(self.marks)}"
            )


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A written dialogue. Without a leading system turn the renderer's default system message
    comes first.

    `trained` has one flag per turn: whether the loss covers it. Only assistant turns may be
    trained.
    """

    dialogue_id: str
    turns: tuple[DialogueTurn, ...]
    trained: tuple[bool, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.trained:
            object.__setattr__(self, "trained", tuple(t.role == "assistant" for t in self.turns))
        if len(self.trained) != len(self.turns):
            raise ValueError(
                f"{len(self.turns)} turns need as many trained flags, got {len(self.trained)}"
            )
        if any(
            flag and turn.role != "assistant"
            for flag, turn in zip(self.trained, self.turns, strict=True)
        ):
            raise ValueError("only assistant turns can be trained")

    @property
    def num_frames(self) -> int:
        return sum(t.num_frames for t in self.turns)


class FrameSource(Protocol):
    """Frames on an exact grid of video time, in order, one at a time; it may never end.

    `frame_interval_s` is the step of the grid. `read` returns the next grid frame as a batch of
    one, or None when the source has ended. The frame of grid index k (k = 0, 1, ...) is the newest
    one visible at `Clock.time_of(k + 1)`. A live source may drop grid frames to stay current. It
    then has `num_dropped`: how many lie before the frame that `read` gave last.
    """

    frame_interval_s: float

    def read(self) -> FrameBatch | None: ...

    def close(self) -> None: ...


class VideoEnv(Protocol):
    """The world: it shows something, takes the policy's action and shows the next thing, until it
    stops."""

    async def open(self) -> EnvTurn | StopReason: ...

    async def step(self, action: Action) -> EnvTurn | StopReason: ...


class PolicySession(Protocol):
    """One dialogue of a policy. It holds the growing prefix and its KV cache; `close` frees
    them."""

    async def respond(self, observed: EnvTurn) -> PolicyTurn: ...

    def close(self) -> None: ...


@runtime_checkable
class ForeseeableEnv(Protocol):
    """A VideoEnv that at times knows what it will show next, whatever is said."""

    def announce_to(self, listener: Callable[[Sequence[EnvTurn]], None]) -> None:
        """Call `listener`, in the event loop, with turns to come: in order, each once, before it is
        shown."""
        ...


@runtime_checkable
class ForeseeingSession(Protocol):
    """A PolicySession that can make use of knowing what comes next. Its answers do not depend on
    it."""

    def foresee(self, turns: Iterable[EnvTurn]) -> None: ...
