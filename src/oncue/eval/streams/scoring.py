"""Scoring predictions: item by item, in constant memory, with the blind policies beside them."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from oncue.errors import DataError
from oncue.eval.streams.behaviour import PREFIX, behaviour_figures, behaviour_terms
from oncue.eval.streams.benchmark import (
    BlindRow,
    BySubset,
    Figures,
    ItemScore,
    StreamBenchmark,
)
from oncue.eval.streams.predictions import Placed, PredictionFile
from oncue.eval.streams.stream import GoldT, Item, Prediction, Stream
from oncue.eval.streams.tally import Tally
from oncue.scoring.grader import Grader

NUM_AT_ONCE = 64  # items whose replies are graded together
NUM_SHOWN = 100  # items that a page shows, worst first
PAST_END_S = 4.0  # a last turn may end after the video: by up to two frames at 2 s each


@dataclass(frozen=True, slots=True)
class ShownItem:
    """An item for people: what was due, what was said, what became of it."""

    stream: Stream
    score: ItemScore


@dataclass(frozen=True, slots=True)
class Row:
    """The score of one policy over all items. `num_missing`: items without a prediction (see
    `Card.missing`). `shown`: the worst items, by `ItemScore.worth`. `num_unknown`: predictions that
    were passed over, since the annotations do not have their item. `knows_texts`: see
    `BlindRow`."""

    name: str
    tally: Tally
    figures: Figures
    behaviour: Figures
    num_items: int
    num_missing: int = 0
    shown: tuple[ShownItem, ...] = ()
    num_unknown: int = 0
    knows_texts: bool = False

    @property
    def label(self) -> str:
        """What a table calls it: one that knows the right texts is no rival, and says so."""
        return f"{self.name} (knows the right texts)" if self.knows_texts else self.name


@dataclass
class _Worst:
    """Keeps the `NUM_SHOWN` items of least worth."""

    heap: list[tuple[float, int, ShownItem]] = field(default_factory=list)
    number: Iterator[int] = field(default_factory=itertools.count)

    def offer(self, item: ShownItem) -> None:
        if item.score.worth is None:
            return
        entry = (-item.score.worth, -next(self.number), item)
        if len(self.heap) < NUM_SHOWN:
            heapq.heappush(self.heap, entry)
        else:
            heapq.heappushpop(self.heap, entry)

    def items(self) -> tuple[ShownItem, ...]:
        """Worst first."""
        return tuple(item for _, _, item in sorted(self.heap, key=lambda e: (-e[0], -e[1])))


async def score_predictions(
    benchmark: StreamBenchmark[GoldT],
    items: Sequence[Item[GoldT]],
    predictions: Iterable[Placed],
    grader: Grader | None,
    name: str,
    on_item: Callable[[Item[GoldT], Prediction, ItemScore], None] = lambda *_: None,
    *,
    skip_unknown: bool = False,
) -> Row:
    """The score of `predictions`, one pass over them. `on_item` is called with each item as it is
    scored; its terms then have those of behaviour, too. `skip_unknown` passes over predictions of
    unknown items, and counts them.

    Raises DataError, with the place, for an item that is unknown or was there before, and for a
    reply outside its video; for two items of one id; and what the grader raises.
    """
    by_id = _by_id(items)
    seen: dict[str, str] = {}
    tally, worst = Tally(), _Worst()

    async def add(pairs: Sequence[tuple[Item[GoldT], Prediction]]) -> None:
        scores = await asyncio.gather(*(benchmark.score(i, p, grader) for i, p in pairs))
        for (item, said), score in zip(pairs, scores, strict=True):
            whole = replace(score, terms={**score.terms, **behaviour_terms(item.stream, said)})
            tally.add(item.stream.video, item.stream.subset, whole.terms)
            worst.offer(ShownItem(item.stream, whole))
            on_item(item, said, whole)

    num_unknown = 0

    def placed() -> Iterator[tuple[Item[GoldT], Prediction]]:
        nonlocal num_unknown
        for where, said in predictions:
            if skip_unknown and said.item_id not in by_id:
                num_unknown += 1
            else:
                yield _item_of(by_id, seen, where, said), said

    for chunk in _chunks(placed(), NUM_AT_ONCE):
        await add(chunk)
    unsaid = [item for item in items if item.stream.item_id not in seen]
    for some in _chunks(((i, _missing(i)) for i in unsaid), NUM_AT_ONCE):
        await add(some)
    row = row_of(benchmark, name, tally, len(items), len(unsaid), worst.items())
    return replace(row, num_unknown=num_unknown)


def items_of(
    benchmark: StreamBenchmark[GoldT], annotations: Sequence[Path]
) -> Sequence[Item[GoldT]]:
    """The items of a benchmark. Raises DataError where the files hold none."""
    items = benchmark.items(annotations)
    if not items:
        raise DataError(
            f"{', '.join(map(str, annotations))}: no item of {benchmark.card.name} is in there; "
            "give its annotation files, and the variant that they are for"
        )
    return items


def items_run(file: PredictionFile, items: Sequence[Item[GoldT]]) -> Sequence[Item[GoldT]]:
    """Those of `items` that were run, as the file says; all where it does not.

    Raises DataError for one that the annotations do not have or that is named twice, and where
    none was run.
    """
    if file.items is None:
        return items
    if not file.items or len(set(file.items)) < len(file.items):
        raise DataError(
            f"{file.path}, line 1: 'items' must name the items that were run, each once"
        )
    by_id = {item.stream.item_id: item for item in items}
    if unknown := [item_id for item_id in file.items if item_id not in by_id]:
        raise DataError(
            f"{file.path}, line 1: no item is called {unknown[0]!r}; give the annotations that it "
            "was made for"
        )
    return [by_id[item_id] for item_id in file.items]


async def score_blind(
    benchmark: StreamBenchmark[GoldT],
    items: Sequence[Item[GoldT]],
    row: BlindRow[GoldT],
    grader: Grader | None,
) -> Row:
    """The score of a policy that sees no frame."""
    said = (("", row.predict(item)) for item in items)
    scored = await score_predictions(benchmark, items, said, grader, row.name)
    return replace(scored, num_missing=0, shown=(), knows_texts=row.knows_texts)


def row_of(
    benchmark: StreamBenchmark[Any],
    name: str,
    tally: Tally,
    num_items: int,
    num_missing: int = 0,
    shown: tuple[ShownItem, ...] = (),
) -> Row:
    """A row from its sums."""
    sums = tally.sums()
    return Row(
        name,
        tally,
        benchmark.figures(own_terms(sums)),
        behaviour_figures(behaviour_sums(sums)),
        num_items,
        num_missing,
        shown,
    )


def own_terms(sums: BySubset) -> BySubset:
    """Without the terms of behaviour, which every benchmark has."""
    return {
        subset: {name: value for name, value in terms.items() if not name.startswith(PREFIX)}
        for subset, terms in sums.items()
    }


def behaviour_sums(sums: BySubset) -> Mapping[str, float]:
    """The terms of behaviour over all subsets."""
    total: dict[str, float] = {}
    for terms in sums.values():
        for name, value in terms.items():
            if name.startswith(PREFIX):
                total[name] = total.get(name, 0.0) + value
    return total


def _by_id(items: Sequence[Item[GoldT]]) -> dict[str, Item[GoldT]]:
    by_id: dict[str, Item[GoldT]] = {}
    for item in items:
        if by_id.setdefault(item.stream.item_id, item) is not item:
            raise DataError(
                f"the annotations have two items called {item.stream.item_id!r}; give each item in "
                "one file only"
            )
    return by_id


def _item_of(
    by_id: Mapping[str, Item[GoldT]], seen: dict[str, str], where: str, said: Prediction
) -> Item[GoldT]:
    item = by_id.get(said.item_id)
    if item is None:
        raise DataError(
            f"{where}: no item is called {said.item_id!r}; the annotations have "
            f"{next(iter(by_id), 'none')!r} and others. Give the annotations that it was made for"
        )
    if said.item_id in seen:
        raise DataError(
            f"{where}: {said.item_id!r} has a prediction already ({seen[said.item_id]}); keep one"
        )
    seen[said.item_id] = where
    known = item.stream.duration_s is not None
    end_s = item.stream.duration_s if known else item.stream.end_s
    watched_until_s = item.stream.start_s + said.watched_s  # a last turn of many seconds ends then
    for reply in said.replies:
        if end_s is not None and reply.time_s > max(end_s + PAST_END_S, watched_until_s):
            ends = "its video ends at" if known else "its video is watched only to"
            raise DataError(
                f"{where}: {said.item_id!r} has a reply at {reply.time_s:g} s, but {ends} "
                f"{end_s:g} s; times are seconds of the video"
            )
    return item


def _missing(item: Item[Any]) -> Prediction:
    return Prediction(item.stream.item_id, is_missing=True)


def _chunks(pairs: Iterable[Any], size: int) -> Iterator[list[Any]]:
    whole = iter(pairs)
    while chunk := list(itertools.islice(whole, size)):
        yield chunk
