"""Rules by which rows are left out. A row is kept whole or left out whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from oncue.data.proactive_rows import ProactiveRow
from oncue.data.quality.duplicates import normalised
from oncue.data.quality.leaks import leaking_by_words
from oncue.data.quality.turn_grid import TurnGrid
from oncue.errors import ConfigError

Why = Callable[[ProactiveRow], Awaitable[str]]  # why a row is left out, "" for a row that is kept


async def _nothing() -> None:
    """Closes what has no connection."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A rule with its name. `aclose` ends the connections of a rule that asks a model."""

    name: str
    why: Why
    aclose: Callable[[], Coroutine[Any, Any, None]] = _nothing


@dataclass(frozen=True, slots=True)
class Limits:
    """What a row must keep to; None sets no limit. `duplicates`: rows with two answers that are the
    same, exactly or but for case, punctuation and articles. `leaks`: rows with an answer that says
    what cannot be seen yet, found by words (`oncue.data.quality.leaks`). Raises ConfigError for
    limits that nothing keeps to."""

    duplicates: Literal["exact", "near"] | None = None
    min_span_s: float | None = None
    max_span_s: float | None = None
    min_answers: int | None = None
    min_silence: float | None = None
    max_silence: float | None = None
    leaks: bool = False

    def __post_init__(self) -> None:
        for name in ("span_s", "silence"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if low is not None and high is not None and low > high:
                raise ConfigError(f"no row has min_{name} {low:g} and max_{name} {high:g}")

    def filters(self, grid: TurnGrid) -> list[Filter]:
        """Those that are set, in the order of the fields."""
        rules: list[tuple[str, bool, Callable[[ProactiveRow], str]]] = [
            ("duplicate_answers", self.duplicates is not None, self._duplicates),
            ("short_span", self.min_span_s is not None, self._short),
            ("long_span", self.max_span_s is not None, self._long),
            ("few_answers", self.min_answers is not None, self._few),
            ("silence", self._bounds_silence, lambda row: self._silence(row, grid)),
            ("leak", self.leaks, leaking_by_words),
        ]
        return [Filter(name, _at_once(rule)) for name, is_set, rule in rules if is_set]

    @property
    def _bounds_silence(self) -> bool:
        return (self.min_silence, self.max_silence) != (None, None)

    def _duplicates(self, row: ProactiveRow) -> str:
        form = normalised if self.duplicates == "near" else str.strip
        seen: dict[str, int] = {}
        for number, gold in enumerate(row.task.gold, 1):
            first = seen.setdefault(form(gold.content), number)
            if first != number:
                return f"gold {number} says the same as gold {first}: {gold.content!r:.80}"
        return ""

    def _short(self, row: ProactiveRow) -> str:
        return _span(row, lambda length_s: length_s < (self.min_span_s or 0), "less than the least")

    def _long(self, row: ProactiveRow) -> str:
        largest_s = self.max_span_s
        return _span(
            row,
            lambda length_s: largest_s is not None and length_s > largest_s,
            "more than the most",
        )

    def _few(self, row: ProactiveRow) -> str:
        num = len(row.task.gold)
        return f"it has {num} answers" if num < (self.min_answers or 0) else ""

    def _silence(self, row: ProactiveRow, grid: TurnGrid) -> str:
        num_turns = grid.num_turns(row.task)
        share = 1 - len(grid.reply_turns(row.task)) / num_turns
        low = 0.0 if self.min_silence is None else self.min_silence
        high = 1.0 if self.max_silence is None else self.max_silence
        if low <= share <= high:
            return ""
        return f"{share:.1%} of its {num_turns} turns are silent"


def _span(row: ProactiveRow, is_wrong: Callable[[float], bool], how: str) -> str:
    for number, gold in enumerate(row.task.gold, 1):
        if is_wrong(gold.span.duration_s):
            return f"the span of gold {number} has {gold.span.duration_s:g} s, {how}"
    return ""


def _at_once(rule: Callable[[ProactiveRow], str]) -> Why:
    async def why(row: ProactiveRow) -> str:
        return rule(row)

    return why
