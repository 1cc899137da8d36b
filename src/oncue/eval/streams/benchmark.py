"""What a benchmark of proactive models is: items, a score for each, and figures of all of them.

The score of an item is a set of numbers that add up over items (`ItemScore.terms`), and the figures
are a function of the sums. So predictions of any length are scored in constant memory, and one
resampling of videos gives the interval of any figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, runtime_checkable

from oncue.eval.streams.stream import GoldT, Item, Prediction
from oncue.scoring.grader import Grader
from oncue.types import TimedReply

Terms = Mapping[str, float]  # numbers that add up over items
BySubset = Mapping[str, Terms]  # their sums over the items of each subset
Figures = dict[str, Any]  # nested by name; shares in percent, None where undefined


@dataclass(frozen=True, slots=True)
class Published:
    """A published row: whose, its figures by the names of `Headline`, and how they were made.

    `protocol` says what is known: judge, frames, denominator. Never compare across protocols.
    """

    who: str
    figures: Mapping[str, float]
    protocol: str
    source: str


@dataclass(frozen=True, slots=True)
class Card:
    """What a user must know of a benchmark before a number of it means anything.

    `measures`: what it scores, in a sentence. `data`: which files it needs, and where they come
    from. `source`: the paper, and the scorer that the numbers equal. `defects`: known faults of the
    official scorer or of the gold, one sentence each. `missing`: what becomes of items without a
    prediction. `skips_unknown`: the official scorer passes over predictions of items that the
    annotations do not have, and so does `--format official`.
    """

    name: str
    title: str
    measures: str
    data: str
    licence: str
    source: str
    defects: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    missing: str = "count as silence"
    skips_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Headline:
    """A figure of the table for people: its name, and its path in `Figures`. Higher is better."""

    name: str
    path: tuple[str, ...]

    def of(self, figures: Figures) -> float | None:
        """The figure; None where it is undefined or its subset is missing."""
        found: Any = figures
        for step in self.path:
            found = found.get(step) if isinstance(found, Mapping) else None
        return found


@dataclass(frozen=True, slots=True)
class Mark:
    """What became of a reply, in a word or two: "right", "early", "in no span", "unscored", ..."""

    reply: TimedReply
    verdict: str


@dataclass(frozen=True, slots=True)
class ItemScore:
    """The score of one item.

    `terms` add up over items. `marks`: every reply, for people. `worth`, 0 to 1, sorts the items of
    a page, worst first; None: this item has none.
    """

    terms: Terms
    marks: tuple[Mark, ...] = ()
    worth: float | None = None


@dataclass(frozen=True, slots=True)
class BlindRow(Generic[GoldT]):
    """A policy that sees no frame: its name, and what it says to an item.

    `needs_grader`: its replies must be judged, so it is left out where a judge on a server would
    have to be paid for that, and where judgements were recorded. `knows_texts`: it is given the
    right texts, so it shows what a score makes of timing, and is no bar for a headline.
    """

    name: str
    predict: Callable[[Item[GoldT]], Prediction]
    needs_grader: bool = False
    knows_texts: bool = False


class StreamBenchmark(Protocol[GoldT]):
    """A benchmark of proactive models; one file in `eval/benchmarks/`.

    An implementation is a frozen dataclass whose fields are its named variants; they become flags
    and stand beside every number. Its constants are in its file and nowhere else.
    """

    @property
    def card(self) -> Card: ...

    @property
    def headlines(self) -> Sequence[Headline]:
        """The columns of its table; the first is the headline."""
        ...

    @property
    def needs_grader(self) -> bool:
        """Whether somebody must grade replies."""
        ...

    def items(self, annotations: Sequence[Path]) -> Sequence[Item[GoldT]]:
        """What the annotation files hold, in order. Raises DataError with file and row."""
        ...

    def official(self, path: Path) -> Iterator[tuple[str, Prediction]]:
        """Predictions in the benchmark's official output format, each with its place (file and row)
        for messages. Raises ConfigError for a benchmark that has none."""
        ...

    async def score(self, item: Item[GoldT], said: Prediction, grader: Grader | None) -> ItemScore:
        """The score of one item. `grader` is None just where the benchmark needs none."""
        ...

    def figures(self, sums: BySubset) -> Figures:
        """The figures of the sums of all items, by subset."""
        ...

    def blind_rows(self) -> Sequence[BlindRow[GoldT]]:
        """Policies without frames that every number is printed beside, silence first."""
        ...


@runtime_checkable
class RemarkingBenchmark(Protocol):
    """A benchmark with more to say about its figures than its table."""

    def remarks(self, figures: Figures) -> list[str]:
        """Lines for people."""
        ...
