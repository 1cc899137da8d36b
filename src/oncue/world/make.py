"""Writes clips of a world to a folder: videos, annotations, scenes and gold dialogues.

DIR/videos/<clip_id>.mp4     H.264 DIR/annotations.json         one item per clip, ProactiveVideoQA
format, plus `visible_s` of every gold reply DIR/scenes.jsonl             one line per clip: every
event with its time, and a caption of the span it opens DIR/dialogues.jsonl          one line per
clip, MMDuet2's SFT row format; images are `videos/x.mp4#t=SECONDS` DIR/world.json
what made it: world, split, seed, count, version, and a digest of what draws (`drawn_by`)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from oncue import __version__
from oncue.clock import Clock
from oncue.dialogue.write import Placement, write_dialogue
from oncue.errors import ConfigError
from oncue.files import write_json, write_text
from oncue.render.actions import TextFormat
from oncue.render.qwen_vl import PROACTIVE_SYSTEM
from oncue.types import Dialogue
from oncue.video import writer
from oncue.video.writer import write_video
from oncue.world.clip import Clip, make_clip
from oncue.world.questions import describe


@lru_cache(maxsize=1)
def drawn_by() -> str:
    """A digest of all that decides what a clip looks like and what is due in it: the code that
    draws and writes it, and the libraries it uses. Clips and scores of different ones must not be
    mixed."""
    digest = hashlib.sha256(" ".join(version(name) for name in ("numpy", "pillow", "av")).encode())
    for path in (*sorted(Path(__file__).parent.glob("*.py")), Path(writer.__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def make_world(
    folder: Path,
    *,
    world: str = "shapes",
    split: str = "train",
    count: int = 16,
    seed: int = 0,
    frame_interval_s: float = 1.0,
    frames_per_turn: int = 1,
    placement: Placement = Placement.END,
    on_clip: Callable[[Clip, Path], None] = lambda _clip, _path: None,
) -> list[Clip]:
    """Writes `count` clips and their gold, and returns them. Videos that are already there are
    kept, and so is their gold, where they are more.

    Raises ConfigError for an unknown world or split, a count below 1, or a folder that holds
    another world.
    """
    if count < 1:
        raise ConfigError(f"count must be at least 1, got {count}")
    made = {
        "world": world,
        "split": split,
        "seed": seed,
        "version": __version__,
        "drawn_by": drawn_by(),
    }
    num_there = _claim(folder, made)
    num_kept = max(count, num_there)
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    # Whatever stops this, the folder is this world's
    write_json(folder / "world.json", {**made, "count": num_there})
    clips = [make_clip(world, split, index, seed=seed) for index in range(num_kept)]
    for clip in clips[:count]:
        path = video_path(folder, clip)
        if not path.exists():
            write_video(path, clip.video_frames(), clip.scene.frame_rate)
        on_clip(clip, path)
    clock = Clock(frame_interval_s)
    rows = [
        _sft_row(
            clip, video_path(folder, clip).relative_to(folder), clock, frames_per_turn, placement
        )
        for clip in clips
    ]
    write_json(folder / "annotations.json", [annotation(clip) for clip in clips])
    write_text(folder / "scenes.jsonl", "".join(json.dumps(_scenes(clip)) + "\n" for clip in clips))
    write_text(folder / "dialogues.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_json(folder / "world.json", {**made, "count": num_kept})
    return clips[:count]


def video_path(folder: Path, clip: Clip) -> Path:
    return folder / "videos" / f"{clip.clip_id}.mp4"


def _claim(folder: Path, made: dict[str, Any]) -> int:
    """The number of clips in the folder. Refuses to mix two worlds, splits, seeds, or ways to draw
    them in one."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; give a folder to write the clips to")
    note = folder / "world.json"
    if not note.exists():
        return 0
    try:
        there = dict(json.loads(note.read_text("utf-8")))
        num_clips = int(there.pop("count"))
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{note} is broken ({error!r}); remove {folder} or give another folder"
        ) from error
    if there != made:
        older = {**there, **{name: made[name] for name in ("version", "drawn_by")}} == made
        why = " (drawn by another version of this package or of its libraries)" if older else ""
        raise ConfigError(
            f"{folder} holds {there}, not {made}{why}; give another folder or remove this one"
        )
    return num_clips


def annotation(clip: Clip) -> dict[str, Any]:
    """The clip's questions and due replies as `data.gold.load_gold` reads them."""
    return {
        "video": f"{clip.clip_id}.mp4",
        "question_id": clip.clip_id,
        "duration": clip.scene.duration_s,
        "conversation": [
            {"role": "user", "content": q.text, "time": q.time_s} for q in clip.task.questions
        ],
        "answer": [
            {
                "role": "assistant",
                "content": gold.content,
                "question": gold.question,
                "related_timespan": [gold.span.start_s, gold.span.end_s],
                "reply_timespan": [gold.span.start_s, gold.span.end_s],
                "visible_s": gold.visible_s,
            }
            for gold in clip.task.gold
        ],
    }


def _scenes(clip: Clip) -> dict[str, Any]:
    events = clip.scene.events
    ends_s = [event.visible_s for event in events[1:]] + [clip.scene.duration_s] * bool(events)
    return {
        "video": f"{clip.clip_id}.mp4",
        "duration": clip.scene.duration_s,
        "scenes": [
            {
                "span": [event.visible_s, end_s],
                "caption": "The scene is cut." if event.kind == "cut" else describe(event),
                "kind": event.kind,
                "visible_s": event.visible_s,
                "num_objects": event.count,
            }
            for event, end_s in zip(events, ends_s, strict=True)
        ],
    }


def gold_dialogue(clip: Clip, clock: Clock, frames_per_turn: int, placement: Placement) -> Dialogue:
    """The dialogue due on this clip, with the proactive system message and text silence."""
    return write_dialogue(
        clip.task,
        clock.first_at_or_after(clip.scene.duration_s),
        clock,
        system=PROACTIVE_SYSTEM,
        silence=TextFormat().silence_text,
        frames_per_turn=frames_per_turn,
        placement=placement,
    )


def _sft_row(
    clip: Clip, video: Path, clock: Clock, frames_per_turn: int, placement: Placement
) -> dict[str, Any]:
    dialogue = gold_dialogue(clip, clock, frames_per_turn, placement)
    return {
        "messages": [
            {"role": t.role, "content": "<image>" * t.num_frames + t.text} for t in dialogue.turns
        ],
        "images": [
            {"path": f"{video}#t={round(clock.time_of(k + 1), 6):.10g}"}
            for k in range(dialogue.num_frames)
        ],
        "metadata": {"question_id": clip.clip_id, "video_id": clip.clip_id},
    }
