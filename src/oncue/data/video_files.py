"""Finding the videos that rows name."""

from __future__ import annotations

from pathlib import Path

from oncue.dialogue.frames import is_elsewhere, local_path
from oncue.errors import DataError


def find_video(written: str, folder: Path) -> Path:
    """The file of the video that a row names: in `folder`, at the path as `written` or at the
    longest end of it that is there. An absolute path that is there counts as it is.

    Paths often begin with folders of the machine that the rows were made on. Raises DataError where
    there is no such file.
    """
    if is_elsewhere(written):
        raise DataError(f"{written!r:.80} is no file; download it, and name the file")
    path = local_path(written.replace("\\", "/"))
    if path.is_absolute() and path.is_file():
        return path
    parts = [part for part in path.parts if part not in (path.anchor, "..")]
    for first in range(len(parts)):
        found = folder.joinpath(*parts[first:])
        if found.is_file():
            return found
    raise DataError(
        f"the video {written} is not in {folder}; give the folder of the videos with --videos, or "
        "leave the row out"
    )
