"""What became of one question: the answer, or why there is none, and what it took."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from oncue.errors import DataError
from oncue.eval.benchmarks.mcq_letters import named_letter
from oncue.fields import field_as
from oncue.types import Answer, Episode, Malformed, Retrieve

Mode = Literal["retrieval", "single-turn", "blind"]
Ending = Literal[
    "answered",
    "malformed",  # the last turn was no action
    "kept looking",  # the last turn asked for frames
    "unreadable video",
    "context full",  # the model or the server takes no more
    "refused",  # by the server, for another reason
]
FAILED: tuple[Ending, ...] = ("unreadable video", "context full", "refused")


@dataclass(frozen=True, slots=True)
class McqResult:
    """`letter`: the answer, None without one. `ending` says why there is none, and `reason` in
    words what went wrong.

    `named`: the option that a malformed last turn clearly names (see `named_letter`), "" for none.
    `num_frames` were shown in `num_turns`, of which `num_looks` asked for more and `num_malformed`
    were no action. `latency_ms` is the time of the model over all turns; `duration_s` that of the
    video, None where it was not read.
    """

    question_id: str
    letter: str | None
    ending: Ending
    reason: str = ""
    named: str = ""
    num_turns: int = 0
    num_frames: int = 0
    num_looks: int = 0
    num_malformed: int = 0
    latency_ms: float = 0.0
    duration_s: float | None = None

    @classmethod
    def of(cls, episode: Episode, duration_s: float | None) -> McqResult:
        """The result of a finished episode about a video of `duration_s`."""
        exchanges = episode.exchanges
        actions = [exchange.acted.action for exchange in exchanges]
        last = actions[-1]
        letter = last.text if isinstance(last, Answer) else None
        ending: Ending = "answered" if letter else "malformed"
        reason = named = ""
        if isinstance(last, Malformed):
            reason, named = last.reason, named_letter(last.text, episode.task.options) or ""
        elif isinstance(last, Retrieve):
            ending = "kept looking"
        return cls(
            episode.task.task_id,
            letter,
            ending,
            reason,
            named,
            len(exchanges),
            sum(len(batch) for exchange in exchanges for batch in exchange.observed.batches),
            sum(isinstance(action, Retrieve) for action in actions),
            sum(isinstance(action, Malformed) for action in actions),
            round(sum(exchange.acted.latency_ms for exchange in exchanges), 1),
            duration_s,
        )

    @property
    def failed(self) -> bool:
        """Whether the question could not be put to the model at all, or not to its end."""
        return self.ending in FAILED

    def plain(self) -> dict[str, Any]:
        """As JSON has it: all but the id."""
        return {name: value for name, value in asdict(self).items() if name != "question_id"}

    @classmethod
    def from_plain(cls, question_id: str, plain: Any, where: str) -> McqResult:
        """What `plain` reads back. Raises DataError, which begins with `where`."""
        field_as(Ending, plain, "ending", where)
        try:
            return cls(question_id, **plain)
        except TypeError as error:
            raise DataError(f"{where}: its result is not one of this version ({error})") from error
