"""Training rows in the official SFT format: `messages` with `<image>` marks, `images`, `metadata`
(paper repository).

A row may come as a dict, as a .json file of one row or a list of rows, or as a .jsonl file. Rows
are numbered from 1; in a .jsonl file the number is that of the line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from oncue.dialogue.frames import is_elsewhere, local_path, locate
from oncue.errors import DataError, DialogueError
from oncue.fields import read_as
from oncue.render.markup import FRAME_TEXT
from oncue.types import Dialogue, DialogueTurn

_MARKS = re.compile(f"(?:{re.escape(FRAME_TEXT)})*")
_OTHER_MARKS = ("<video>", "<audio>")  # which other trainers put media in the place of
_INSTEAD = (
    "list frames as images, one <image> mark each; clip.mp4#t=12.5 is the "
    "frame of a video at 12.5 s"
)

Row = tuple[Dialogue, tuple[Path, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    role: Literal["system", "user", "assistant"]
    content: str
    loss: bool | None = None

    def __post_init__(self) -> None:
        given = f"got {self.content!r:.80}"
        if self.loss and self.role != "assistant":
            raise ValueError("loss must be true only for assistant messages")
        for mark in _OTHER_MARKS:
            if mark in self.content:
                raise ValueError(f"{mark} marks are not supported, {given}; {_INSTEAD}")
        if self.num_frames and self.role != "user":
            raise ValueError(
                f"only user messages show frames, got {FRAME_TEXT} in one of role {self.role}"
            )
        if FRAME_TEXT in self.text:
            raise ValueError(
                f"{FRAME_TEXT} marks must come before the text of a user message, {given}"
            )
        if self.role == "assistant" and not self.text.strip():
            raise ValueError("an assistant message must not be empty; write NO REPLY for silence")
        if self.role == "user" and not self.content:
            raise ValueError("a user message must show a frame or say something, got neither")

    @property
    def text(self) -> str:
        """What comes behind the marks of frames."""
        return self.content[self.num_frames * len(FRAME_TEXT) :]

    @property
    def num_frames(self) -> int:
        marks = _MARKS.match(self.content)
        return len(marks[0]) // len(FRAME_TEXT) if marks else 0


def _image(image: Any) -> Path:
    path = image.get("path") if isinstance(image, Mapping) else image
    if not isinstance(path, str) or not path:
        raise ValueError(f"must be a path or an object with a path, got {image!r:.80}")
    if is_elsewhere(path):
        raise ValueError(f"must be the path of a file, got {path!r:.80}; download it")
    return local_path(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    messages: Annotated[tuple[_Message, ...], Field(min_length=1)]
    images: tuple[Annotated[Any, AfterValidator(_image)], ...] | None = None
    metadata: Annotated[dict[str, Any], BeforeValidator(lambda held: held or {})] = field(
        default_factory=dict
    )
    videos: Any = None
    audios: Any = None

    def __post_init__(self) -> None:
        for name, media in (("videos", self.videos), ("audios", self.audios)):
            if media:
                raise ValueError(
                    f"rows with {name} are not supported, got {media!r:.80}; {_INSTEAD}"
                )


def read_row(source: Path | str | Mapping[str, Any], row: int | None = None) -> Row:
    """The dialogue of one row and the paths of its images in order (empty where the row lists
    none).

    `row` chooses one of a file's rows; a file of one row needs none. Relative image paths are
    returned as they are unless they exist beside the row's file. Raises DialogueError, with the
    row's number, for a row that breaks the format: invalid JSON, no messages, an unknown role, two
    answers in a row, a number of `<image>` marks that is not that of the images listed, marks after
    text, videos or `<video>` marks, images that are no files.
    """
    if isinstance(source, Mapping):
        return parse_row(source, "row")
    path = Path(source)
    chosen: tuple[int, Any] | None = None
    for number, value in _values(path):
        if row is None and chosen is not None:
            raise DialogueError(
                f"{path} holds several rows; choose one with --row N (the first is 1)"
            )
        if row in (None, number):
            chosen = (number, value)
            if row is not None:
                break
    if chosen is None:
        raise DialogueError(
            f"{path} has no row {1 if row is None else row}; rows are numbered from 1"
        )
    return _located(parse_row(chosen[1], f"row {chosen[0]} of {path}"), path)


def read_rows(path: Path | str) -> Iterator[Row]:
    """All rows of a file, in order, read one by one. DialogueError as for `read_row`, and for a
    file without rows."""
    path = Path(path)
    empty = True
    for number, value in _values(path):
        empty = False
        yield _located(parse_row(value, f"row {number} of {path}"), path)
    if empty:
        raise DialogueError(f"{path} holds no row; expected one object per row")


def _values(path: Path) -> Iterator[tuple[int, Any]]:
    """Numbered JSON values of a file."""
    if not path.is_file():
        raise DialogueError(
            f"there is no dialogue file {path}; give a .json or .jsonl file of rows with messages"
        )
    try:
        if path.suffix == ".jsonl":
            with path.open(encoding="utf-8-sig") as lines:
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        yield number, _decode(line, f"row {number} of {path}")
            return
        value = _decode(path.read_text("utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DialogueError(
            f"{path} cannot be read as UTF-8 text ({error}); give a .json or .jsonl file"
        ) from error
    yield from enumerate(value if isinstance(value, list) else [value], start=1)


def _decode(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # also for numbers too long and values too deep
        raise DialogueError(
            f"{where} is not valid JSON: {error}; expected an object with messages (several, one "
            "per line: name the "
            "file .jsonl)"
        ) from error


def parse_row(value: Any, where: str) -> Row:
    """As `read_row` of a mapping; errors begin with `where`, which also names a dialogue that has
    no name."""
    try:
        row = read_as(_Row, value, where)
    except DataError as error:
        raise DialogueError(*error.args) from None
    for index, message in enumerate(row.messages):
        _check_order(message, row.messages[:index], f"{where}, message {index + 1}")
    if all(message.role == "system" for message in row.messages):
        raise DialogueError(
            f"{where}: expected at least one user message, got only a system message"
        )
    dialogue = Dialogue(
        str(row.metadata.get("question_id") or row.metadata.get("video_id") or where),
        tuple(DialogueTurn(m.role, m.text, m.num_frames) for m in row.messages),
        tuple(m.role == "assistant" and m.loss is not False for m in row.messages),
    )
    if row.images is not None and len(row.images) != dialogue.num_frames:
        raise DialogueError(
            f"{where}: {dialogue.num_frames} {FRAME_TEXT} marks, but {len(row.images)} images; "
            "they must be equal"
        )
    return dialogue, row.images or ()


def _check_order(message: _Message, before: Sequence[_Message], where: str) -> None:
    if message.role == "system" and before:
        raise DialogueError(f"{where}: a system message must be the first message")
    if message.role == "assistant" and (not before or before[-1].role != "user"):
        raise DialogueError(f"{where}: an assistant message must answer a user message")


def _located(row: Row, file: Path) -> Row:
    dialogue, paths = row
    return dialogue, tuple(locate(path, file.parent) for path in paths)
