"""A dialogue as training rows hold it, turn by turn, and how it is made from a proactive dialogue
and back.

What a written row does not say, and a proactive dialogue read from it gets instead:

- when in its turn a question came: it is asked at the time of its turn
- the span of a reply: from half a frame before the first frame of its turn to the time of its turn,
  so that exactly this turn is inside
- which of several questions a reply answers: the newest one
- captions, subtitles and what the row was made with: nothing
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from oncue.clock import Clock
from oncue.data.formats.frame_names import duration_of, frame_names, num_frames_of, track_of
from oncue.data.formats.layout import Layout
from oncue.data.proactive_rows import DialogueKind, ProactiveRow, Provenance
from oncue.dialogue.rows import parse_row
from oncue.dialogue.write import write_dialogue
from oncue.errors import DataError
from oncue.render.actions import TextFormat
from oncue.render.markup import FRAME_TEXT, PROACTIVE_SYSTEM
from oncue.types import Dialogue, DialogueTurn, GoldTurn, Question, Task, TimeSpan

SILENCE = TextFormat().silence_text


@dataclass(frozen=True, slots=True)
class LineStyle:
    """How a line of JSON is written: only in ASCII or not, with blanks or without."""

    ascii_only: bool = False
    compact: bool = False

    @classmethod
    def of(cls, line: bytes, value: Any) -> LineStyle:
        """That in which `value` is written as `line`; the usual one where none fits."""
        styles = (
            cls(ascii_only, compact) for ascii_only in (False, True) for compact in (False, True)
        )
        fits = (
            style
            for style in styles
            if style.text(value).encode("utf-8", "surrogatepass") == line.strip()
        )
        return next(fits, cls())

    def text(self, value: Any) -> str:
        """The line, without its end."""
        separators = (",", ":") if self.compact else (", ", ": ")
        return json.dumps(value, ensure_ascii=self.ascii_only, separators=separators)


@dataclass(frozen=True, slots=True)
class WrittenRow:
    """A row in the official SFT format, with all that it holds: `value` is its object, keys in
    their order. `where`: its file and line."""

    where: str
    value: Mapping[str, Any]
    dialogue: Dialogue
    style: LineStyle = LineStyle()

    @property
    def images(self) -> tuple[str, ...]:
        """The name of each frame, as written."""
        images = self.value.get("images") or ()
        return tuple(str(i["path"] if isinstance(i, Mapping) else i) for i in images)

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.value.get("metadata") or {}

    @property
    def line(self) -> str:
        """Its line of JSON, without its end."""
        return self.style.text(self.value)


def written_row(value: Mapping[str, Any], where: str, style: LineStyle = LineStyle()) -> WrittenRow:
    """The row of an object in the official SFT format. Raises DialogueError for another form."""
    dialogue, images = parse_row(value, where)
    if len(images) != dialogue.num_frames:
        raise DataError(
            f"{where}: {dialogue.num_frames} {FRAME_TEXT} marks, but no images; name one for each"
        )
    return WrittenRow(where, value, dialogue, style)


def dialogue_of(row: ProactiveRow, num_frames: int, layout: Layout) -> Dialogue:
    """The dialogue of the first `num_frames` grid frames, as a model is trained on it."""
    return write_dialogue(
        row.task,
        num_frames,
        layout.clock,
        system=PROACTIVE_SYSTEM,
        silence=SILENCE,
        frames_per_turn=layout.frames_per_turn,
        placement=layout.placement,
        rng=layout.rng(row.row_id),
    )


def from_proactive(row: ProactiveRow, layout: Layout) -> WrittenRow:
    """The written row of a proactive dialogue. Raises DataError where it has no length, or its
    video is missing."""
    row = replace(row, task=replace(row.task, duration_s=duration_of(row, layout)))
    num_frames = num_frames_of(row, layout)
    dialogue = dialogue_of(row, num_frames, layout)
    value = {
        "messages": [message_of(turn) for turn in dialogue.turns],
        "images": [{"path": name} for name in frame_names(row, num_frames, layout)],
        "metadata": {"question_id": row.row_id, "video_id": row.video_id},
    }
    return WrittenRow(row.provenance.where, value, dialogue)


def message_of(turn: DialogueTurn) -> dict[str, str]:
    """A turn as a message with marks."""
    return {"role": turn.role, "content": FRAME_TEXT * turn.num_frames + turn.text}


def to_proactive(row: WrittenRow, layout: Layout) -> ProactiveRow:
    """The proactive dialogue of a written row. Raises DataError for a row without question, without
    frames, or with frames that are not on the grid of the clock."""
    track = track_of(row.images, layout.clock, row.where)
    task = task_of(row.dialogue.dialogue_id, timed(row.dialogue.turns, layout.clock), row.where)
    folder, _, name = track.video.rpartition("/")
    video_id = name.rpartition(".")[0] or name
    if "%" in name:
        video_id = folder.rpartition("/")[2] or video_id
    return ProactiveRow(
        replace(task, duration_s=track.duration_s),
        track.video,
        str(row.metadata.get("video_id") or video_id),
        "sft",
        layout.kind,
        kind_of(task.questions),
        track.part,
        provenance=Provenance(row.where),
    )


@dataclass(frozen=True, slots=True)
class TimedTurn:
    """A message, the time of its turn, and from when on replies count as given in it."""

    role: str
    text: str
    time_s: float
    begins_s: float


def timed(turns: Iterable[DialogueTurn], clock: Clock) -> list[TimedTurn]:
    """Each turn with its time: frames shown so far, times the interval."""
    num_shown, begins_s, found = 0, 0.0, []
    for turn in turns:
        if turn.num_frames:
            half_s = clock.frame_interval_s / 2
            begins_s = round(clock.time_of(num_shown + 1) - half_s, 9)
            num_shown += turn.num_frames
        found.append(TimedTurn(turn.role, turn.text, clock.time_of(num_shown), begins_s))
    return found


def task_of(name: str, turns: Sequence[TimedTurn], where: str) -> Task:
    """The task of a dialogue: what is asked and what is replied, at the times of the turns. Raises
    DataError for a reply before the first question or frame, and where nothing is asked."""
    questions: list[Question] = []
    gold: list[GoldTurn] = []
    for number, turn in enumerate(turns, 1):
        if turn.role == "user" and turn.text.strip():
            questions.append(Question(turn.text, turn.time_s))
        if turn.role != "assistant" or turn.text.strip() == SILENCE:
            continue
        if not questions or not turn.time_s:
            what = "frame is shown" if questions else "question is asked"
            raise DataError(f"{where}, message {number}: a reply before any {what}")
        span = TimeSpan(turn.begins_s, turn.time_s)
        gold.append(GoldTurn(turn.text, span, questions[-1].text))
    if not questions:
        raise DataError(f"{where}: nothing is asked in it; expected a dialogue with a question")
    return Task(name, tuple(questions), tuple(gold))


def kind_of(questions: Sequence[Question]) -> DialogueKind:
    """Whether one or several questions are asked; subtitles are none."""
    asked = [question for question in questions if not question.text.startswith("Subtitle: ")]
    return DialogueKind.MANY_QUESTIONS if len(asked) > 1 else DialogueKind.ONE_QUESTION
