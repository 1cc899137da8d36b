"""What may be asked about a scene, the replies that are due, and the exact judge of what was said.

A reply names the side first ("Left: red square appears."): the side is then decided at the first
token of a reply, at a fixed distance from the frame, which is what a model of a few million
parameters can learn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oncue.errors import ConfigError, InputError
from oncue.types import GoldTurn, Question, Task, TimeSpan
from oncue.world.scene import NAMELESS, SIDES, Event, Scene
from oncue.world.shapes import COLOURS, FORMS

VERBS = {"appears": "appears", "leaves": "leaves", "moves": "moves here"}

# The wordings of each kind of question; {x} is a colour or a side.
WORDINGS: dict[str, tuple[str, ...]] = {
    "appears": ("Tell me whenever something appears.", "Say when something new comes in."),
    "leaves": ("Tell me whenever something leaves.", "Say when something goes away."),
    "moves": (
        "Tell me whenever something moves to the other side.",
        "Say when something changes sides.",
    ),
    "changes": ("Tell me whenever something changes colour.", "Say when a colour changes."),
    "count": (
        "How many things are there? Tell me whenever it changes.",
        "Count the things and tell me each new number.",
    ),
    "all": ("Tell me everything that happens.", "Say what happens as it happens."),
    "look": ("Tell me whenever something {x} appears.", "Say when something {x} comes in."),
    "side": (
        "Tell me whenever something appears on the {x}.",
        "Say when something comes in on the {x}.",
    ),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """One question put to a scene: its kind, the colour or side it is limited to, and its
    wording."""

    kind: str
    limit: str = ""
    wording: int = 0

    @property
    def text(self) -> str:
        return WORDINGS[self.kind][self.wording].format(x=self.limit)


# What {x} may be, by kind of question.
LIMITS: dict[str, tuple[str, ...]] = {"look": tuple(COLOURS), "side": SIDES}
_WISHES = {
    wish.text: wish
    for kind, wordings in WORDINGS.items()
    for limit in LIMITS.get(kind, ("",))
    for wish in (Wish(kind, limit, i) for i in range(len(wordings)))
}


def wish_of(text: str) -> Wish:
    """The wish whose `text` this is. Raises InputError for a question that no world asks."""
    if text not in _WISHES:
        raise InputError(
            f"no world asks {text!r}; expected a wording of oncue.world.questions.WORDINGS"
        )
    return _WISHES[text]


def askable(kinds: Mapping[str, float], looks: tuple[str, ...]) -> dict[str, float]:
    """The weights `kinds` without those of questions that a world without `looks` cannot be asked.

    Raises ConfigError for weights of which none can be drawn.
    """
    known = [kind for kind in WORDINGS if kind != "look" or looks]
    asked = {kind: kinds[kind] for kind in kinds if kind in known}
    fine = set(kinds) <= set(WORDINGS) and all(weight >= 0 for weight in asked.values())
    if not fine or not 0 < sum(asked.values()) < math.inf:
        raise ConfigError(
            f"question_kinds must give weights, one above 0, to some of {', '.join(known)}; got "
            f"{dict(kinds)}"
        )
    return asked


def draw_wish(kinds: Mapping[str, float], looks: tuple[str, ...], rng: np.random.Generator) -> Wish:
    """A question of a kind drawn by the weights `kinds` (see `askable`), with its limit and wording
    drawn evenly."""
    weights = askable(kinds, looks)
    odds = np.array(list(weights.values()), float)
    kind = str(rng.choice(list(weights), p=odds / odds.sum()))
    limits = looks if kind == "look" else LIMITS.get(kind, ("",))
    return Wish(kind, str(rng.choice(limits)), int(rng.integers(len(WORDINGS[kind]))))


def answer(wish: Wish, event: Event) -> str | None:
    """What should be said about `event` by someone asked `wish`; None for nothing."""
    if event.kind == "cut":
        return None
    if wish.kind == "count":
        return f"Now {event.count}." if event.kind in ("appears", "leaves") else None
    if wish.kind in ("look", "side"):
        if event.kind != "appears":
            return None
        matches = (
            event.side == wish.limit if wish.kind == "side" else wish.limit in event.name.split()
        )
        return describe(event) if matches else None
    return describe(event) if wish.kind in ("all", event.kind) else None


def first_answer(wish: Wish, events: Sequence[Event]) -> str | None:
    """What should be said by someone asked `wish` who notices all `events` at once: the answer to
    the first that has one; None for nothing. Where as many things appear as leave, their number is
    not new.
    """
    kinds = [event.kind for event in events]
    if wish.kind == "count" and kinds.count("appears") == kinds.count("leaves"):
        return None
    return next((text for event in events if (text := answer(wish, event)) is not None), None)


def describe(event: Event) -> str:
    """The full sentence for one event."""
    verb = f"turns {event.detail}" if event.kind == "changes" else VERBS[event.kind]
    return f"{event.side.capitalize()}: {event.name} {verb}."


def vocabulary() -> list[str]:
    """Every kind of sentence of this world, often enough that a small tokenizer learns its
    words."""
    colours, forms = list(COLOURS), list(FORMS)
    asked = [
        w.format(x=x)
        for wordings in WORDINGS.values()
        for w in wordings
        for x in (*colours, *SIDES)
    ]
    names = [f"{colour} {form}" for colour in colours for form in forms] + [NAMELESS]
    told = [
        describe(Event(kind, 0.0, side, name, detail))
        for side in SIDES
        for name in names
        for kind, detail in [(verb, "") for verb in VERBS]
        + [("changes", colour) for colour in colours]
    ]
    return [*asked, *told, *[f"Now {count}." for count in range(10)] * 20]


def gold_turns(
    scene: Scene, wish: Wish, from_s: float, until_s: float, spans_s: np.ndarray
) -> list[GoldTurn]:
    """The replies due to `wish` while it is the open question, from `from_s` up to `until_s`.

    `spans_s[i]` is how long event i may be answered at most. A span ends one frame before the next
    answer is due. An event so shortly before the next question that no second is left for its
    answer loses it (paper section 3).
    """
    due = [
        (event, text, float(span_s))
        for event, span_s in zip(scene.events, spans_s, strict=True)
        if from_s <= event.visible_s < until_s and (text := answer(wish, event)) is not None
    ]
    frame_s = 1 / scene.frame_rate
    turns = []
    for i, (event, text, span_s) in enumerate(due):
        next_s = due[i + 1][0].visible_s - frame_s if i + 1 < len(due) else scene.duration_s
        close_s = until_s - frame_s if until_s < scene.duration_s else scene.duration_s
        if until_s < scene.duration_s and close_s - event.visible_s < 1.0:
            continue
        span = TimeSpan(event.visible_s, min(event.visible_s + span_s, next_s, close_s))
        turns.append(GoldTurn(text, span, wish.text, visible_s=event.visible_s, related_span=span))
    return turns


def draw_task(
    scene: Scene,
    task_id: str,
    kinds: dict[str, float],
    looks: tuple[str, ...],
    rng: np.random.Generator,
) -> Task:
    """One question at the start, or later, or two of which the second replaces the first."""
    plan = rng.random()
    starts_s = [0.0]
    if plan < 0.12:
        starts_s = [float(rng.integers(1, max(2, int(scene.duration_s / 2))))]
    elif plan < 0.27 and scene.duration_s >= 6:
        starts_s = [0.0, float(rng.integers(2, max(3, int(scene.duration_s - 2))))]
    spans_s = rng.uniform(3.0, 6.0, size=len(scene.events))
    questions, gold = [], []
    for start_s, end_s in zip(starts_s, [*starts_s[1:], scene.duration_s], strict=True):
        wish = draw_wish(kinds, looks, rng)
        questions.append(Question(wish.text, start_s))
        gold += gold_turns(scene, wish, start_s, end_s, spans_s)
    return Task(task_id, tuple(questions), tuple(gold), scene.duration_s)


def exact_level(gold: str, reply: str) -> int:
    """How well a reply covers the gold reply, by comparing their parts.

    2: the same sentence. 1: the same verb (and new colour), and either the side or a telling name
    right. "something" names nothing, so a reply about it that has the wrong side is worth nothing.
    0: anything else.
    """
    if reply.strip() == gold.strip():
        return 2
    wanted, said = _parts(gold), _parts(reply)
    if wanted is None or said is None or wanted[2] != said[2]:
        return 0
    name_counts = wanted[1] != NAMELESS
    return 1 if wanted[0] == said[0] or (name_counts and wanted[1] == said[1]) else 0


def _parts(sentence: str) -> tuple[str, str, str] | None:
    """(side, name, verb phrase) of a reply of this world's grammar, or None."""
    side, colon, rest = sentence.strip().rstrip(".").partition(": ")
    if not colon:
        return None
    words = rest.split()
    split = next(
        (i for i, word in enumerate(words) if word in ("appears", "leaves", "moves", "turns")), None
    )
    if not split:
        return None
    return side, " ".join(words[:split]), " ".join(words[split:])
