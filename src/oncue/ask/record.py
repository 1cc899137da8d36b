"""What a question about a video came to: its turns, where it looked, and the answer."""

from __future__ import annotations

from dataclasses import dataclass

from oncue.env.retrieval import RetrievalSettings, lettered
from oncue.types import (
    Answer,
    Episode,
    Exchange,
    Malformed,
    PolicyTurn,
    StopReason,
    Task,
    TimeSpan,
)
from oncue.video.opening import file_path, is_url
from oncue.video.pool import FramePool


@dataclass(frozen=True, slots=True)
class AskedTurn:
    """One turn: its number (from 1), the exchange, and of a request for frames the stretch in video
    seconds and how many frames it gets (0 in the last turn, where nothing more is shown)."""

    number: int
    exchange: Exchange
    span: TimeSpan | None = None
    num_frames: int = 0

    @property
    def acted(self) -> PolicyTurn:
        return self.exchange.acted

    @property
    def is_look(self) -> bool:
        """Whether it asked for frames and gets them."""
        return self.num_frames > 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was asked, and all that came of it.

    `stop`: a `StopReason`, or "failed" where an error ended it. `reason`: why there is no answer,
    "" where there is one. `pool` None: the video was never read. `read_s`: seconds to read the
    pool; `load_s`: to load the model.
    """

    source: str
    model: str
    task: Task
    settings: RetrievalSettings
    turns: tuple[AskedTurn, ...]
    pool: FramePool | None
    stop: str
    reason: str
    read_s: float
    load_s: float

    @property
    def video(self) -> str:
        """Where the video is: the whole path of a file, else the address as it may be shown."""
        is_file = not is_url(self.source) and file_path(self.source).is_file()
        return str(file_path(self.source).resolve()) if is_file else self.source

    @property
    def answer(self) -> str | None:
        """What was answered: the letter of an option, or own words."""
        last = self.turns[-1].acted.action if self.turns else None
        return last.text if isinstance(last, Answer) else None

    @property
    def option(self) -> str | None:
        """The option that was chosen, with its letter."""
        chosen = [text for text in lettered(self.task.options) if text[0] == self.answer]
        return chosen[0] if chosen else None

    @property
    def looks(self) -> tuple[AskedTurn, ...]:
        """The turns that asked for frames and got them."""
        return tuple(turn for turn in self.turns if turn.is_look)

    @property
    def evidence(self) -> tuple[TimeSpan, ...]:
        """The stretches that were looked at before the answer, in order, each once."""
        return tuple(dict.fromkeys(turn.span for turn in self.looks if turn.span is not None))

    @property
    def num_frames(self) -> int:
        """How many frames were shown in all turns together."""
        return sum(len(turn.exchange.observed.pictures) for turn in self.turns)

    @property
    def num_malformed(self) -> int:
        return sum(isinstance(turn.acted.action, Malformed) for turn in self.turns)

    @property
    def latency_ms(self) -> float:
        """What the model took, all turns together."""
        return sum(turn.acted.latency_ms for turn in self.turns)

    @property
    def episode(self) -> Episode:
        """As an episode. One that did not run to its end counts as cancelled."""
        stop = StopReason.CANCELLED if self.stop == "failed" else StopReason(self.stop)
        return Episode(self.task, tuple(turn.exchange for turn in self.turns), stop)
