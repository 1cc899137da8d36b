"""How a policy behaves on streams, whatever the benchmark: how soon it replies, how often without
cause, how much it speaks.

Terms of `ItemScore` that add up, and the figures of their sums.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from oncue.eval.streams.benchmark import Figures, Terms
from oncue.eval.streams.stream import Prediction, Stream
from oncue.eval.table import percent, rounded
from oncue.scoring.spans import covered_s, replies_in, replies_outside
from oncue.types import Task, TimedReply

PREFIX = "behaviour."
RATES = (  # the figures that two policies can be compared by
    *("hit_spans", "first_reply_delay_s", "false_per_quiet_hour", "replies_per_min"),
    "silence_share",
)

# Lower ends, in seconds, of the groups that delays are counted in
_DELAYS_S = (-math.inf, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 40.0)


@dataclass(frozen=True, slots=True)
class DelayCount:
    """How many first replies came from `from_s` to before `until_s`, seconds after what is due can
    be seen. Below 0: in its span, but before that."""

    from_s: float
    until_s: float
    num: int

    @property
    def name(self) -> str:
        """Such as "2-3"."""
        if self.from_s == -math.inf:
            return f"<{self.until_s:g}"
        return (
            f"{self.from_s:g}+" if self.until_s == math.inf else f"{self.from_s:g}-{self.until_s:g}"
        )


def behaviour_terms(stream: Stream, said: Prediction) -> Terms:
    """The terms of one item. A reply in no span of `stream.due` is false; the rest of the watched
    time is quiet.

    A last turn may end on the clock after the stream does: its reply counts as one at the end.
    """
    spans = [gold.span for gold in stream.due]
    known_s = stream.watched_s
    watched_s = said.watched_s or known_s or 0.0
    if known_s is not None:
        watched_s = min(watched_s, known_s)
    until_s = stream.start_s + watched_s
    replies = said.replies
    if known_s is not None:
        replies = tuple(TimedReply(min(r.time_s, until_s), r.text) for r in replies)
    before_s = covered_s(spans, stream.start_s)
    first = [replies_in(replies, span)[:1] for span in spans]
    visible = [g.span.start_s if g.visible_s is None else g.visible_s for g in stream.due]
    delays = [r[0].time_s - s for r, s in zip(first, visible, strict=True) if r]
    terms = {
        "num_items": 1.0,
        "watched_s": watched_s,
        "quiet_s": watched_s - (covered_s(spans, until_s) - before_s),
        "num_replies": float(len(said.replies)),
        "num_false": float(len(replies_outside(replies, spans))),
        "num_due": float(len(spans)),
        "num_hit": float(len(delays)),
        "delay_s": sum(delays),
        "num_turns": float(said.num_turns),
        "num_silent": float(said.num_silent),
    }
    for delay_s in delays:
        name = _delay_term(bisect_right(_DELAYS_S, delay_s) - 1)
        terms[name] = terms.get(name, 0.0) + 1.0
    return {PREFIX + name: value for name, value in terms.items()}


def behaviour_of(task: Task, replies: tuple[TimedReply, ...], watched_s: float) -> Terms:
    """The terms of a dialogue that is no item of a benchmark of proactive models."""
    stream = Stream(task.task_id, "", task.questions, task.gold, duration_s=task.duration_s)
    return behaviour_terms(stream, Prediction(task.task_id, replies, watched_s))


def behaviour_figures(sums: Terms) -> Figures:
    """The figures of the sums over all items; None where nothing is known."""
    total = {name.removeprefix(PREFIX): value for name, value in sums.items()}
    return {
        "hit_spans": percent(_ratio(total["num_hit"], total["num_due"])),
        "first_reply_delay_s": rounded(_ratio(total["delay_s"], total["num_hit"]), 3),
        "false_per_quiet_hour": rounded(_ratio(3600 * total["num_false"], total["quiet_s"]), 3),
        "replies_per_min": rounded(_ratio(60 * total["num_replies"], total["watched_s"]), 3),
        "silence_share": percent(_ratio(total["num_silent"], total["num_turns"])),
        "n_replies": round(total["num_replies"]),
        "n_false": round(total["num_false"]),
        "watched_s": rounded(total["watched_s"], 3),
    }


def delay_counts(sums: Terms) -> tuple[DelayCount, ...]:
    """How the delays of first replies are distributed, from the sums over all items."""
    ends_s = (*_DELAYS_S[1:], math.inf)
    return tuple(
        DelayCount(from_s, until_s, round(sums.get(PREFIX + _delay_term(number), 0.0)))
        for number, (from_s, until_s) in enumerate(zip(_DELAYS_S, ends_s, strict=True))
    )


def _delay_term(number: int) -> str:
    return f"delays_{number}"


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator > 0 else None
