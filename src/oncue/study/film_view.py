"""A model answers questions about long films, looking into them as in rollouts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oncue.aio import completed
from oncue.clock import Clock
from oncue.data.long_examples import LongFilmExamples
from oncue.data.long_world import films_drawn_by
from oncue.engine.sampling import SamplingParams
from oncue.env.retrieval import RetrievalSettings
from oncue.eval.long_bounds import LongBounds
from oncue.eval.table import percent, rounded
from oncue.policy.open_policy import LocalModel, open_policy
from oncue.rewards.retrieval_log import retrieval_metrics
from oncue.rewards.retrieval_rollout import RetrievalRollout
from oncue.study.arms import Scores, View
from oncue.train.rl.groups import roll_out
from oncue.train.rl.make_reward import frames_by
from oncue.types import Episode, Evidence, Malformed, Retrieve
from oncue.world.long.film import LENGTHS, Film

_MODEL, _AT_ONCE, _MAX_NEW_TOKENS = "model", 32, 8
_SEED = 0  # the films are the same for all seeds of a study
_CLASSES = tuple(each.name for each in LENGTHS)
# Percent but for the first three
_NAMES = (
    *("looks_per_episode", "distinct_ranges", "hit_ratio"),
    *("accuracy", *(f"accuracy_{name}" for name in _CLASSES), "long_over_short"),
    *("retrieve_rate", "malformed_share", "answered_share"),
    *("hit_share", "hit_elsewhere", "better_share", "hit_look_1", "hit_look_2"),
    *("flash_share", "flash_elsewhere", "flash_seen", "accuracy_seen"),
)


@dataclass(frozen=True, slots=True)
class FilmView(View):
    """`num_films` held-out films of the long world with their pools drawn, looked into by the rules
    `look`. `temperature` 0 is greedy, else samples as in rollouts."""

    look: RetrievalSettings
    num_films: int = 200
    temperature: float = 0.0

    @property
    def drawn_by(self) -> str:
        return films_drawn_by()

    @property
    def names(self) -> tuple[str, ...]:
        return _NAMES

    def prepare(self, cache: Path) -> None:
        """Nothing: films are drawn as they are needed."""

    def measure(self, model: Path, cache: Path, device: str | None) -> dict[str, Any]:  # noqa: ARG002
        """How a model looks and answers, with the bounds of perfect observers of the same films
        beside it."""
        films = [self._examples.film(index, _SEED) for index in range(self.num_films)]
        episodes = self._episodes(model, device)
        numbers = numbers_of_episodes(films, episodes, self._examples)
        return {
            "headline": {"n_films": len(films), "observers": _observers(films, self._examples)},
            "policies": {_MODEL: numbers},
        }

    def numbers(self, scores: Scores) -> dict[str, float | None]:
        """`accuracy` and shares in percent, see the page; `hit_ratio`: hits over hits elsewhere;
        `long_over_short`: accuracy on long films minus that on short ones."""
        row = scores["policies"][_MODEL]
        return {name: row[name] for name in _NAMES}

    def references(self, scores: Scores) -> dict[str, Any]:
        return {**scores["headline"], "temperature": self.temperature}

    @property
    def _examples(self) -> LongFilmExamples:
        return LongFilmExamples(look=self.look, split="test")

    def _episodes(self, model: Path, device: str | None) -> list[Episode]:
        sampling = SamplingParams(
            temperature=self.temperature, top_k=0, max_new_tokens=_MAX_NEW_TOKENS
        )
        spec = LocalModel(model, device, "float32", sampling=sampling, lockstep=True, record=True)
        found: list[Episode] = []
        with open_policy(spec) as policy, asyncio.Runner() as runner:
            for first in range(0, self.num_films, _AT_ONCE):
                numbers = range(first, min(first + _AT_ONCE, self.num_films))
                items = [self._examples.item(i, _SEED, Clock(1.0), 1) for i in numbers]
                groups = completed(roll_out(policy.engine, items, 1, (_SEED, first)), runner)
                found += [episode for group in groups for episode in group.episodes]
                policy.engine.forget()
        return found


def _observers(films: Sequence[Film], examples: LongFilmExamples) -> dict[str, dict[str, Any]]:
    """Accuracy in percent of perfect observers of the films, with one and with two looks."""
    found: dict[str, dict[str, Any]] = {}
    for max_turns in (2, 3):
        look = replace(examples.look, first_frames=16, max_turns=max_turns)
        for length, of_length in LongBounds.of(films, examples.num_frames, look).by_length.items():
            name = "accuracy" if length == "all" else f"accuracy_{length}"
            for observer, bound in of_length.items():
                found.setdefault(observer, {})[name] = percent(bound.accuracy)
    return found


def numbers_of_episodes(
    films: Sequence[Film], episodes: Sequence[Episode], examples: LongFilmExamples
) -> dict[str, float | None]:
    """The numbers of `FilmView.numbers`, from an episode for each film."""
    frames_of = frames_by(examples.look)
    rollouts = [RetrievalRollout.of(episode, frames_of) for episode in episodes]
    flashes = [
        _with_evidence(rollout, film, examples.num_frames)
        for rollout, film in zip(rollouts, films, strict=True)
    ]
    every, flash = retrieval_metrics(rollouts), retrieval_metrics(flashes)
    seen = [rollout for rollout in flashes if _shows(rollout)]
    turns = [turn for rollout in rollouts for turn in rollout.turns]
    malformed = sum(isinstance(turn.action, Malformed) for turn in turns)
    accuracy = {
        name: _accuracy([r for r, film in zip(rollouts, films, strict=True) if film.length == name])
        for name in _CLASSES
    }
    names = ("retrieve_rate", "answered_share", "hit_share", "hit_elsewhere", "better_share")
    return {
        "looks_per_episode": rounded(every["looks_per_episode"], 3),
        "distinct_ranges": rounded(every["distinct_ranges"], 3),
        "hit_ratio": _ratio(every["hit_share"], every["hit_elsewhere"]),
        "accuracy": percent(every["accuracy"]),
        **{f"accuracy_{name}": value for name, value in accuracy.items()},
        "long_over_short": _difference(accuracy["long"], accuracy["short"]),
        **{name: percent(every[name]) for name in names},
        "malformed_share": percent(malformed / max(1, len(turns))),
        "hit_look_1": _hits(rollouts, 0),
        "hit_look_2": _hits(rollouts, 1),
        "flash_share": percent(flash["hit_share"]),
        "flash_elsewhere": percent(flash["hit_elsewhere"]),
        "flash_seen": percent(flash["seen_share"]),
        "accuracy_seen": _accuracy(seen),
    }


def _with_evidence(rollout: RetrievalRollout, film: Film, num_frames: int) -> RetrievalRollout:
    """The rollout, with the flash alone as what is to be found."""
    spans = (film.target.flash.span,)
    return replace(rollout, evidence=Evidence(film.decisive(num_frames), num_frames, spans))


def _shows(rollout: RetrievalRollout) -> bool:
    assert rollout.evidence is not None
    return any(rollout.evidence.frames & set(turn.indices) for turn in rollout.turns)


def _accuracy(rollouts: Sequence[RetrievalRollout]) -> float | None:
    return percent(retrieval_metrics(rollouts)["accuracy"]) if rollouts else None


def _hits(rollouts: Sequence[RetrievalRollout], number: int) -> float | None:
    """The share in percent of the looks of that number (from 0) that hit the scene."""
    hits = []
    for rollout in rollouts:
        looks = [turn for turn in rollout.turns if isinstance(turn.action, Retrieve)]
        if len(looks) > number and rollout.evidence is not None:
            hits.append(bool(rollout.evidence.frames & set(looks[number].asked or ())))
    return percent(sum(hits) / len(hits)) if hits else None


def _ratio(value: float | None, base: float | None) -> float | None:
    return round(value / base, 2) if value is not None and base else None


def _difference(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else round(value - base, 2)
