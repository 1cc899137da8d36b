"""What was seen and said while watching, kept small: replies and times grow with the video, frames
do not."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from oncue.clock import Clock
from oncue.types import Exchange, Malformed, Question, Reply, in_stream

_FILM_WIDTH_PX, _EVIDENCE_WIDTH_PX = 224, 560


@dataclass(frozen=True, slots=True)
class Still:
    """A kept frame: the video time it was shown at, and a JPEG."""

    time_s: float
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class SpokenReply:
    """One reply. `question` is the text of the newest turn at or before it that brought a question:
    several questions asked together are one text, as they were shown. `wall_s` counts from the
    start of watching. `num_tokens` is None where the policy does not say it, as behind a server.
    """

    time_s: float
    text: str
    question: str
    latency_ms: float
    turn: int
    wall_s: float
    num_tokens: int | None = None
    truncated: bool = False

    def as_json(self) -> dict[str, object]:
        return {"type": "reply", **_rounded(asdict(self))}


@dataclass(frozen=True, slots=True)
class WatchSummary:
    """Counts and times of one watching. `wall_s` begins when the first frame is asked for; loading
    is `load_s`.

    `num_skipped` of the silent turns were not shown to the model, because nothing had changed.
    `max_lag_s`: how far behind its time the most delayed frame was shown, of a live source or of a
    file watched as if it were live; else None. `num_dropped` frames of a live source were in no
    turn, so as to stay current.
    """

    source: str
    model: str
    num_turns: int
    num_silent: int
    num_replies: int
    num_malformed: int
    num_frames: int
    duration_s: float
    wall_s: float
    real_time_factor: float
    load_s: float
    latency_ms_p50: float
    latency_ms_p95: float
    stop: str
    num_skipped: int = 0
    max_lag_s: float | None = None
    num_dropped: int = 0

    def as_json(self) -> dict[str, object]:
        return {"type": "summary", **_rounded(asdict(self))}


@dataclass(frozen=True, slots=True)
class Watched:
    """A finished (or interrupted) watching: all that the exports and the page need.

    `questions` asked together are one, as they were shown; those that were not asked any more are
    single.
    """

    questions: tuple[Question, ...]
    replies: tuple[SpokenReply, ...]
    silent_s: tuple[float, ...]
    malformed: tuple[tuple[float, str], ...]
    summary: WatchSummary
    film: tuple[Still, ...] = ()
    evidence: tuple[Still | None, ...] = ()


class KeptFrames:
    """Stills of a video of any length: an even film strip, and the frame behind each of the first
    replies.

    The strip keeps every n-th frame; n doubles whenever `max_film` is exceeded, so at most that
    many are held.
    """

    def __init__(self, max_film: int = 72, max_evidence: int = 200) -> None:
        self.max_film, self.max_evidence = max_film, max_evidence
        self.film: list[Still] = []
        self.evidence: list[Still | None] = []
        self._stride = 1
        self._seen = 0
        self._newest: tuple[np.ndarray, float] | None = None

    def see(self, frame: np.ndarray, time_s: float) -> None:
        """Offer a frame (H, W, 3) uint8 shown at video time `time_s`."""
        self._newest = (frame, time_s)
        if self._seen % self._stride == 0:
            self.film.append(Still(time_s, encode_jpeg(frame, _FILM_WIDTH_PX)))
            if len(self.film) > self.max_film:
                self.film = self.film[::2]
                self._stride *= 2
        self._seen += 1

    def keep_evidence(self) -> None:
        """Keep the newest frame, large, for the reply just made; None once `max_evidence` are
        held."""
        keep = self._newest is not None and len(self.evidence) < self.max_evidence
        frame, time_s = (
            self._newest if self._newest is not None else (np.zeros((1, 1, 3), np.uint8), 0.0)
        )
        self.evidence.append(
            Still(time_s, encode_jpeg(frame, _EVIDENCE_WIDTH_PX, quality=80)) if keep else None
        )


def encode_jpeg(frame: np.ndarray, max_width_px: int, quality: int = 72) -> bytes:
    """The frame (H, W, 3) uint8 as JPEG, scaled down to fit a box of `max_width_px` by the same
    height."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(frame))
    scale = min(1.0, max_width_px / max(image.width, image.height))
    if scale < 1.0:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    held = io.BytesIO()
    image.save(held, "JPEG", quality=quality)
    return held.getvalue()


class Recorder:
    """Takes exchanges as they happen; `add` returns the reply just made, if one was."""

    def __init__(
        self, questions: Sequence[Question], clock: Clock, frames: KeptFrames | None = None
    ) -> None:
        self.clock = clock
        self.questions = tuple(sorted(questions, key=lambda q: q.time_s))
        self.frames = frames
        self.asked: list[Question] = []  # one per turn that brought any
        self.replies: list[SpokenReply] = []
        self.silent_s: list[float] = []
        self.malformed: list[tuple[float, str]] = []
        self.clock_s = 0.0
        self.num_turns = 0
        self.num_frames = 0
        self._num_asked = 0
        self._latencies_ms: list[float] = []
        self._started = time.perf_counter()

    @property
    def wall_s(self) -> float:
        """Seconds since watching began."""
        return time.perf_counter() - self._started

    def start(self) -> None:
        """Begin to count wall time."""
        self._started = time.perf_counter()

    @property
    def unasked(self) -> tuple[Question, ...]:
        """The questions that have not come due so far."""
        return tuple(q for q in self.questions if not self.is_due(q, self.clock_s))

    def is_due(self, question: Question, clock_s: float) -> bool:
        """Whether the question has been delivered when the clock reads `clock_s`."""
        return self.clock.first_at_or_after(question.time_s) <= self.clock.frames_until(clock_s)

    def add(self, exchange: Exchange) -> SpokenReply | None:
        """Record one exchange."""
        observed, acted = exchange.observed, exchange.acted
        self.clock_s = observed.clock_s
        num_due = sum(self.is_due(question, self.clock_s) for question in self.questions)
        if num_due > self._num_asked:
            self.asked.append(Question(observed.text, self.questions[self._num_asked].time_s))
            self._num_asked = num_due
        self.num_turns += 1
        self.num_frames += len(observed.pictures)
        self._latencies_ms.append(acted.latency_ms)
        if self.frames is not None and observed.pictures:
            self.frames.see(observed.pictures[-1], observed.clock_s)
        action = in_stream(acted.action)
        if isinstance(action, Malformed):
            self.malformed.append((observed.clock_s, f"{action.reason}: {action.text!r}"))
            return None
        if not isinstance(action, Reply):
            self.silent_s.append(observed.clock_s)
            return None
        reply = SpokenReply(
            time_s=observed.clock_s,
            text=action.text,
            question=self.asked[-1].text if self.asked else "",
            latency_ms=acted.latency_ms,
            turn=self.num_turns - 1,
            wall_s=self.wall_s,
            num_tokens=len(acted.token_ids) or None,
            truncated=action.truncated,
        )
        self.replies.append(reply)
        if self.frames is not None:
            self.frames.keep_evidence()
        return reply

    def finish(
        self,
        *,
        source: str,
        model: str,
        video_s: float | None,
        load_s: float,
        stop: str,
        num_skipped: int = 0,
        max_lag_s: float | None = None,
        num_dropped: int = 0,
    ) -> Watched:
        """What was watched so far. `video_s`: the length that the video declares, if any. The last
        turn may reach past it; where more does, it is of one of several recordings that were
        joined, and counts for nothing."""
        beyond_s = 0.0 if video_s is None else self.clock_s - video_s
        duration_s = (
            self.clock_s - beyond_s
            if 0 < beyond_s * self.num_turns <= self.clock_s
            else self.clock_s
        )
        wall_s = self.wall_s
        p50, p95 = np.percentile(self._latencies_ms, (50, 95)) if self._latencies_ms else (0.0, 0.0)
        summary = WatchSummary(
            source=source,
            model=model,
            num_turns=self.num_turns,
            num_silent=len(self.silent_s),
            num_replies=len(self.replies),
            num_malformed=len(self.malformed),
            num_frames=self.num_frames,
            duration_s=duration_s,
            wall_s=wall_s,
            real_time_factor=duration_s / wall_s if wall_s > 0 else 0.0,
            load_s=load_s,
            latency_ms_p50=float(p50),
            latency_ms_p95=float(p95),
            stop=stop,
            num_skipped=num_skipped,
            max_lag_s=max_lag_s,
            num_dropped=num_dropped,
        )
        return Watched(
            questions=(*self.asked, *self.questions[self._num_asked :]),
            replies=tuple(self.replies),
            silent_s=tuple(self.silent_s),
            malformed=tuple(self.malformed),
            summary=summary,
            film=tuple(self.frames.film) if self.frames else (),
            evidence=tuple(self.frames.evidence) if self.frames else (),
        )


def _rounded(fields: dict[str, object]) -> dict[str, object]:
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in fields.items()}
