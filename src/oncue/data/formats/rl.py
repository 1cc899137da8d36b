"""The official files of MMDuet2's reinforcement learning: NAME.parquet, and beside it
NAME-user_turns.json.

    NAME.parquet, in the layout of verl:
      data_source: string     prompt: [{role, content: "<image><image>Who?", last_image_time}]
      images: [{image, type: "image"}], those of the prompt, as many as it has <image> marks
      ability: "proactive"
      reward_model: {style: "rule", ground_truth: {
          answer: [{role, content, question, reply_timespan: [a, b]}], the replies that are due
          model_pred_timestamps: [t], the time of each turn that the model answers
          question_id, prev_assistant_replies: [text], the replies in the prompt}}
      extra_info: {num_images, question_id, tools_kwargs: string of JSON}
    NAME-user_turns.json: {question_id: [{content: [
          {type: "image", image} | {type: "text", text}]}]}
      every user turn, those of the prompt first: the number of user turns so far is the place of
      the next

`last_image_time` and all times are seconds on the clock of the part of the video that is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from oncue.data.formats.frame_names import track_of
from oncue.data.formats.layout import Layout
from oncue.data.formats.parquet_files import pyarrow, read_parquet, write_parquet
from oncue.data.formats.reading import each
from oncue.data.formats.segments import Segment, SegmentTurns, turns_of
from oncue.data.formats.written_rows import TimedTurn, kind_of, message_of, task_of
from oncue.data.proactive_rows import ProactiveRow, Provenance
from oncue.errors import DataError
from oncue.fields import IdText, NonEmptyText, Seconds, WideSpan, read_as
from oncue.files import replacing
from oncue.json_files import json_object_in
from oncue.render.markup import FRAME_TEXT
from oncue.types import GoldTurn, Task, TimeSpan

NEEDED = ("prompt", "images", "reward_model")
_SOURCE = "mmduet2"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    role: Literal["system", "user", "assistant"]
    content: str
    last_image_time: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    image: NonEmptyText


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    content: NonEmptyText
    reply_timespan: WideSpan
    question: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Truth:
    answer: tuple[_Answer, ...]
    model_pred_timestamps: Annotated[tuple[Seconds, ...], Field(min_length=1)]
    question_id: IdText


@dataclass(frozen=True, slots=True, kw_only=True)
class _RewardModel:
    ground_truth: _Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    prompt: Annotated[tuple[_Message, ...], Field(min_length=1)]
    images: tuple[_Image, ...]
    reward_model: _RewardModel
    data_source: str = _SOURCE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    type: Literal["image", "text"]
    image: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _UserTurn:
    content: tuple[_Part, ...] = field(default=())


def turns_file(path: Path) -> Path:
    """The file of user turns that belongs to a Parquet file."""
    return path.with_name(f"{path.stem}-user_turns.json")


def read(path: Path, layout: Layout) -> Iterator[Segment | DataError]:
    """The examples, one by one. What was cut from the history is not in them."""
    later = json_object_in(turns_file(path), "the user turns of each question_id")

    def segment(placed: tuple[str, dict[str, Any]]) -> Segment:
        where, value = placed
        row = read_as(_Row, value, where)
        name = row.reward_model.ground_truth.question_id
        if name not in later:
            raise DataError(f"{where}: question_id {name!r} is not in {turns_file(path)}")
        if not isinstance(later[name], list):
            raise DataError(f"{turns_file(path)}: the user turns of {name!r} must be a list")
        turns = [
            read_as(_UserTurn, turn, f"{turns_file(path)}, {name!r}, turn {number}")
            for number, turn in enumerate(later[name], 1)
        ]
        return _segment(row, turns, where, layout)

    return each(read_parquet(path, NEEDED), segment)


Encoded = tuple[dict[str, Any], dict[str, Any]]  # the row, and the user turns by question_id


def encode(segment: Segment, layout: Layout) -> Encoded:
    """The row of an example, and what is in the other file. Raises DataError for a segment without
    a turn."""
    turns = turns_of(segment, layout)
    return _plain(segment, turns), {segment.example_id: _user_turns(turns)}


def write(path: Path, rows: Iterable[Encoded]) -> int:
    """Writes both files, row by row; gives the number of examples."""
    beside = turns_file(path)
    with replacing(beside) as temporary, temporary.open("w", encoding="utf-8") as file:

        def plain() -> Iterator[dict[str, Any]]:
            seen: set[str] = set()
            for number, (row, turns) in enumerate(rows):
                if twice := seen.intersection(turns):
                    raise DataError(
                        f"question_id {min(twice)!r} comes twice; give each row its own row_id"
                    )
                seen.update(turns)
                text = json.dumps(turns, ensure_ascii=False)
                file.write((",\n" if number else "{") + text[1:-1])
                yield row
            file.write("}\n")

        return write_parquet(path, plain(), schema())


def looks_like(value: Mapping[str, Any]) -> bool:
    """Whether a file with these columns is one of these."""
    return "reward_model" in value


def schema() -> Any:
    """The pyarrow.Schema of the file."""
    pa = pyarrow()
    text, number = pa.string(), pa.float64()

    def record(**fields: Any) -> Any:
        return pa.struct(fields.items())

    answer = record(role=text, content=text, question=text, reply_timespan=pa.list_(number))
    truth = record(
        answer=pa.list_(answer),
        model_pred_timestamps=pa.list_(number),
        question_id=text,
        prev_assistant_replies=pa.list_(text),
    )
    fields = {
        "data_source": text,
        "prompt": pa.list_(record(role=text, content=text, last_image_time=number)),
        "images": pa.list_(record(image=text, type=text)),
        "ability": text,
        "reward_model": record(style=text, ground_truth=truth),
        "extra_info": record(num_images=pa.int64(), question_id=text, tools_kwargs=text),
    }
    return pa.schema(fields.items())


def truth_of(segment: Segment, turns: SegmentTurns) -> dict[str, Any]:
    """What a reward needs to know of an example: `ground_truth` of a row."""
    return {
        "answer": [
            {
                "role": "assistant",
                "content": gold.content,
                "question": gold.question,
                "reply_timespan": [gold.span.start_s, gold.span.end_s],
            }
            for gold in turns.due
        ],
        "model_pred_timestamps": list(turns.times_s),
        "question_id": segment.example_id,
        "prev_assistant_replies": list(turns.said),
    }


def _plain(segment: Segment, turns: SegmentTurns) -> dict[str, Any]:
    num_images = sum(turn.num_frames for turn, _ in turns.prompt)
    extra = {"num_images": num_images, "question_id": segment.example_id, "tools_kwargs": "{}"}
    return {
        "data_source": segment.row.source or _SOURCE,
        "prompt": [{**message_of(turn), "last_image_time": t} for turn, t in turns.prompt],
        "images": [{"image": name, "type": "image"} for name in turns.images[:num_images]],
        "ability": "proactive",
        "reward_model": {"style": "rule", "ground_truth": truth_of(segment, turns)},
        "extra_info": extra,
    }


def _user_turns(turns: SegmentTurns) -> list[dict[str, Any]]:
    images = iter(turns.images)
    users = [turn for turn, _ in turns.prompt if turn.role == "user"]
    return [
        {"content": parts_of(turn.text, [next(images) for _ in range(turn.num_frames)])}
        for turn in (*users, *turns.later)
    ]


def parts_of(text: str, images: Iterable[str]) -> list[dict[str, str]]:
    """A user turn as parts: images, then text."""
    shown = [{"type": "image", "image": image} for image in images]
    return [*shown, {"type": "text", "text": text}] if text else shown


def _segment(row: _Row, users: list[_UserTurn], where: str, layout: Layout) -> Segment:
    truth, clock = row.reward_model.ground_truth, layout.clock
    asked = [message for message in row.prompt if message.role == "user"]
    rest = users[len(asked) :]
    times_s = truth.model_pred_timestamps
    if not asked or row.prompt[-1].role != "user":
        raise DataError(f"{where}: 'prompt' must end with a user message")
    if len(times_s) != 1 + len(rest):
        raise DataError(
            f"{where}: {len(times_s)} model_pred_timestamps for {1 + len(rest)} turns to answer: "
            "the last of the prompt, and those that follow it among the user turns"
        )
    names = [image.image for image in row.images]
    num_marks = sum(message.content.count(FRAME_TEXT) for message in row.prompt)
    if num_marks != len(names):
        raise DataError(f"{where}: {num_marks} {FRAME_TEXT} marks, but {len(names)} images")
    names += [part.image for turn in rest for part in turn.content if part.type == "image"]
    turns, num_before = _timed(row, where, layout)
    for turn, time_s in zip(rest, times_s[1:], strict=True):
        text = "\n".join(part.text for part in turn.content if part.type == "text")
        turns.append(TimedTurn("user", text, time_s, time_s))
    track = track_of(names, clock, where, num_before)
    task = task_of(truth.question_id, turns, where)
    due = tuple(GoldTurn(a.content, a.reply_timespan, a.question) for a in truth.answer)
    video = track.video
    shown = ProactiveRow(
        Task(task.task_id, task.questions, (*task.gold, *due), track.duration_s),
        video,
        _video_id(video),
        row.data_source,
        layout.kind,
        kind_of(task.questions),
        track.part,
        provenance=Provenance(where),
    )
    first = asked[-1].content.count(FRAME_TEXT)
    start_s = clock.time_of(clock.frames_until(times_s[0]) - first)
    return Segment(truth.question_id, shown, TimeSpan(start_s, times_s[-1]))


def _timed(row: _Row, where: str, layout: Layout) -> tuple[list[TimedTurn], int]:
    """The messages of the prompt with their times, and the number of the first frame shown."""
    turns: list[TimedTurn] = []
    num_before, begins_s = 0, 0.0
    for number, message in enumerate(row.prompt, 1):
        num_frames, time_s = message.content.count(FRAME_TEXT), message.last_image_time or 0.0
        if message.role == "user" and num_frames:
            if message.last_image_time is None:
                raise DataError(f"{where}, prompt {number}: 'last_image_time' is missing")
            first = layout.clock.frames_until(time_s) - num_frames
            num_before = first if not begins_s else num_before
            begins_s = round(layout.clock.time_of(first + 1) - layout.clock.frame_interval_s / 2, 9)
        elif turns and (message.role == "assistant" or message.last_image_time is None):
            time_s = turns[-1].time_s  # a turn without frames does not move the clock
        text = message.content.replace(FRAME_TEXT, "")
        turns.append(TimedTurn(message.role, text, time_s, begins_s))
    return turns, num_before


def _video_id(video: str) -> str:
    folder, _, name = video.rpartition("/")
    return folder.rpartition("/")[2] if "%" in name else name.rpartition(".")[0] or name
