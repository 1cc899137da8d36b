"""Bounded context: what a session on an endless stream keeps, so that memory and time per turn stay
flat.

When the prefix would outgrow its bound, old silent turns are dropped in one go, down to about half.
What is kept is exactly the prefix of a dialogue that consists of the kept turns: positions start
again, and what comes after the first gap goes through the model again (its vision tokens are still
there). So a bounded session answers as one that was shown only the kept turns; no key is left at a
position it was not computed for. The price is that every token goes through the decoder about
twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oncue.engine.encoder_cache import CachedFrame
from oncue.errors import ConfigError
from oncue.render.base import Shape, shape_of
from oncue.render.decision import Lead
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.types import Action, Answer, EnvTurn, Reply, Retrieve


@dataclass(frozen=True, slots=True)
class Window:
    """Bounds of a session's prefix, in tokens and turns.

    Before a turn is shown, a prefix that would exceed `max_tokens` with it is cut to at most
    `keep_tokens` (default: half). The system message and the newest turn that brings a question
    always stay, even beyond `keep_tokens`. Of the others as many as fit: first the newest
    `max_questions` turns that bring a question, then the newest `max_replies` that were answered
    with a reply, an answer or a request for frames, all with their frames, then the newest turns.
    `when_full`: nothing is cut before the model has no position left for a turn; from then on these
    bounds hold. `last_turns`: of the turns before the one that is shown, no more than the last so
    many stay, whatever they hold; None: there is no such bound. Raises ConfigError for numbers out
    of range.
    """

    max_tokens: int
    keep_tokens: int | None = None
    max_questions: int = 4
    max_replies: int = 8
    when_full: bool = False
    last_turns: int | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ConfigError(f"max_tokens of a window must be at least 1, got {self.max_tokens}")
        if self.keep_tokens is not None and not 0 < self.keep_tokens < self.max_tokens:
            raise ConfigError(
                f"keep_tokens must lie between 0 and max_tokens ({self.max_tokens}), got "
                f"{self.keep_tokens}"
            )
        if self.last_turns is not None and self.last_turns < 0:
            raise ConfigError(f"last_turns must be at least 0, got {self.last_turns}")
        if self.max_questions < 1 or self.max_replies < 0:
            raise ConfigError(
                "a window keeps at least 1 question and 0 replies, "
                f"got max_questions={self.max_questions}, max_replies={self.max_replies}"
            )

    @property
    def target_tokens(self) -> int:
        """What a cut leaves at most."""
        return self.keep_tokens or max(1, self.max_tokens // 2)

    def is_exceeded_by(self, num_tokens: int) -> bool:
        """Whether a prefix of `num_tokens` is to be cut."""
        return not self.when_full and num_tokens > self.max_tokens

    def num_outdated(self, num_turns: int) -> int:
        """How many of `num_turns` are older than the last ones that may stay."""
        return 0 if self.last_turns is None else max(0, num_turns - self.last_turns)


@dataclass(frozen=True, slots=True, eq=False)
class PastTurn:
    """A turn of the prefix: what was shown, the ids that answered it, and whether they say or ask
    for something."""

    shape: Shape
    frames: tuple[CachedFrame, ...]
    chosen: tuple[int, ...]
    replied: bool

    @classmethod
    def of(
        cls, observed: EnvTurn, frames: Sequence[CachedFrame], chosen: Sequence[int], action: Action
    ) -> PastTurn:
        """The turn `observed`, whose frames are `frames`, answered by `action`."""
        return cls(
            shape_of(observed),
            tuple(frames),
            tuple(chosen),
            isinstance(action, Reply | Retrieve | Answer),
        )

    @property
    def text(self) -> str:
        """What it said, "" for a turn of frames alone."""
        return "\n".join(part for part in self.shape if isinstance(part, str))

    def ids(self, renderer: QwenVLRenderer, lead: Lead) -> list[int]:
        """The tokens of turn and answer, rendered after a prefix that ends with `lead`."""
        shown = renderer.user_turn_ids(self.shape, [frame.grid for frame in self.frames], lead)
        return [*shown.tolist(), *renderer.decision.kept(self.chosen)]


def kept_turns(
    turns: Sequence[PastTurn], window: Window, renderer: QwenVLRenderer, room: int
) -> list[int]:
    """Which turns a cut keeps, in order: the newest question, and as much else as `room` tokens
    hold with it."""
    newest_first = range(len(turns) - 1, -1, -1)
    questions = [i for i in newest_first if turns[i].text][: window.max_questions]
    replies = [i for i in newest_first if turns[i].replied][: window.max_replies]
    kept: set[int] = set()
    for i in dict.fromkeys((*questions, *replies, *newest_first)):
        room -= len(turns[i].ids(renderer, Lead.CLOSED))
        if room < 0 and i not in questions[:1]:
            break
        kept.add(i)
    return sorted(kept)
