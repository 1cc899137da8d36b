"""All that `oncue eval` can score: what it measures, what it needs, and what is known to be wrong
with it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin, get_type_hints

from oncue.errors import ConfigError
from oncue.eval.benchmarks.known import KNOWN, known_benchmark
from oncue.eval.benchmarks.own_cards import CLIPS, MCQ, WORLD
from oncue.eval.streams.benchmark import Card

_WIDTH, _INDENT = 96, 14


@dataclass(frozen=True, slots=True)
class Variant:
    """A named choice of a benchmark, a flag of its command. `choices`: empty where it is no matter
    of words."""

    name: str
    default: Any
    choices: tuple[str, ...]
    meaning: str

    def text(self, *, whole: bool) -> str:
        """The flag and its default; `whole` with its choices and what it means."""
        flag = f"--{self.name.replace('_', '-')}"
        if not whole:
            return f"{flag} {self.default}"
        choices = f" ({' | '.join(self.choices)})" if self.choices else ""
        meaning = f": {self.meaning}" if self.meaning else ""
        return f"{flag}{choices}, by default {self.default}{meaning}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A benchmark, and the names of its headlines and variants."""

    card: Card
    headlines: tuple[str, ...]
    variants: tuple[Variant, ...] = ()
    needs_judge: bool = False

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            **asdict(self.card),
            "command": f"oncue eval {self.card.name}",
            "headlines": list(self.headlines),
            "variants": [asdict(variant) for variant in self.variants],
            "needs_judge": self.needs_judge,
        }

    def lines(self, *, whole: bool) -> Iterator[str]:
        """For people. Not `whole`: without published rows, and without what variants mean."""
        card = self.card
        yield f"{card.name}: {card.title}"
        for name in ("measures", "data", "licence", "source"):
            yield from _paragraph(name, getattr(card, name))
        yield from _paragraph("headlines", ", ".join(self.headlines))
        if self.needs_judge:
            yield from _paragraph("judge", "needed (--judge)")
        if whole:
            for variant in self.variants:
                yield from _paragraph("variant", variant.text(whole=True))
        elif self.variants:
            texts = [variant.text(whole=False) for variant in self.variants]
            yield from _paragraph("variants", "; ".join(texts))
        for defect in card.defects:
            yield from _paragraph("defect", defect)
        for row in card.published if whole else ():
            figures = ", ".join(f"{name} {value:g}" for name, value in row.figures.items())
            yield from _paragraph(
                "published", f"{row.who}: {figures}; protocol: {row.protocol}; from {row.source}"
            )


_OTHERS = (
    Entry(WORLD, ("PAUC at omega 0, 0.5, 1", "duplicates", "hit turns", "first reply delay")),
    Entry(CLIPS, ("F1", "precision", "recall", "mean F1")),
    Entry(MCQ, ("accuracy", "accuracy by length", "accuracy by kind of question")),
)


def entries() -> tuple[Entry, ...]:
    """All of them, the benchmarks of proactive models first."""
    return (*(_known_entry(name) for name in KNOWN), *_OTHERS)


def entry(name: str) -> Entry:
    """The one of that name. Raises ConfigError for another name."""
    found = {each.card.name: each for each in entries()}
    if name not in found:
        raise ConfigError(f"no benchmark is called {name!r}; expected one of {', '.join(found)}")
    return found[name]


def _known_entry(name: str) -> Entry:
    benchmark = known_benchmark(name)
    return Entry(
        benchmark.card,
        tuple(headline.name for headline in benchmark.headlines),
        tuple(_variants(benchmark)),
        benchmark.needs_grader,
    )


def _variants(benchmark: Any) -> Iterator[Variant]:
    """The fields of a benchmark, with the values that they have in it."""
    kind = type(benchmark)
    hints, meanings = get_type_hints(kind), _field_docs(kind)
    for field in fields(kind):
        hint = hints[field.name]
        choices = tuple(map(str, get_args(hint))) if get_origin(hint) is Literal else ()
        default = getattr(benchmark, field.name)
        yield Variant(field.name, default, choices, meanings.get(field.name, ""))


def _field_docs(kind: type) -> dict[str, str]:
    """The text under each field of a class."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(node, ast.ClassDef)
    found = {}
    for field, below in pairwise(node.body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            value = getattr(below.value, "value", None)
            if isinstance(field.target, ast.Name) and isinstance(value, str):
                found[field.target.id] = " ".join(value.split())
    return found


def _paragraph(name: str, text: str) -> Iterator[str]:
    """A named text, its lines below each other."""
    yield from textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"  {name}".ljust(_INDENT),
        subsequent_indent=" " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
