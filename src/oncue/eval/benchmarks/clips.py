"""Timing alone on real clips with hand-made gold: was something said when it was due, and nothing
when not.

A model that lacks the words for what is shown can still notice it. It is compared with silence,
talk at every turn, and a frame-difference threshold tuned on training clips of a world, which like
the model has never seen a real clip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from oncue.clock import Clock
from oncue.errors import ConfigError
from oncue.eval.benchmarks.baselines import ChangeMeter, TunedTrigger, label_clip, tune
from oncue.eval.benchmarks.clip_items import Item
from oncue.eval.episodes import watch
from oncue.eval.runner import ShowProgress
from oncue.eval.table import TextTable, percent, timing_json, timing_table
from oncue.eval.timing import TimingCount, count_timing
from oncue.policy.open_policy import Policy
from oncue.scoring.spans import replies_outside
from oncue.types import Exchange, FrameSource, PolicySession, Question, TimedReply, TimeSpan
from oncue.video.source import FileSource
from oncue.world.clip import make_clip

FRAME_INTERVAL_S = 1.0
THRESHOLDS = tuple(round(0.25 * 1.25**k, 3) for k in range(25))  # grey levels, 0.25 to 53
COOLDOWNS_S = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0)
MODEL, SILENCE, TALK, DIFFERENCE = "model", "silence", "talk every turn", "frame difference"


def tune_on_world(
    world: str, num_clips: int, on_clip: Callable[[], None] = lambda: None
) -> TunedTrigger:
    """The frame-difference trigger with the best pooled F1 on the first training clips of a world.

    Raises ConfigError for an unknown world or no clips.
    """
    if num_clips < 1:
        raise ConfigError(f"tuning needs at least one clip, got {num_clips}")
    clock, labelled = Clock(FRAME_INTERVAL_S), []
    for index in range(num_clips):
        clip = make_clip(world, "train", index)
        labelled.append(
            label_clip(clip.grid_frames(clock), clock, [gold.span for gold in clip.task.gold])
        )
        on_clip()
    return tune(labelled, THRESHOLDS, COOLDOWNS_S)


def edges_of(tuned: TunedTrigger) -> list[str]:
    """Where the tuned trigger lies at the end of its grid, in words: a better one may lie
    beyond."""
    at_bound = []
    if tuned.trigger.threshold in (THRESHOLDS[0], THRESHOLDS[-1]):
        at_bound.append(f"threshold {tuned.trigger.threshold:g}")
    if tuned.trigger.cooldown_s == COOLDOWNS_S[-1]:
        at_bound.append(f"cool-down {tuned.trigger.cooldown_s:g} s")
    return at_bound


@dataclass(frozen=True, slots=True)
class WatchedItem:
    """What the model said about an item, and (clock_s, change of the picture) of every turn."""

    item: Item
    replies: tuple[TimedReply, ...]
    changes: tuple[tuple[float, float], ...]


async def watch_item(item: Item, source: FrameSource, session: PolicySession) -> WatchedItem:
    """Holds the dialogue of one item. The caller closes `source` and `session`."""
    meter, changes = ChangeMeter(), list[tuple[float, float]]()

    def measure(exchange: Exchange) -> None:
        changes.append((exchange.observed.clock_s, meter.change(exchange.observed.frames)))

    transcript = await watch(source, session, item.task, measure)
    return WatchedItem(item, transcript.replies, tuple(changes))


@dataclass(frozen=True, slots=True)
class ItemTiming:
    """One item: the count of each policy, and where the model (or the frame difference) fails."""

    watched: WatchedItem
    difference_times_s: tuple[float, ...]
    counts: Mapping[str, TimingCount]

    @property
    def missed(self) -> tuple[TimeSpan, ...]:
        """The spans in which the model said nothing."""
        return tuple(
            s
            for s in self.watched.item.spans
            if not any(r.time_s in s for r in self.watched.replies)
        )

    @property
    def false_replies(self) -> tuple[TimedReply, ...]:
        """What the model said in no span."""
        return replies_outside(self.watched.replies, self.watched.item.spans)

    def as_json(self) -> dict[str, Any]:
        item, count = self.watched.item, self.counts[MODEL]
        return {
            "question_id": item.task.task_id,
            "video": item.path.name,
            "question": item.gold_question,
            "asked": [q.text for q in item.task.questions],
            "asked_anew": item.asked_anew,
            "hit": count.num_hit,
            "false": count.num_false,
            "missed": count.num_missed,
            "f1": {name: percent(count.f1) for name, count in self.counts.items()},
            "missed_spans": [[span.start_s, span.end_s] for span in self.missed],
            "false_replies": [{"time_s": r.time_s, "text": r.text} for r in self.false_replies],
            "replies": [{"time_s": r.time_s, "text": r.text} for r in self.watched.replies],
            "frame_difference_times_s": list(self.difference_times_s),
        }


def time_item(watched: WatchedItem, tuned: TunedTrigger) -> ItemTiming:
    """Counts of the model and of what is compared with it on one item."""
    spans = watched.item.spans
    difference = tuned.trigger.times_of(watched.changes)
    counts = {
        MODEL: count_timing(watched.replies, spans),
        SILENCE: count_timing([], spans),
        TALK: count_timing([clock_s for clock_s, _ in watched.changes], spans),
        DIFFERENCE: count_timing(difference, spans),
    }
    return ItemTiming(watched, tuple(difference), counts)


@dataclass(frozen=True, slots=True)
class ClipScores:
    """All items, and how the frame-difference threshold was tuned."""

    model: str
    tuned: TunedTrigger
    tune_world: str
    tune_clips: int
    items: tuple[ItemTiming, ...]

    def counts(self, name: str) -> list[TimingCount]:
        return [item.counts[name] for item in self.items]

    def headline(self) -> dict[str, Any]:
        """The same as `numbers`."""
        return self.numbers()

    def numbers(self) -> dict[str, Any]:
        """Pooled counts and F1 in percent by policy, the tuned threshold, and every item."""
        trigger = self.tuned.trigger
        return {
            "model": self.model,
            "n_items": len(self.items),
            "f1": timing_json(self.counts(MODEL))["f1"],
            "silence_f1": timing_json(self.counts(SILENCE))["f1"],
            "talk_f1": timing_json(self.counts(TALK))["f1"],
            "frame_difference_f1": timing_json(self.counts(DIFFERENCE))["f1"],
            "policies": {name: timing_json(self.counts(name)) for name in self.items[0].counts},
            "frame_difference": {
                "threshold": trigger.threshold,
                "cooldown_s": trigger.cooldown_s,
                "tune_world": self.tune_world,
                "tune_clips": self.tune_clips,
                "tune_f1": percent(self.tuned.timing.f1),
                "at_edge_of_grid": edges_of(self.tuned),
            },
            "items": [item.as_json() for item in self.items],
        }

    def texts(self) -> dict[str, str]:
        """None: the numbers hold every reply."""
        return {}

    def tables(self) -> tuple[TextTable, ...]:
        """One row per policy, and one row per item."""
        return self.table(), self.item_table()

    def remarks(self) -> list[str]:
        """Where the model fails, and how the frame difference was tuned."""
        return [*self.failures(), *self.tuning()]

    def table(self) -> TextTable:
        """One row per policy."""
        named = {MODEL: f"{MODEL} ({self.model})"}
        rows = {named.get(name, name): self.counts(name) for name in self.items[0].counts}
        return timing_table(rows, "Timing of replies, 1 s per turn")

    def item_table(self) -> TextTable:
        """One row per item: the model's counts, and F1 in percent beside that of the frame
        difference."""
        rows = []
        for number, item in enumerate(self.items, 1):
            count = item.counts[MODEL]
            numbers = [str(n) for n in (count.num_hit, count.num_false, count.num_missed)]
            ratios = [_cell(percent(item.counts[name].f1)) for name in (MODEL, TALK, DIFFERENCE)]
            rows.append((f"{number} {item.watched.item.path.name}", *numbers, *ratios))
        header = ("item", "hit", "false", "missed", "F1 %", "talk F1 %", "difference F1 %")
        return TextTable("Items", header, tuple(rows))

    def failures(self) -> list[str]:
        """For people: per item what was asked, which spans were missed, which replies were
        false."""
        lines = []
        for number, item in enumerate(self.items, 1):
            watched = item.watched
            lines.append(f"{number} {watched.item.path.name}: {watched.item.gold_question}")
            if watched.item.asked_anew:
                lines.append(f"    asked instead: {watched.item.task.questions[0].text}")
            spans = ", ".join(f"{s.start_s:g}-{s.end_s:g} s" for s in item.missed)
            false = ", ".join(
                f"{r.time_s:g} s {' '.join(r.text.split())!r}" for r in item.false_replies
            )
            lines += [f"    missed: {spans or 'none'}", f"    false: {false or 'none'}"]
        return lines

    def tuning(self) -> list[str]:
        """For people: what the frame difference was tuned to, and where."""
        trigger, f1 = self.tuned.trigger, percent(self.tuned.timing.f1)
        return [
            f"frame difference: above {trigger.threshold:g} grey levels, at most every "
            f"{trigger.cooldown_s:g} s;",
            f"    tuned on {self.tune_clips} training clips of {self.tune_world}, F1 {_cell(f1)} % "
            "there",
            *(f"    the best {edge} lies at the end of its grid" for edge in edges_of(self.tuned)),
        ]


class Clips:
    """The benchmark: `items`, one at a time, and a frame difference tuned on the first `tune_clips`
    training clips of `tune_world`."""

    num_at_once = 1
    text_files: tuple[str, ...] = ()

    def __init__(self, items: Sequence[Item], tune_world: str, tune_clips: int) -> None:
        self._items, self._world, self._num_clips = items, tune_world, tune_clips
        self._tuned: TunedTrigger | None = None  # by `items`

    def check_name(self, name: str) -> None:
        """Any will do: what is compared with the model has rows of its own."""

    def questions(self) -> list[Question]:
        return [question for item in self._items for question in item.task.questions]

    def items(self, show: ShowProgress) -> Sequence[Item]:
        with show(f"tuning on {self._world}", self._num_clips) as steps:
            self._tuned = tune_on_world(self._world, self._num_clips, steps.step)
        return self._items

    async def watch(self, item: Item, policy: Policy[PolicySession]) -> WatchedItem:
        with (
            closing(FileSource(item.path, FRAME_INTERVAL_S)) as source,
            closing(policy.open(item.task)) as session,
        ):
            return await watch_item(item, source, session)

    async def score(
        self,
        name: str,
        items: Sequence[Item],  # noqa: ARG002
        seen: Sequence[WatchedItem],
    ) -> ClipScores:
        assert self._tuned is not None
        tuned = self._tuned
        timed = tuple(time_item(watched, tuned) for watched in seen)
        return ClipScores(name, tuned, self._world, self._num_clips, timed)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
