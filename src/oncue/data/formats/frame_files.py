"""The picture files of a video: `FOLDER/<video_id>/000001.jpg`, one for each frame of the grid, and
`frames.json` beside them, which says what they show: {"video", "part", "frame_interval_s"}."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from oncue.data.formats.frame_names import frame_names, moments_s, num_frames_of, picture_folder
from oncue.data.formats.layout import Layout
from oncue.data.proactive_rows import ProactiveRow
from oncue.data.video_files import find_video
from oncue.dialogue.frames import frames_at
from oncue.errors import DataError
from oncue.files import replacing
from oncue.json_files import json_object_in

QUALITY = 90  # of JPEG
_ABOUT = "frames.json"


def write_frames(row: ProactiveRow, layout: Layout) -> int:
    """Writes the pictures of the video of `row` that are not in `layout.frames` yet, in one pass
    over it; gives their number.

    Each is there as a whole or not at all, so a run that was stopped goes on where it was. Raises
    DataError for a video that is not found, or whose folder holds pictures of another video, part
    or interval; VideoError for one that is unreadable.
    """
    from PIL import Image

    num_frames = num_frames_of(row, layout)
    names = frame_names(row, num_frames, layout)
    missing = {
        time_s: Path(name)
        for time_s, name in zip(moments_s(row, num_frames, layout.clock), names, strict=True)
        if not Path(name).is_file()
    }
    _check_folder(row, layout)
    if not missing:
        return 0
    video = find_video(row.video, layout.videos or Path())
    with contextlib.closing(frames_at(str(video), list(missing))) as frames:
        for time_s, pixels in frames:
            with replacing(missing[time_s]) as temporary:
                Image.fromarray(pixels).save(temporary, "JPEG", quality=QUALITY)
    return len(missing)


def _check_folder(row: ProactiveRow, layout: Layout) -> None:
    assert layout.frames is not None
    path = Path(picture_folder(row, layout.frames)) / _ABOUT
    part = None if row.part is None else [row.part.start_s, row.part.end_s]
    shows = {
        "video": row.video,
        "part": part,
        "frame_interval_s": layout.clock.frame_interval_s,
    }
    if not path.exists():
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(shows) + "\n", "utf-8")
        return
    before = json_object_in(path, "what the pictures beside it show")
    if before != shows:
        raise DataError(
            f"row {row.row_id!r}: {path.parent} holds the frames of {dict(before)}, not of "
            f"{shows}; give another --frames, or another video_id"
        )
