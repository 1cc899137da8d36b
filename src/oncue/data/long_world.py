"""Writes long films and their questions to a folder.

DIR/videos/<film_id>.mp4  H.264, 4 frames a second
DIR/rows.jsonl            one question per film, as `oncue.data.retrieval_rows` reads it: the span
                          is the whole scene that the question is about, the kind of task the class
                          of lengths (short, medium, long)
DIR/world.json            what made it: world, split, seed, size, count, version, and a digest of
                          what draws
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from oncue import __version__
from oncue.data.retrieval_rows import RetrievalRow, write_rows
from oncue.errors import ConfigError
from oncue.files import write_json
from oncue.render.options import labelled
from oncue.video import writer
from oncue.video.writer import write_video
from oncue.world.long import film as films_module
from oncue.world.long import pictures
from oncue.world.long.film import FRAME_RATE, LONGEST_S, SHORTEST_S, Film, check_films, make_film
from oncue.world.long.pictures import film_frames

# A file there is part of the digest of the other worlds, so that it cannot give this another name
from oncue.world.make import _claim as claim

SOURCE = "oncue long films"
SIZE_PX = 224


@lru_cache(maxsize=1)
def films_drawn_by() -> str:
    """A digest of all that decides what a film looks like and what is asked about it: the code that
    draws and writes it, and the libraries it uses."""
    digest = hashlib.sha256(" ".join(version(name) for name in ("numpy", "pillow", "av")).encode())
    for module in (films_module, pictures, writer):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()[:8]


def make_long_world(
    folder: Path,
    *,
    split: str = "train",
    count: int = 16,
    seed: int = 0,
    size_px: int = SIZE_PX,
    on_film: Callable[[Film, Path], None] = lambda _film, _path: None,
) -> list[Film]:
    """Writes `count` films and their questions. Returns the films of the folder: films that are
    already there are kept with their questions, also where they are more.

    `on_film(film, path)` is called for each of the `count` films when its file is there. Raises
    ConfigError for an unknown split, a count below 1, a negative seed, a size below 28 pixels, or a
    folder that holds another world.
    """
    for name, value, least in (("count", count, 1), ("seed", seed, 0), ("size_px", size_px, 28)):
        if value < least:
            raise ConfigError(f"{name} must be at least {least}, got {value}")
    check_films(split, (SHORTEST_S, LONGEST_S))
    made = {
        "world": "long",
        "split": split,
        "seed": seed,
        "size_px": size_px,
        "version": __version__,
        "drawn_by": films_drawn_by(),
    }
    num_there = claim(folder, made)
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    # Whatever stops this, the folder is this world's
    write_json(folder / "world.json", {**made, "count": num_there})
    films = [make_film(split, index, seed) for index in range(max(count, num_there))]
    for film in films[:count]:
        path = folder / video_of(film)
        if not path.exists():
            write_video(path, film_frames(film, size_px), FRAME_RATE)
        on_film(film, path)
    write_rows(folder / "rows.jsonl", map(row_of, films))
    write_json(folder / "world.json", {**made, "count": len(films)})
    return films


def video_of(film: Film) -> str:
    """The path of its file in the folder of its world."""
    return f"videos/{film.film_id}.mp4"


def row_of(film: Film) -> RetrievalRow:
    """The question about a film, with the scene as its span."""
    return RetrievalRow(
        film.film_id,
        film.question,
        film.answer,
        video_of(film),
        labelled(film.options),
        source=SOURCE,
        task_type=film.length,
        duration_s=float(film.duration_s),
        spans=(film.target.span,),
    )
