"""Training rows in the official SFT format: `messages` with `<image>` marks, `images`, `metadata`
(paper repository).

A row may come as a dict, as a .json file of one row or a list of rows, or as a .jsonl file. Rows
are numbered from 1; in a .jsonl file the number is that of the line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oncue.dialogue.frames import is_elsewhere, local_path, locate
from oncue.errors import DialogueError
from oncue.fields import whole_text
from oncue.render.markup import FRAME_TEXT
from oncue.types import Dialogue, DialogueTurn

_ROLES = ("system", "user", "assistant")
_OTHER_MARKS = ("<video>", "<audio>")  # which other trainers put media in the place of
_INSTEAD = (
    "list frames as images, one <image> mark each; clip.mp4#t=12.5 is the "
    "frame of a video at 12.5 s"
)

Row = tuple[Dialogue, tuple[Path, ...]]


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
    if not isinstance(value, Mapping):
        raise DialogueError(f"{where}: expected an object with messages, got {value!r:.60}")
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages:
        raise DialogueError(
            f"{where}: expected a list of messages with at least one entry, got {messages!r:.80}"
        )
    for media in ("videos", "audios"):
        if value.get(media):
            raise DialogueError(
                f"{where}: rows with {media} are not supported, got {value[media]!r:.80}; "
                f"{_INSTEAD}"
            )
    turns: list[DialogueTurn] = []
    trained: list[bool] = []
    for index, message in enumerate(messages, start=1):
        turn, loss = _turn(message, f"{where}, message {index}")
        _check_order(turn, turns, f"{where}, message {index}")
        turns.append(turn)
        trained.append(loss)
    if all(turn.role == "system" for turn in turns):
        raise DialogueError(
            f"{where}: expected at least one user message, got only a system message"
        )
    dialogue = Dialogue(_name(value, where), tuple(turns), tuple(trained))
    return dialogue, _images(value, dialogue.num_frames, where)


def _turn(message: Any, where: str) -> tuple[DialogueTurn, bool]:
    if not isinstance(message, Mapping):
        raise DialogueError(
            f"{where}: expected an object with role and content, got {type(message).__name__}"
        )
    role, content, loss = message.get("role"), message.get("content"), message.get("loss")
    if role not in _ROLES:
        raise DialogueError(f"{where}: unknown role {role!r}; expected one of {', '.join(_ROLES)}")
    if not isinstance(content, str):
        raise DialogueError(f"{where}: content must be a string, got {type(content).__name__}")
    whole_text(content, f"{where}: content")
    if loss is not None and (not isinstance(loss, bool) or (loss and role != "assistant")):
        raise DialogueError(
            f"{where}: loss must be true or false, true only for assistant messages, got {loss!r}"
        )
    for mark in _OTHER_MARKS:
        if mark in content:
            raise DialogueError(
                f"{where}: {mark} marks are not supported, got {content!r:.80}; {_INSTEAD}"
            )
    num_frames, text = 0, content
    while text.startswith(FRAME_TEXT):
        num_frames, text = num_frames + 1, text[len(FRAME_TEXT) :]
    if num_frames and role != "user":
        raise DialogueError(
            f"{where}: only user messages show frames, got {FRAME_TEXT} in one of role {role}"
        )
    if FRAME_TEXT in text:
        raise DialogueError(
            f"{where}: {FRAME_TEXT} marks must come before the text of a user message, got "
            f"{content!r:.80}"
        )
    if role == "assistant" and not text.strip():
        raise DialogueError(
            f"{where}: an assistant message must not be empty; write NO REPLY for silence"
        )
    if role == "user" and not content:
        raise DialogueError(
            f"{where}: a user message must show a frame or say something, got neither"
        )
    return DialogueTurn(role, text, num_frames), role == "assistant" and loss is not False


def _check_order(turn: DialogueTurn, before: list[DialogueTurn], where: str) -> None:
    if turn.role == "system" and before:
        raise DialogueError(f"{where}: a system message must be the first message")
    if turn.role == "assistant" and (not before or before[-1].role != "user"):
        raise DialogueError(f"{where}: an assistant message must answer a user message")


def _name(value: Mapping[str, Any], where: str) -> str:
    metadata = value.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise DialogueError(f"{where}: metadata must be an object, got {type(metadata).__name__}")
    return str(metadata.get("question_id") or metadata.get("video_id") or where)


def _images(value: Mapping[str, Any], num_frames: int, where: str) -> tuple[Path, ...]:
    listed = value.get("images")
    if listed is None:
        return ()
    if not isinstance(listed, list):
        raise DialogueError(f"{where}: images must be a list, got {type(listed).__name__}")
    paths: list[Path] = []
    for index, image in enumerate(listed, start=1):
        path = image.get("path") if isinstance(image, Mapping) else image
        if not isinstance(path, str) or not path:
            raise DialogueError(
                f"{where}, image {index}: expected a path or an object with a path, got "
                f"{image!r:.80}"
            )
        if is_elsewhere(path):
            raise DialogueError(
                f"{where}, image {index}: expected the path of a file, got {path!r:.80}; download "
                "it"
            )
        paths.append(local_path(path))
    if len(paths) != num_frames:
        raise DialogueError(
            f"{where}: {num_frames} {FRAME_TEXT} marks, but {len(paths)} images; they must be equal"
        )
    return tuple(paths)


def _located(row: Row, file: Path) -> Row:
    dialogue, paths = row
    return dialogue, tuple(locate(path, file.parent) for path in paths)
