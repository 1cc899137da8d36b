"""What happens in a made-up clip: objects, their tracks, and the events a watcher could report,
with exact times.

A scene knows nothing of pixels; `shapes` and `footage` paint it. Times are seconds of video.
Positions and sizes are fractions of the frame: x and y of the centre, height of the object relative
to the frame's height.

Event times are memoryless (after a dead time of one second, so that two events never share a turn
of one second), and some scenes are empty: a model cannot learn the generator's rhythm instead of
looking.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

SIDES = ("left", "right")
NAMELESS = "something"
DEAD_TIME_S = 1.25
LEAD_IN_S = (
    2.25  # nothing happens before a watcher at one frame per second has seen two frames to compare
)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `visible_s` is the pts of the first video frame that shows it.

    kind: appears, leaves, moves, changes, cut. `name` is what the object is called before the
    event, `side` where it is (after the event, for moves), `detail` the new colour of a change,
    `count` the number of objects after the event.
    """

    kind: str
    visible_s: float
    side: str = ""
    name: str = ""
    detail: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Glide:
    """The centre moves from its old x to `to_x` between the two times, at constant speed."""

    start_s: float
    end_s: float
    to_x: float


@dataclass(frozen=True, slots=True)
class Repaint:
    """From `time_s` on the object has the look number `look`."""

    time_s: float
    look: int


@dataclass(slots=True)
class Track:
    """One object through time. `look` numbers index the painter's palette; `entry`: pop, fade or
    slide.

    It enters over `ramp_s` seconds from `start_s` on and leaves over as many from `end_s` on; at
    `cut_s` it is gone.
    """

    x: float
    y: float
    height: float
    look: int
    form: int
    seed: int
    start_s: float
    end_s: float = math.inf
    entry: str = "pop"
    ramp_s: float = 0.0
    cut_s: float = math.inf
    glides: list[Glide] = field(default_factory=list)
    repaints: list[Repaint] = field(default_factory=list)

    def x_at(self, time_s: float) -> float:
        x = self.x
        for glide in self.glides:
            if time_s >= glide.end_s:
                x = glide.to_x
            elif time_s > glide.start_s:
                x += (glide.to_x - x) * (time_s - glide.start_s) / (glide.end_s - glide.start_s)
        return x

    def look_at(self, time_s: float) -> int:
        look = self.look
        for repaint in self.repaints:
            if time_s >= repaint.time_s:
                look = repaint.look
        return look

    def presence_at(self, time_s: float) -> float:
        """0 absent, 1 fully there; in between while it enters or leaves over `ramp_s` seconds."""
        if time_s < self.start_s or time_s >= min(self.end_s + self.ramp_s, self.cut_s):
            return 0.0
        if self.ramp_s == 0:
            return 1.0
        entering = (time_s - self.start_s) / self.ramp_s
        leaving = (self.end_s + self.ramp_s - time_s) / self.ramp_s
        return float(min(1.0, entering, leaving))

    def is_present(self, time_s: float) -> bool:
        """Whether it counts as there: from the moment half of it has entered up to the moment half
        of it has left."""
        return (
            self.start_s + self.ramp_s / 2 <= time_s < min(self.end_s + self.ramp_s / 2, self.cut_s)
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that happens in one clip. `cuts` are the times at which the background is
    replaced."""

    duration_s: float
    frame_rate: float
    tracks: tuple[Track, ...]
    events: tuple[Event, ...]
    cuts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class SceneStyle:
    """What kinds of things may happen, and how often. `weights` are relative odds of feasible event
    kinds."""

    weights: dict[str, float]
    mean_gap_s: float
    max_objects: int
    num_looks: int
    num_forms: int
    heights: tuple[float, float]
    entries: tuple[str, ...] = ("pop",)
    ramps_s: tuple[float, float] = (0.0, 0.0)
    empty_frac: float = 0.08
    names: tuple[tuple[str, ...], tuple[str, ...]] | None = (
        None  # look names, form names; None: all NAMELESS
    )

    def look_name(self, look: int) -> str:
        """What a look is called; empty where nothing has a name."""
        return self.names[0][look] if self.names else ""

    def name_of(self, track: Track, time_s: float) -> str:
        """What an object is called at a time."""
        return (
            f"{self.look_name(track.look_at(time_s))} {self.names[1][track.form]}"
            if self.names
            else NAMELESS
        )


def side_of(x: float) -> str:
    return SIDES[0] if x < 0.5 else SIDES[1]


def compose(
    style: SceneStyle, rng: np.random.Generator, duration_s: float, frame_rate: float
) -> Scene:
    """Draws a scene of `duration_s` seconds whose events fall on frames of `frame_rate` frames per
    second."""
    story = _Story(style, rng, frame_rate)
    if rng.random() < style.empty_frac:
        for _ in range(int(rng.integers(0, style.max_objects + 1))):
            story.place(0.0)
        return story.finish(duration_s)
    for _ in range(int(rng.integers(0, style.max_objects))):
        story.place(0.0)
    mean_gap_s = style.mean_gap_s * float(rng.choice([0.4, 1.0, 1.0, 1.0, 2.5]))
    time_s = story.snap(LEAD_IN_S + rng.exponential(mean_gap_s))
    while time_s < duration_s - 0.5 / frame_rate:
        settled_s = story.happen(time_s)
        time_s = story.snap(settled_s + DEAD_TIME_S + rng.exponential(mean_gap_s))
    return story.finish(duration_s)


class _Story:
    """The state while a scene is drawn."""

    def __init__(self, style: SceneStyle, rng: np.random.Generator, frame_rate: float) -> None:
        self.style, self.rng, self.frame_rate = style, rng, frame_rate
        self.present: list[Track] = []
        self.tracks: list[Track] = []
        self.events: list[Event] = []
        self.cuts: list[float] = []

    def snap(self, time_s: float) -> float:
        return math.ceil(time_s * self.frame_rate - 1e-9) / self.frame_rate

    def finish(self, duration_s: float) -> Scene:
        events = tuple(e for e in self.events if e.visible_s < duration_s)
        return Scene(duration_s, self.frame_rate, tuple(self.tracks), events, tuple(self.cuts))

    def free_x(self, side: str | None = None) -> float | None:
        """A centre clear of the middle line and of everything present, or None when there is no
        room."""
        for _ in range(24):
            wanted = side or SIDES[int(self.rng.integers(2))]
            x = float(self.rng.uniform(0.12, 0.42)) + (0.5 if wanted == "right" else 0.0)
            if all(abs(x - other.x_at(math.inf)) > 0.2 for other in self.present):
                return x
        return None

    def place(self, start_s: float) -> Track | None:
        x = self.free_x()
        if x is None:
            return None
        rng, style = self.rng, self.style
        height = float(rng.uniform(*style.heights))
        y = float(rng.uniform(0.5 * height, 1 - 0.5 * height)) if height < 1 else 0.5
        entry = str(rng.choice(style.entries))
        track = Track(
            x=x,
            y=y,
            height=height,
            look=int(rng.integers(style.num_looks)),
            form=int(rng.integers(style.num_forms)),
            seed=int(rng.integers(2**31)),
            start_s=start_s,
            entry=entry,
            ramp_s=0.0 if entry == "pop" else self.snap(float(rng.uniform(*style.ramps_s))),
        )
        if start_s == 0.0:
            track.start_s = -10.0
        self.present.append(track)
        self.tracks.append(track)
        return track

    def happen(self, time_s: float) -> float:
        """Lets one feasible event begin at `time_s`; returns when it has settled."""
        kinds = [k for k in self.style.weights if self._feasible(k)]
        odds = np.array([self.style.weights[k] for k in kinds])
        kind = str(self.rng.choice(kinds, p=odds / odds.sum()))
        return getattr(self, f"_{kind}")(time_s)

    def _feasible(self, kind: str) -> bool:
        if kind == "appears":
            return len(self.present) < self.style.max_objects
        return kind == "cut" or bool(self.present)

    def _note(self, kind: str, visible_s: float, track: Track, detail: str = "") -> None:
        x = track.x_at(math.inf)
        name = self.style.name_of(track, visible_s - 1e-6 if kind == "changes" else visible_s)
        self.events.append(Event(kind, visible_s, side_of(x), name, detail, len(self.present)))

    def _appears(self, time_s: float) -> float:
        track = self.place(time_s)
        if track is None:
            return time_s
        # half of it can be seen: the first frame at or after half of the ramp
        self._note("appears", self.snap(time_s + track.ramp_s / 2), track)
        return time_s + track.ramp_s

    def _leaves(self, time_s: float) -> float:
        track = self.present.pop(int(self.rng.integers(len(self.present))))
        track.end_s = time_s
        self._note("leaves", self.snap(time_s + track.ramp_s / 2), track)
        return time_s + track.ramp_s

    def _moves(self, time_s: float) -> float:
        track = self.present[int(self.rng.integers(len(self.present)))]
        old_x = track.x_at(math.inf)
        x = self.free_x("right" if side_of(old_x) == "left" else "left")
        if x is None:
            return time_s
        length_s = self.snap(float(self.rng.uniform(0.25, 1.0)))
        crossed_s = time_s + length_s * (0.5 - old_x) / (x - old_x)
        track.glides.append(Glide(time_s, time_s + length_s, x))
        self._note("moves", self.snap(crossed_s), track)
        return time_s + length_s

    def _changes(self, time_s: float) -> float:
        track = self.present[int(self.rng.integers(len(self.present)))]
        old = track.look_at(math.inf)
        look = int((old + self.rng.integers(1, self.style.num_looks)) % self.style.num_looks)
        track.repaints.append(Repaint(time_s, look))
        self._note("changes", time_s, track, self.style.look_name(look))
        return time_s

    def _cut(self, time_s: float) -> float:
        self.cuts.append(time_s)
        for track in self.present:
            track.cut_s = time_s
        self.present = []
        for _ in range(int(self.rng.integers(0, self.style.max_objects))):
            fresh = self.place(time_s)
            if fresh is not None:
                fresh.entry, fresh.ramp_s = "pop", 0.0
        self.events.append(Event("cut", time_s, count=len(self.present)))
        return time_s


def frozen(scene: Scene, at_s: float) -> Scene:
    """The same scene standing still at one moment: a watcher must stay silent. Cuts before it have
    always been, others never come, so that painters draw the grounds that they draw for the scene
    itself."""
    tracks = []
    for track in scene.tracks:
        if track.is_present(at_s):
            still = replace(
                track, x=track.x_at(at_s), look=track.look_at(at_s), start_s=-10.0, end_s=math.inf
            )
            still.entry, still.ramp_s, still.cut_s, still.glides, still.repaints = (
                "pop",
                0.0,
                math.inf,
                [],
                [],
            )
            tracks.append(still)
    cuts = tuple(-math.inf if cut_s <= at_s else math.inf for cut_s in scene.cuts)
    return Scene(scene.duration_s, scene.frame_rate, tuple(tracks), (), cuts)
