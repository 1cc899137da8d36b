"""Where each mark of a dialogue is, in the two decision formats. One frame is shown as
`<image>`.

`text` (paper Fig. 2): every turn is a message of its own, silence is a text.

    <|im_start|>user⏎<image>Tell me when it leaves.<|im_end|>⏎
    <|im_start|>assistant⏎NO REPLY<|im_end|>⏎
    <|im_start|>user⏎<image><|im_end|>⏎
    <|im_start|>assistant⏎It leaves.<|im_end|>⏎

A turn may hold text and frames in any order; a frame with a mark has a line of its own.

    <|im_start|>user⏎Turn 2.⏎frame 12: <image>⏎frame 15: <image>⏎What is in the box?<|im_end|>⏎

`token` (appendix A): a user message stays open over silent turns; what is shown next is appended to
it.

    <|im_start|>user⏎Tell me when it leaves.⏎<image><image><|im_end|>⏎
    <|im_start|>assistant⏎It leaves.<|im_end|>⏎

- The text of a turn comes before its frames, closed by a line break, so that a turn ends with
  `<|vision_end|>`. Turns with another order than frames, then text, and frames with marks are
  errors.
- At the end of every turn, not of every frame, the policy chooses. `<|vision_start|>` is silence
  and adds nothing; it is the first token of the next frame, if a frame comes next. `<|im_end|>` is
  a reply, which follows its header.
- A turn of text alone ends with the line break, and the same choice is made there. A turn of
  nothing is an error.
- A written dialogue is the same in both formats: a turn that says the text of silence is silence,
  and the published system message for streams, which asks for that text, becomes the one of this
  format. So a reply of that very text cannot be written; one that a model makes up all the same
  reads as silence, though its tokens stay in the context.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from oncue.errors import DialogueError, InputError
from oncue.render.actions import TextFormat
from oncue.render.base import ActionFormat, Shape, frames_then_text, shape_of_written
from oncue.render.decision import DecisionName, Lead
from oncue.render.markup import (
    ASSISTANT_HEADER,
    DEFAULT_SYSTEM,
    FRAME_TEXT,
    IM_END,
    IM_START,
    NEWLINE,
    PROACTIVE_SYSTEM,
    TOKEN_SYSTEM,
    VISION_START,
    Segment,
    SegmentKind,
    observed_message,
    policy_message,
)
from oncue.types import Dialogue, Silence


class Layout(Protocol):
    """The segments of one format. `proactive_system`: the system message of a stream."""

    @property
    def proactive_system(self) -> str: ...

    def user_turn(self, shape: Shape, lead: Lead) -> Iterator[Segment]:
        """What is shown, up to where the policy chooses; it begins with what belongs between it and
        the prefix."""
        ...

    def dialogue(self, dialogue: Dialogue) -> Iterator[Segment]:
        """A written dialogue, whole; `DEFAULT_SYSTEM` first where it has no system message."""
        ...


class TextLayout:
    """The policy's text is its own segment: it was, or will be, sampled after the header, never
    encoded with it."""

    proactive_system = PROACTIVE_SYSTEM

    def user_turn(self, shape: Shape, lead: Lead) -> Iterator[Segment]:
        if lead is not Lead.START:
            yield NEWLINE
        yield from observed_message("user", shape)
        yield NEWLINE
        yield from ASSISTANT_HEADER

    def dialogue(self, dialogue: Dialogue) -> Iterator[Segment]:
        if not dialogue.turns or dialogue.turns[0].role != "system":
            yield from observed_message("system", (DEFAULT_SYSTEM,))
            yield NEWLINE
        for index, (turn, trained) in enumerate(zip(dialogue.turns, dialogue.trained, strict=True)):
            if turn.role == "assistant":
                yield from ASSISTANT_HEADER
                yield from policy_message(turn.text, index if trained else None)
            else:
                yield from observed_message(turn.role, shape_of_written(turn))
            yield NEWLINE


class TokenLayout:
    """Silence is no message. `action_format` says which written turns are silence."""

    proactive_system = TOKEN_SYSTEM

    def __init__(self, action_format: ActionFormat) -> None:
        self._format = action_format

    def user_turn(self, shape: Shape, lead: Lead) -> Iterator[Segment]:
        """Raises InputError for a turn that shows nothing (nothing would be put before the model),
        and for one that is not frames, then text: this format has an order of its own."""
        if not shape:
            raise InputError("a turn must show a frame or say something, got neither")
        text = shape[-1] if isinstance(shape[-1], str) else ""
        num_frames = len(shape) - bool(text)
        if shape != frames_then_text(num_frames, text):
            raise InputError(
                "a model with the token format takes turns of frames without marks, then text; got "
                "another order, or "
                "marks: use a model with the text format"
            )
        line = f"{text}\n" if text else ""
        if lead is Lead.CLOSED:
            yield NEWLINE
        if lead is not Lead.OPEN:
            yield Segment(SegmentKind.MARK, IM_START)
            line = f"user\n{line}"
        if line:
            yield Segment(SegmentKind.TEXT, line)
        for _ in range(num_frames):
            yield Segment(SegmentKind.FRAME, FRAME_TEXT)

    def dialogue(self, dialogue: Dialogue) -> Iterator[Segment]:
        """A user turn that nobody answered goes on in the next. Raises DialogueError for turns out
        of order."""
        turns = list(enumerate(zip(dialogue.turns, dialogue.trained, strict=True)))
        system = DEFAULT_SYSTEM
        if turns and dialogue.turns[0].role == "system":
            _, (first, _) = turns.pop(0)
            system = TOKEN_SYSTEM if first.text == PROACTIVE_SYSTEM else first.text
        yield from observed_message("system", (system,))
        yield NEWLINE
        lead, answered = Lead.START, True
        for index, (turn, trained) in turns:
            if turn.role == "user":
                yield from self.user_turn(shape_of_written(turn), lead)
                lead, answered = Lead.OPEN, False
                continue
            if turn.role != "assistant" or answered:
                raise DialogueError(
                    f"dialogue {dialogue.dialogue_id!r}, turn {index + 1}: a {turn.role} turn "
                    "cannot be here; a "
                    "system turn comes first, and an assistant turn answers a user turn"
                )
            answered = True
            choice = index if trained else None
            if isinstance(self._format.read(turn.text), Silence):
                yield Segment(SegmentKind.DECISION, VISION_START, choice)
                continue
            yield Segment(SegmentKind.MARK, IM_END, choice)
            yield NEWLINE
            yield from ASSISTANT_HEADER
            yield from policy_message(turn.text, choice)
            lead = Lead.CLOSED
        if lead is Lead.CLOSED:
            yield NEWLINE


def layout_of(name: DecisionName, action_format: ActionFormat | None = None) -> Layout:
    """The layout of a decision format."""
    return TokenLayout(action_format or TextFormat()) if name == "token" else TextLayout()


def chat_text(
    dialogue: Dialogue, marks: tuple[str, str] | None = None, name: DecisionName = "text"
) -> str:
    """The dialogue as text; `marks` = what opens and closes each trained stretch.

    With marks, silence by token shows as a stretch `<|vision_start|>`, whatever token follows.
    """
    pieces: list[str] = []
    inside = False
    for segment in layout_of(name).dialogue(dialogue):
        trained = segment.turn is not None
        if segment.kind is SegmentKind.DECISION and not (marks and trained):
            continue
        if marks and trained != inside:
            pieces.append(marks[0] if trained else marks[1])
            inside = trained
        pieces.append(segment.text)
    if marks and inside:
        pieces.append(marks[1])
    return "".join(pieces)
