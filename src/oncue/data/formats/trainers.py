"""Rows of other trainers: ms-swift, TRL and LLaMA-Factory, JSON lines. Frames are picture files.

swift          {"messages": [{role, content: "<image>Who?"}], "images": [path], question_id,
               video_id}; counts of marks and images are equal, as swift wants them
swift-grpo     the same up to the first turn of a segment, and `ground_truth` of the reward and
               `user_turns` still to come as columns, each a text of JSON
trl            {"messages": [{role, content: [{type: "image"}, {type: "text", text}]}],
               "images": [path]}; cast the column with `datasets.Sequence(datasets.Image())`
trl-grpo       the same as "prompt", with the columns of swift-grpo
llama-factory  {"conversations": [{from: "human" | "gpt", value}], "system", "images": [path]};
               dataset_info.json: {"formatting": "sharegpt", "columns": {"messages":
               "conversations", "system": "system", "images": "images"}}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oncue.data.formats.layout import Layout
from oncue.data.formats.reading import json_each
from oncue.data.formats.rl import parts_of, truth_of
from oncue.data.formats.segments import Segment, turns_of
from oncue.data.formats.written_rows import WrittenRow, message_of, written_row
from oncue.errors import DataError
from oncue.types import DialogueTurn

EXPECTED = "a row of a trainer, an object with messages and images"
_SPEAKERS = {"user": "human", "assistant": "gpt"}


def read_swift(path: Path, layout: Layout) -> Iterator[WrittenRow | DataError]:  # noqa: ARG001
    """The rows, one by one."""

    def row(value: Mapping[str, Any], where: str) -> WrittenRow:
        metadata = {name: value[name] for name in ("question_id", "video_id") if name in value}
        kept = {name: value[name] for name in value if name not in metadata}
        return written_row({**kept, "metadata": metadata} if metadata else kept, where)

    return json_each(path, EXPECTED, row)


def swift(row: WrittenRow, layout: Layout) -> dict[str, Any]:  # noqa: ARG001
    """The object of a row. Raises DataError for frames that are no picture files."""
    return {"messages": row.value["messages"], "images": _files(row.images), **row.metadata}


def swift_grpo(segment: Segment, layout: Layout) -> dict[str, Any]:
    """The object of an example."""
    return _example(segment, layout, "messages", message_of)


def read_trl(path: Path, layout: Layout) -> Iterator[WrittenRow | DataError]:  # noqa: ARG001
    """The rows, one by one."""

    def row(value: Mapping[str, Any], where: str) -> WrittenRow:
        messages = value.get("messages")
        if not isinstance(messages, list):
            raise DataError(f"{where}: 'messages' must be a list, got {messages!r:.80}")
        marked = [_marked(m, f"{where}, message {n}") for n, m in enumerate(messages, 1)]
        return written_row({**value, "messages": marked}, where)

    return json_each(path, EXPECTED, row)


def trl(row: WrittenRow, layout: Layout) -> dict[str, Any]:  # noqa: ARG001
    """The object of a row. Raises DataError for frames that are no picture files."""
    messages = [_in_parts(turn) for turn in row.dialogue.turns]
    return {"messages": messages, "images": _files(row.images), "metadata": row.metadata}


def trl_grpo(segment: Segment, layout: Layout) -> dict[str, Any]:
    """The object of an example."""
    return _example(segment, layout, "prompt", _in_parts)


def llama_factory(row: WrittenRow, layout: Layout) -> dict[str, Any]:  # noqa: ARG001
    """The object of a row. Raises DataError for frames that are no picture files, and messages that
    are not user and assistant by turns."""
    turns = row.dialogue.turns
    system = turns[0].text if turns[0].role == "system" else ""
    spoken = turns[1:] if system else turns
    for number, turn in enumerate(spoken):
        if turn.role != ("assistant" if number % 2 else "user"):
            raise DataError(
                f"{row.where}: LLaMA-Factory wants user and assistant by turns, but message "
                f"{number + 1} is of {turn.role}"
            )
    return {
        "conversations": [
            {"from": _SPEAKERS[turn.role], "value": message_of(turn)["content"]} for turn in spoken
        ],
        "system": system,
        "images": _files(row.images),
    }


def is_swift(value: Mapping[str, Any]) -> bool:
    """Whether the first row of a file is one of ms-swift: its images are texts."""
    images = value.get("images")
    named = isinstance(images, list) and all(isinstance(image, str) for image in images)
    return "messages" in value and named and "metadata" not in value


def is_trl(value: Mapping[str, Any]) -> bool:
    """Whether the first row of a file is one of TRL: its messages have parts."""
    messages = value.get("messages")
    return isinstance(messages, list) and any(
        isinstance(m, Mapping) and isinstance(m.get("content"), list) for m in messages
    )


def _files(images: Sequence[str]) -> list[str]:
    for image in images:
        if "#t=" in image:
            raise DataError(
                f"{image} is a moment of a video, which only oncue reads; convert to our rows "
                "first, and from there with --frames"
            )
    return [str(Path(image).absolute()) for image in images]  # other trainers do not look beside


def _in_parts(turn: DialogueTurn) -> dict[str, Any]:
    shown = [{"type": "image"} for _ in range(turn.num_frames)]
    text = [{"type": "text", "text": turn.text}] if turn.text else []
    return {"role": turn.role, "content": [*shown, *text]}


def _marked(message: Callable[[DialogueTurn], dict[str, Any]], where: str) -> dict[str, Any]:
    """A message with parts as one with marks."""
    content = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(content, list):
        raise DataError(f"{where}: 'content' must be a list of parts, got {content!r:.80}")
    text = ""
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind not in ("image", "text") or (
            kind == "text" and not isinstance(part.get("text"), str)
        ):
            raise DataError(f"{where}: a part must be an image or a text, got {part!r:.80}")
        text += "<image>" if kind == "image" else part["text"]
    return {**message, "content": text}


def _example(
    segment: Segment, layout: Layout, name: str, message: Callable[[DialogueTurn], dict[str, Any]]
) -> dict[str, Any]:
    turns = turns_of(segment, layout)
    num_images = sum(turn.num_frames for turn, _ in turns.prompt)
    later, images = [], iter(turns.images[num_images:])
    for turn in turns.later:
        shown = _files([next(images) for _ in range(turn.num_frames)])
        later.append({"content": parts_of(turn.text, shown)})
    return {
        name: [message(turn) for turn, _ in turns.prompt],
        "images": _files(turns.images[:num_images]),
        "question_id": segment.example_id,
        "ground_truth": json.dumps(truth_of(segment, turns), ensure_ascii=False),
        "user_turns": json.dumps(later, ensure_ascii=False),
    }
