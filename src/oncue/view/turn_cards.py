"""What the page of an episode of retrieval is drawn from: a card per turn, and the axis of the
video above them.

Axis: seconds of video time, from 0 to `duration_s`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oncue.env.retrieval import lettered
from oncue.render.retrieval_format import Unit
from oncue.scoring.answers import named_options
from oncue.types import Answer, EnvTurn, Evidence, Malformed, Retrieve, TimeSpan
from oncue.video.pool import frame_time_s
from oncue.watch.record import Still, encode_jpeg
from oncue.watch.watch_page import data_url

MAX_STILLS = 48  # of a film strip
FRAME_PX, _QUALITY = 200, 66

Terms = Mapping[str, float]  # by name


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A frame that a turn showed: its time, its number in the pool, its picture; None for what is
    not known."""

    time_s: float
    index: int | None = None
    still: Still | None = None


@dataclass(frozen=True, slots=True)
class TurnCard:
    """A turn: what was seen, what was thought, what was done.

    `span`: the stretch of video that a retrieval asked for; None for another action and where it is
    not known. `iou`: of the frames that the turn showed with the relevant ones, None where there is
    nothing to compare. `rewards`: what the turn earned, by reward and term.
    """

    frames: tuple[SeenFrame, ...]
    action: Retrieve | Answer | Malformed
    thought: str = ""
    span: TimeSpan | None = None
    latency_ms: float | None = None
    iou: float | None = None
    rewards: Mapping[str, Terms] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EpisodeCards:
    """An episode as a page shows it.

    `gold`: where the answer can be seen; None: not known. `right_answer` and `is_right` likewise.
    `num_frames`: of the pool. `unit`: what ranges count. `ending`: why there is no answer, "" where
    there is one.
    """

    name: str
    question: str
    options: tuple[str, ...]
    turns: tuple[TurnCard, ...]
    duration_s: float
    num_frames: int | None = None
    unit: Unit | None = None
    film: tuple[Still, ...] = ()
    gold: tuple[TimeSpan, ...] | None = None
    right_answer: str | None = None
    is_right: bool | None = None
    ending: str = ""

    @property
    def is_answered(self) -> bool:
        return bool(self.turns) and isinstance(self.turns[-1].action, Answer)

    @property
    def num_bytes(self) -> int:
        """Of all pictures."""
        stills = [frame.still for turn in self.turns for frame in turn.frames]
        return sum(len(still.jpeg) for still in (*self.film, *stills) if still is not None)


def frames_of(shown: EnvTurn, *, with_pictures: bool = True) -> tuple[SeenFrame, ...]:
    """The frames of a turn, in order, with small pictures."""
    frames: list[SeenFrame] = []
    for batch in shown.batches:
        indices = batch.indices or (None,) * len(batch)
        frames += (
            SeenFrame(
                float(time_s), index, still_of(pixels, float(time_s)) if with_pictures else None
            )
            for pixels, time_s, index in zip(batch.pixels, batch.pts_s, indices, strict=True)
        )
    return tuple(frames)


def still_of(pixels: np.ndarray, time_s: float) -> Still:
    """A small picture of the frame `pixels` (H, W, 3) uint8."""
    return Still(time_s, encode_jpeg(pixels, FRAME_PX, _QUALITY))


def film_indices(num_frames: int) -> list[int]:
    """Which frames of a pool its film strip has: at most `MAX_STILLS`, evenly."""
    count = min(MAX_STILLS, num_frames)
    return [int((k + 0.5) * num_frames / count) for k in range(count)]


def gold_spans(evidence: Evidence | None, duration_s: float) -> tuple[TimeSpan, ...] | None:
    """Where the answer can be seen: the spans where they are known, else the parts of the video
    that the relevant frames are for."""
    if evidence is None:
        return None
    return evidence.spans or frame_spans(evidence.frames, evidence.num_frames, duration_s)


def frame_spans(indices: Iterable[int], num_frames: int, duration_s: float) -> tuple[TimeSpan, ...]:
    """The parts of the video that frames of a pool are for; neighbours make one span."""
    spans: list[TimeSpan] = []
    half_s = duration_s / num_frames / 2
    for index in sorted(set(indices)):
        middle_s = frame_time_s(index, num_frames, duration_s)
        start_s, end_s = max(0.0, middle_s - half_s), min(duration_s, middle_s + half_s)
        if spans and start_s <= spans[-1].end_s + half_s:
            start_s = spans.pop().start_s
        spans.append(TimeSpan(start_s, end_s))
    return tuple(spans)


def episode_values(episode: EpisodeCards) -> dict[str, Any]:
    """The object that the page draws an episode from."""
    last = episode.turns[-1].action if episode.turns else None
    return {
        "name": episode.name,
        "question": episode.question,
        "options": list(lettered(episode.options)),
        "chosen": last.text if isinstance(last, Answer) else None,
        "chosen_option": _place(last.text, episode.options) if isinstance(last, Answer) else None,
        "right_answer": episode.right_answer,
        "right_option": _place(episode.right_answer, episode.options),
        "is_right": episode.is_right,
        "duration_s": _short(episode.duration_s),
        "num_frames": episode.num_frames,
        "unit": episode.unit,
        "gold": None if episode.gold is None else [_span(span) for span in episode.gold],
        "film": [{"time_s": _short(s.time_s), "frame": data_url(s)} for s in episode.film],
        "ending": episode.ending,
        "turns": [_turn(turn) for turn in episode.turns],
    }


def _turn(turn: TurnCard) -> dict[str, Any]:
    action = turn.action
    done: dict[str, Any] = {"kind": "answer", "text": getattr(action, "text", "")}
    if isinstance(action, Retrieve):
        asked = None if turn.span is None else _span(turn.span)
        done = {"kind": "retrieve", "start": action.start, "end": action.end, "span": asked}
    elif isinstance(action, Malformed):
        done = {"kind": "malformed", "text": action.text, "reason": action.reason}
    return {
        "frames": [
            {"time_s": _short(f.time_s), "index": f.index, "frame": data_url(f.still)}
            for f in turn.frames
        ],
        "thought": turn.thought,
        "action": done,
        "latency_ms": turn.latency_ms,
        "iou": turn.iou,
        "rewards": {name: dict(terms) for name, terms in turn.rewards.items()},
    }


def _place(answer: str | None, options: tuple[str, ...]) -> int | None:
    """The place of the option that `answer` names, the first of those with the same text."""
    return None if answer is None else min(named_options(answer, options), default=None)


def _span(span: TimeSpan) -> list[float]:
    return [_short(span.start_s), _short(span.end_s)]


def _short(number: float) -> float:
    return round(number, 3)
