"""The film strip of a stored group: the frames it was shown, made again from its example."""

from __future__ import annotations

from dataclasses import dataclass

from oncue.clock import Clock
from oncue.errors import InputError
from oncue.train.rl.settings import GrpoConfig
from oncue.view.stored import StoredGroup
from oncue.watch.record import Still, encode_jpeg

MAX_STILLS = 24
_WIDTH_PX, _QUALITY = 144, 62


@dataclass(frozen=True, slots=True)
class Film:
    """Stills in the order of time, or none and why."""

    stills: tuple[Still, ...] = ()
    missing: str = ""

    @property
    def num_bytes(self) -> int:
        return sum(len(still.jpeg) for still in self.stills)


def film_of(group: StoredGroup, config: GrpoConfig) -> Film:
    """At most `MAX_STILLS` stills of what the members of `group` were shown."""
    if group.example is None:
        return Film(missing="No film: this run did not store the number of its examples.")
    clock = Clock(config.frame_interval_s)
    try:
        example = config.examples.item(group.example, config.seed, clock, config.frames_per_turn)
    except InputError as error:
        return Film(missing=f"No film: the example cannot be made again ({error}).")
    times_s = [time_s for time_s, _ in group.members[0].rollout.turns]
    shown_turns = example.longest_turns
    same = example.task.task_id == group.task_id and example.task.questions == group.questions
    if not same or [turn.clock_s for turn in shown_turns] != times_s:
        return Film(missing="No film: this version of oncue makes another clip of that number.")
    shown = [turn for turn in shown_turns if len(turn.frames)]
    count = min(MAX_STILLS, len(shown))
    chosen = [shown[int((k + 0.5) * len(shown) / count)] for k in range(count)]
    return Film(
        tuple(
            Still(t.clock_s, encode_jpeg(t.frames.pixels[-1], _WIDTH_PX, _QUALITY)) for t in chosen
        )
    )
