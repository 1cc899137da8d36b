"""What the steps of the pipeline make of a video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from oncue.clock import Clock
from oncue.data.proactive_rows import ProactiveRow, StepCost, read_proactive_row
from oncue.types import TimeSpan

Captions = Literal["model", "annotated"]
# The steps, in order
VIDEO, SCENES, CAPTION, QUESTIONS, MERGE, DIALOGUE = (
    "video",
    "scenes",
    "caption",
    "questions",
    "merge",
    "dialogue",
)
REFUSED = "refused"  # a kind of rejection: the server does not take the request


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """What the rows depend on, besides the videos, models and prompts.

    `seed` draws which videos get one question, and question times. `frame_interval_s` and
    `frames_per_turn` are the grid that question times lie on (MMDuet2: 2 s and 2). Scenes are
    captioned from `frames_per_scene` frames of at most `frame_pixels` pixels; with `captions`
    "annotated", the text of an annotated scene is its caption as it is.
    """

    seed: int = 0
    frame_interval_s: float = 2.0
    frames_per_turn: int = 2
    captions: Captions = "model"
    frames_per_scene: int = 4
    frame_pixels: int = 448 * 448

    @property
    def clock(self) -> Clock:
        return Clock(self.frame_interval_s)


@dataclass(frozen=True, slots=True)
class SeenScene:
    """A scene before it has a caption: what is said in it, what the data set writes of it, and a
    few frames as JPEG files."""

    span: TimeSpan
    subtitle: str = ""
    note: str = ""
    jpegs: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SeenVideo:
    """What was read of a video: its length in seconds, its scenes in order of time, how they were
    found, and what was damaged."""

    duration_s: float
    scenes: tuple[SeenScene, ...]
    found_by: str
    damage: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QuestionList:
    """A question and the answers to it: `answers[i]` is due in scene i (from 0); in the other
    scenes there is nothing to say."""

    question: str
    answers: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why there is no row of a video, or why it goes without one of its scenes.

    `kind`: missing or corrupt (the video); none (no scene); refused or too_large (by the server);
    unusable (the model says so); malformed or truncated (its second answer, too); silent (no reply
    is due).
    """

    step: str
    kind: str
    reason: str
    scene: TimeSpan | None = None

    def plain(self) -> dict[str, Any]:
        scene = None if self.scene is None else [self.scene.start_s, self.scene.end_s]
        return {"step": self.step, "kind": self.kind, "reason": self.reason, "scene": scene}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Rejected:
        scene = None if plain["scene"] is None else TimeSpan(*plain["scene"])
        return cls(plain["step"], plain["kind"], plain["reason"], scene)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a video: its row, or None; what was rejected (with a row: scenes); what the
    steps took; and what of the video was damaged."""

    row: ProactiveRow | None
    rejected: tuple[Rejected, ...] = ()
    steps: tuple[StepCost, ...] = ()
    damage: tuple[str, ...] = field(default=())

    def plain(self) -> dict[str, Any]:
        return {
            "row": None if self.row is None else self.row.plain(),
            "rejected": [each.plain() for each in self.rejected],
            "steps": [
                {name: getattr(step, name) for name in StepCost.__slots__} for step in self.steps
            ],
            "damage": list(self.damage),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Outcome:
        row = plain["row"]
        return cls(
            None if row is None else read_proactive_row(row, "a row of the journal"),
            tuple(map(Rejected.from_plain, plain["rejected"])),
            tuple(StepCost(**step) for step in plain["steps"]),
            tuple(plain["damage"]),
        )
