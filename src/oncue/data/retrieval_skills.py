"""Written dialogues that teach what retrieval is made of, but not where to look.

A film is shown in the very prompts of `RetrievalEnv`, so that a model learns from the tokens that
it will meet in rollouts. Skills:

shape    what a frame shows, by its number
colour   which colour a frame has, by its number
where    the number of a frame that shows a shape
answer   the question of the film, with the flash in view, and others beside it
look     the whole episode: ranges that are drawn blindly, and the answer where the flash is in view
found    an episode whose last range has the flash: only the answer is trained

No trained range depends on the film or on the question: `blind_range` sees neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from oncue.aio import completed
from oncue.clock import Clock
from oncue.data.dialogue_sources import Item, check_odds, with_noise
from oncue.env.retrieval import RetrievalEnv, RetrievalSettings
from oncue.errors import ConfigError
from oncue.setting_checks import require
from oncue.types import (
    Action,
    Answer,
    Dialogue,
    DialogueTurn,
    EnvTurn,
    FrameBatch,
    Question,
    Retrieve,
    StopReason,
    Task,
)
from oncue.video.pool import FramePool, spread
from oncue.video.pool_reader import Shrink
from oncue.world.long.film import LONGEST_S, SHORTEST_S, Film, Flash, check_films, make_film
from oncue.world.long.pictures import draw_pool

NO_SHAPE, NO_COLOUR = "nothing", "none"
SKILLS = ("shape", "colour", "where", "answer", "look", "found")


def shape_question(index: int) -> str:
    """What is asked in skill `shape`."""
    return f"Which shape is in frame {index}?"


def colour_question(index: int) -> str:
    """What is asked in skill `colour`."""
    return f"Which colour is in frame {index}?"


def where_question(shape: str) -> str:
    """What is asked in skill `where`."""
    return f"Which frame shows the {shape}?"


def blind_range(
    rng: np.random.Generator,
    shown: Sequence[int],
    leads: tuple[int, int],
    widths: tuple[int, int],
    num_frames: int,
) -> Retrieve:
    """A range that begins `leads[0]` to `leads[1]` frames before one of the `shown`, and has
    `widths[0]` to `widths[1]` frames, as far as there are any from 0 to `num_frames` - 1."""
    near = shown[int(rng.integers(len(shown)))]
    first = max(0, near - int(rng.integers(leads[0], leads[1] + 1)))
    width = int(rng.integers(widths[0], widths[1] + 1))
    return Retrieve(first, min(first + width, num_frames) - 1)


@dataclass(frozen=True, slots=True)
class RetrievalSkills:
    """An endless supply of dialogues about long films.

    `odds`: of each skill. `num_shown`: least and most frames in the first turn of a dialogue.
    `uniform_frac`: the share of episodes whose first frames are evenly spread, as in rollouts; all
    others are drawn, so that numbers must be read. `leads`, `widths`: of `blind_range`. `look`: how
    a film may be looked into; its `max_turns` is replaced by one of `max_turns`, drawn for each
    dialogue, where those are given. `answered_at_once_frac`: the share of answers that are given in
    the first turn of several; all others are given where there is one turn. `duration_s`,
    `num_frames`, `size_px`, `pixel_noise`, `split`: as of `LongFilmExamples`. Raises ConfigError
    for settings that cannot be.
    """

    odds: dict[str, float]
    num_shown: tuple[int, int] = (16, 16)
    uniform_frac: float = 0.5
    leads: tuple[int, int] = (0, 5)
    widths: tuple[int, int] = (7, 9)
    look: RetrievalSettings = field(default_factory=lambda: RetrievalSettings(max_turns=2))
    max_turns: tuple[int, ...] = ()
    answered_at_once_frac: float = 0.0
    duration_s: tuple[int, int] = (SHORTEST_S, LONGEST_S)
    num_frames: int = 96
    size_px: int = 28
    pixel_noise: float = 0.0
    split: str = "train"

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.odds) - set(SKILLS)):
            raise ConfigError(
                f"odds has the unknown skill {unknown[0]!r}; expected some of {', '.join(SKILLS)}"
            )
        require(len(self.odds) > 0, "odds", "those of at least one skill", self.odds)
        check_odds("odds", list(self.odds.values()))
        for name, least in (("num_shown", 1), ("widths", 1), ("leads", 0)):
            low, high = getattr(self, name)
            rule = f"a least and a most, from {least} to num_frames ({self.num_frames})"
            require(least <= low <= high <= self.num_frames, name, rule, (low, high))
        for name in ("uniform_frac", "answered_at_once_frac"):
            require(0 <= getattr(self, name) <= 1, name, "between 0 and 1", getattr(self, name))
        least = 2 if {"look", "found"} & set(self.odds) else 1
        for number in self.all_turns:
            require(number >= least, "max_turns", f"at least {least}", number)
        check_films(self.split, self.duration_s)

    @property
    def all_turns(self) -> tuple[int, ...]:
        """The numbers of turns that an episode may have."""
        return self.max_turns or (self.look.max_turns,)

    def item(
        self,
        index: int,
        seed: int,
        clock: Clock,  # noqa: ARG002 - a question has none
        frames_per_turn: int,  # noqa: ARG002
        shrink: Shrink | None = None,  # noqa: ARG002 - its frames are small
    ) -> Item:
        """The dialogue number `index` and its frames."""
        rng = np.random.default_rng((seed, index, 31))
        names = list(self.odds)
        chances = np.array(list(self.odds.values())) / sum(self.odds.values())
        skill = names[int(rng.choice(len(names), p=chances))]
        film = make_film(self.split, index, seed, self.duration_s)
        pool = draw_pool(film, self.num_frames, self.size_px)
        look = self.look
        if self.max_turns:
            look = replace(look, max_turns=self.max_turns[int(rng.integers(len(self.max_turns)))])
        dialogue, frames = _Lesson(self, look, film, pool, rng).written(skill)
        return dialogue, with_noise(list(frames), float(rng.uniform(0, self.pixel_noise)), rng)


@dataclass(frozen=True, slots=True, eq=False)
class _Lesson:
    """One dialogue in the making."""

    source: RetrievalSkills
    look: RetrievalSettings
    film: Film
    pool: FramePool
    rng: np.random.Generator

    def written(self, skill: str) -> Item:
        if skill in ("look", "found"):
            return self._episode(trains_range=skill == "look")
        if skill == "answer":
            return self._answer()
        if skill == "where":
            return self._where()
        return self._named(skill)

    def _named(self, skill: str) -> Item:
        """A frame is asked for that shows something more often than not."""
        shown = [scene.span for scene in self.film.scenes]
        if skill == "colour":
            shown = [flash.span for flash in self._flashes()]
        index = self._any(range(len(self.pool)))
        if self.rng.random() < 0.75:  # else mostly nothing is to be named
            span = shown[int(self.rng.integers(len(shown)))]
            index = self._any(self.film.frames_in(span, len(self.pool)) or (index,))
        shape, colour = self.film.shown_at(self.pool.time_of(index))
        question, said = shape_question(index), shape or NO_SHAPE
        if skill == "colour":
            question, said = colour_question(index), colour or NO_COLOUR
        return self._one_turn(Task(self._name(skill), (Question(question),)), said, [index])

    def _where(self) -> Item:
        scene = self.film.scenes[int(self.rng.integers(len(self.film.scenes)))]
        holding = self.film.frames_in(scene.span, len(self.pool))
        task = Task(self._name("where"), (Question(where_question(scene.shape)),))
        indices = self._with([self._any(holding)])
        said = self._any(holding & set(indices))
        return self._one_turn(task, str(said), indices)

    def _answer(self) -> Item:
        task, needed = self.film.task(len(self.pool)), [self._any(self._decisive())]
        for flash in self._flashes():
            frames = self.film.frames_in(flash.span, len(self.pool))
            if frames and self.rng.random() < 0.5:
                needed.append(self._any(frames))
        task = replace(task, task_id=self._name("answer"))
        at_once = self.rng.random() < self.source.answered_at_once_frac
        max_turns = self.look.max_turns if at_once else 1
        return self._one_turn(task, self.film.answer, needed, max_turns)

    def _one_turn(self, task: Task, said: str, needed: Sequence[int], max_turns: int = 1) -> Item:
        """A question that is answered at once, with the frames `needed` in view."""
        env = RetrievalEnv(self.pool, task, replace(self.look, max_turns=max_turns))
        return self._dialogue(env, [(env.opened_with(self._with(needed)), Answer(said), True)])

    def _episode(self, *, trains_range: bool) -> Item:
        """Frames and ranges of a trained one are drawn before anything is known of the film."""
        shown = self._with([])
        if self.rng.random() < self.source.uniform_frac:
            shown = spread(0, len(self.pool) - 1, self.look.first_frames)
        ranges = [self._blind(shown) for _ in range(self.look.max_turns - 1)]
        decisive = self._decisive()
        if not trains_range:
            ranges[-1] = self._around(decisive)
        env = RetrievalEnv(self.pool, self.film.task(len(self.pool)), self.look)
        said: list[tuple[EnvTurn, Action, bool]] = []
        turn = env.opened_with(shown)
        for action in ranges:
            said.append((turn, action, trains_range))
            turn = _shown(env, action)
        seen = {
            i for shown_turn in (*(t for t, _, _ in said), turn) for i in shown_turn.frames.indices
        }
        is_seen = not decisive.isdisjoint(seen)
        return self._dialogue(env, [*said, (turn, Answer(self.film.answer), is_seen)])

    def _blind(self, shown: Sequence[int]) -> Retrieve:
        source = self.source
        return blind_range(self.rng, shown, source.leads, source.widths, len(self.pool))

    def _around(self, indices: frozenset[int]) -> Retrieve:
        """A range of a whole look with one of these frames in it."""
        most = self.look.frames_per_look
        first = max(0, self._any(indices) - int(self.rng.integers(most)))
        return Retrieve(first, min(first + most, len(self.pool)) - 1)

    def _dialogue(self, env: RetrievalEnv, said: Sequence[tuple[EnvTurn, Action, bool]]) -> Item:
        turns, trained = [DialogueTurn("system", env.system)], [False]
        for turn, action, is_trained in said:
            turns += [_written(turn), DialogueTurn("assistant", env.format.write(action))]
            trained += [False, is_trained]
        frames = [picture for turn, _, _ in said for picture in turn.pictures]
        return Dialogue(self._name("dialogue"), tuple(turns), tuple(trained)), frames

    def _with(self, needed: Sequence[int]) -> list[int]:
        """Frames in order, those that are `needed` among them."""
        low, high = self.source.num_shown
        number = max(int(self.rng.integers(low, high + 1)), len(set(needed)))
        others = [i for i in self.rng.permutation(len(self.pool)) if i not in needed]
        return sorted({*needed, *map(int, others[: number - len(set(needed))])})

    def _any(self, indices: Sequence[int] | frozenset[int]) -> int:
        ordered = sorted(indices)
        return ordered[int(self.rng.integers(len(ordered)))]

    def _decisive(self) -> frozenset[int]:
        """The frames with the flash that is asked for; of a small pool, those of its scene."""
        num_frames = len(self.pool)
        return self.film.decisive(num_frames) or self.film.frames_in(
            self.film.target.span, num_frames
        )

    def _flashes(self) -> list[Flash]:
        return [*(scene.flash for scene in self.film.scenes), *self.film.decoys]

    def _name(self, what: str) -> str:
        return f"{self.film.film_id}-{what}"


def _shown(env: RetrievalEnv, action: Action) -> EnvTurn:
    turn = completed(env.step(action))
    assert not isinstance(turn, StopReason), "a look is left"
    return turn


def _written(turn: EnvTurn) -> DialogueTurn:
    """A turn of text, frames and text as a message."""
    lead, frames, text = turn.content
    assert isinstance(lead, str)
    assert isinstance(frames, FrameBatch)
    assert isinstance(text, str)
    return DialogueTurn("user", text, len(frames), lead, frames.marks)
