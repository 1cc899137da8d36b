"""The parts of an item's score in InteractionBench: which reply answers which event, and whether it
says what the event asks for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean

from oncue.eval.benchmarks.interactionbench_items import AT_ONCE, Gold
from oncue.eval.benchmarks.interactionbench_text import (
    chosen_option,
    last_number,
    official_letter,
    overlap,
    strict_letter,
)
from oncue.eval.streams.benchmark import Mark
from oncue.eval.streams.ratios import ratio
from oncue.eval.streams.stream import Item
from oncue.scoring.grader import GradeKey, Grader, Rubric
from oncue.scoring.score import Unscored
from oncue.types import TimedReply

SEGMENTED = {"LCG", "BRC"}  # scored by what is said in each segment, whenever in it
RIGHT = Rubric(
    "interactionbench",
    0,
    1,
    "Someone watches a video and has asked an assistant a question, or to speak up at certain "
    "moments. Compare what the assistant said with the reference. 1: it gives all the information "
    "of the reference, in whatever words; more details do no harm, but numbers, directions and yes "
    "or no must agree. 0: some of that information is missing, or it says something else.",
)


@dataclass
class Matches:
    """Which reply answers which event. An event is answered by the first reply from a little before
    its time on, up to a little before the next event."""

    times_s: tuple[float, ...]
    first: dict[int, TimedReply] = field(default_factory=dict)
    verdicts: list[tuple[TimedReply, str]] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        replies: Sequence[TimedReply],
        events: Sequence[tuple[float, str]],
        tolerance_s: float,
    ) -> Matches:
        matches = cls(tuple(time_s for time_s, _ in events))
        for reply in replies:
            event = bisect_right(matches.times_s, reply.time_s + tolerance_s) - 1
            if event < 0:
                verdict = "premature"
            elif event in matches.first:
                verdict = "redundant"
            else:
                verdict, matches.first[event] = "match", reply
            matches.verdicts.append((reply, verdict))
        return matches

    def num(self, verdict: str) -> int:
        return sum(found == verdict for _, found in self.verdicts)

    @property
    def num_extra(self) -> int:
        return self.num("premature") + self.num("redundant")

    def timing_accuracy(self, delta_s: float) -> float:
        """0 to 100: events count less by the delay of their reply, and nothing without one."""
        delays = (max(0.0, reply.time_s - self.times_s[n]) for n, reply in self.first.items())
        earned = [max(0.0, 1.0 - delay_s / delta_s) for delay_s in delays]
        return _percent([*earned, *[0.0] * (len(self.times_s) - len(earned))])

    def terms(self) -> Mapping[str, float]:
        return {
            "num_events": len(self.times_s),
            "num_matched": len(self.first),
            "num_premature": self.num("premature"),
            "num_redundant": self.num("redundant"),
            "num_replies": len(self.verdicts),
            "num_extra": self.num_extra,
        }

    def marks(self) -> tuple[Mark, ...]:
        return tuple(Mark(reply, verdict) for reply, verdict in self.verdicts)


@dataclass
class Reader:
    """Reads whether a text says what an event asks for, 0 to 1: as scored, and corrected."""

    item: Item[Gold]
    grader: Grader | None
    num_unscored: int = 0

    async def read(self, event: int, time_s: float, text: str) -> tuple[float, float]:
        gold = self.item.gold
        if gold.options:
            choices = (
                chosen_option(text, gold.options, rule) for rule in (official_letter, strict_letter)
            )
            official, strict = (float(choice == gold.correct) for choice in choices)
            return official, strict
        wanted = gold.events[event][1]
        if self.grader is None:
            fit = overlap(wanted, text)
            return fit, fit
        if not wanted:
            return 0.0, 0.0
        key = GradeKey(self.item.stream.item_id, event, time_s)
        asked = self.item.stream.questions[0].text
        grade = await self.grader.grade(RIGHT, key, asked, wanted, text)
        if isinstance(grade, Unscored):
            self.num_unscored += 1
            return 0.0, 0.0
        return float(grade), float(grade)


def is_segmented(gold: Gold) -> bool:
    """Whether only what is said in each segment counts."""
    return gold.time_type != AT_ONCE and gold.capability in SEGMENTED


Pair = tuple[float | None, float | None]  # accuracy, 0 to 100: as scored, and corrected


async def matched(reader: Reader, matches: Matches) -> Pair:
    """The mean over events that a reply matches; 0 where none does."""
    read = [
        await reader.read(event, reply.time_s, reply.text)
        for event, reply in sorted(matches.first.items())
    ]
    if not read:
        return 0.0, 0.0
    official, corrected = (_percent(values) for values in zip(*read, strict=True))
    return official, corrected


async def segments(reader: Reader, replies: Sequence[TimedReply]) -> Pair:
    """The mean over all segments from one event to the next of how well all that was said in it
    fits; a segment in which nothing was said has 0."""
    events = reader.item.gold.events
    starts = [time_s for time_s, _ in events]
    end_s = max(reader.item.gold.duration_s, starts[-1]) + 1e-6
    read = []
    for event, (start_s, next_s) in enumerate(zip(starts, [*starts[1:], end_s], strict=True)):
        inside = [reply for reply in replies if start_s <= reply.time_s < next_s]
        if inside:
            text = " ".join(reply.text for reply in inside)
            read.append(await reader.read(event, inside[0].time_s, text))
        else:
            read.append((0.0, 0.0))
    official, corrected = (_percent(values) for values in zip(*read, strict=True))
    return official, corrected


def counts(gold: Gold, replies: Sequence[TimedReply], matches: Matches) -> Pair:
    """Whether the last number said is the final count. Corrected: the last number of the reply that
    matches the last event."""
    if gold.final_count is None:
        return None, None
    numbers = [n for reply in replies if (n := last_number(reply.text)) is not None]
    last = matches.first.get(len(gold.events) - 1)
    return (
        100.0 * bool(numbers and numbers[-1] == gold.final_count),
        100.0 * (last is not None and last_number(last.text) == gold.final_count),
    )


def values(
    gold: Gold,
    matches: Matches,
    spoke: bool,
    delta_s: float,
    accuracy: float | None,
    corrected: float | None,
) -> dict[str, float | None]:
    """The figures of an item, 0 to 100; None where undefined."""
    on_time = matches.timing_accuracy(delta_s)
    share = max(0.0, 1.0 - matches.num_extra / len(gold.events))
    quiet = round(100.0 * share, 1) if spoke else None
    timing = on_time if quiet is None else round(ratio(2 * on_time * quiet, on_time + quiet), 1)
    totals = [
        value
        if is_segmented(gold)
        else timing
        if value is None
        else round(mean((value, timing)), 1)
        for value in (accuracy, corrected)
    ]
    return {
        "total": totals[0],
        "accuracy": accuracy,
        "timing_accuracy": on_time,
        "silence_compliance": quiet,
        "timing": timing,
        "accuracy_corrected": corrected,
        "total_corrected": totals[1],
    }


def _percent(shares: Sequence[float]) -> float:
    """Their mean in percent, rounded as the official scorer does before it goes on."""
    return round(100.0 * mean(shares), 1)
