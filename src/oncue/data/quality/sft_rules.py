"""What can be wrong with a row in the official SFT format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oncue.data.quality.faults import FaultKind, Finding
from oncue.data.quality.media import Media
from oncue.data.quality.row_rules import SILENCE, mark_finding, mark_in
from oncue.data.quality.token_counts import TokenCounter
from oncue.dialogue.frames import locate
from oncue.dialogue.rows import parse_row
from oncue.errors import DialogueError
from oncue.render.markup import FRAME_TEXT
from oncue.types import Dialogue

_FORM_REMEDY = "write it in the SFT row format"


def sft_id(row: Mapping[str, Any]) -> str:
    """The question_id of a row, "" where it has none."""
    metadata = row.get("metadata")
    named = metadata.get("question_id") if isinstance(metadata, Mapping) else None
    return str(named) if named is not None else ""


def sft_findings(
    row: Mapping[str, Any],
    where: str,
    folder: Path,
    media: Media | None,
    tokens: TokenCounter | None,
) -> Iterator[Finding]:
    """Every fault of `row` of a file in `folder`. `media` None: pictures are not looked at, and
    tokens not counted."""
    counted = _image_count(row)
    if counted is not None:
        yield counted
        row = {**row, "images": None}
    try:
        dialogue, images = parse_row(row, where)
    except DialogueError as error:
        said = str(error).removeprefix(where).lstrip(", :")
        yield Finding(FaultKind.FORM, said, _FORM_REMEDY)
        return
    yield from _turns(dialogue)
    if media is None:
        return
    sizes_px: list[tuple[int, int]] = []
    for number, image in enumerate(images, 1):
        look = media.of_image(locate(image, folder))
        if look.finding is not None:
            found = look.finding
            yield Finding(found.kind, found.said, found.remedy, f"image {number}")
        if look.size_px is not None:
            sizes_px.append(look.size_px)
    if tokens is not None and len(sizes_px) == dialogue.num_frames:
        yield from tokens.findings(dialogue, sizes_px)


def _image_count(row: Mapping[str, Any]) -> Finding | None:
    """Marks and images of unequal number, as far as they can be counted."""
    messages, images = row.get("messages"), row.get("images")
    if not isinstance(messages, list) or not isinstance(images, list):
        return None
    texts = [m.get("content") for m in messages if isinstance(m, Mapping)]
    num_marks = sum(text.count(FRAME_TEXT) for text in texts if isinstance(text, str))
    if num_marks == len(images):
        return None
    said = f"{num_marks} {FRAME_TEXT} marks, but {len(images)} images"
    return Finding(FaultKind.IMAGE_COUNT, said, "list one image for each mark, in order")


def _turns(dialogue: Dialogue) -> Iterator[Finding]:
    """Marks in texts, and a reply before anything was asked."""
    asked = False
    for number, turn in enumerate(dialogue.turns, 1):
        place = f"message {number}"
        if mark := mark_in(turn.text):
            yield mark_finding(mark, place)
        asked = asked or (turn.role == "user" and bool(turn.text.strip()))
        if turn.role == "assistant" and turn.text.strip() != SILENCE and not asked:
            said = "it is a reply, but nothing was asked before it"
            yield Finding(FaultKind.UNASKED_REPLY, said, "ask earlier, or drop the reply", place)
            asked = True  # say it once
