"""Long films on disk: files show what is drawn, rows ask what the films hold, folders are not
mixed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from oncue import cli
from oncue.data.long_world import make_long_world
from oncue.data.retrieval_examples import RetrievalRows
from oncue.data.retrieval_rows import read_rows
from oncue.errors import ConfigError
from oncue.video.pool_reader import read_pool
from oncue.world.long.film import Film, make_film
from oncue.world.long.observers import bounds
from oncue.world.long.pictures import draw_pool
from oncue.world.make import make_world

SEED, SIZE_PX = 158, 56  # short films
POOL = 96


def make(folder: Path, count: int = 2, seed: int = SEED, split: str = "test") -> list[Film]:
    return make_long_world(folder, split=split, count=count, seed=seed, size_px=SIZE_PX)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Film]]:
    folder = tmp_path_factory.mktemp("long")
    return folder, make(folder)


def test_a_pool_read_from_the_file_shows_what_is_drawn(made: tuple[Path, list[Film]]) -> None:
    folder, films = made
    for film, row in zip(films, read_rows(folder / "rows.jsonl"), strict=True):
        read = read_pool(row.video_in(folder), POOL)
        drawn = draw_pool(film, POOL, SIZE_PX)
        assert read.duration_s == drawn.duration_s == film.duration_s
        assert (read.frames.pts_s == drawn.frames.pts_s).all()
        gaps = np.abs(read.frames.pixels.astype(int) - drawn.frames.pixels).mean(axis=(1, 2, 3))
        assert gaps.max() < 8
        moved = np.roll(drawn.frames.pixels, 1, axis=0)
        control = np.abs(read.frames.pixels.astype(int) - moved).mean(axis=(1, 2, 3))
        assert (control > 40).sum() >= 5


def test_rows_ask_what_the_films_hold(made: tuple[Path, list[Film]]) -> None:
    folder, films = made
    rows = read_rows(folder / "rows.jsonl")
    assert films == [make_film("test", i, SEED) for i in range(2)]
    for film, row in zip(films, rows, strict=True):
        for num_frames in (64, 96, 128):
            assert row.task(num_frames) == film.task(num_frames)
        assert (row.task_type, row.duration_s) == (film.length, film.duration_s)
        assert row.video_in(folder) == row.video_in(folder / "videos")
    source = RetrievalRows((folder / "rows.jsonl",), folder / "videos", num_frames=POOL)
    for check in source.checks():
        check()
    example = source.item(1, 0, None, 1)  # type: ignore[arg-type]
    assert example.task == films[1].task(POOL)


def test_films_are_kept_and_worlds_not_mixed(made: tuple[Path, list[Film]], monkeypatch) -> None:
    folder, films = made
    files = {path: path.stat().st_mtime_ns for path in sorted((folder / "videos").iterdir())}
    rows = (folder / "rows.jsonl").read_text()
    told: list[Film] = []
    found = make_long_world(
        folder,
        split="test",
        count=1,
        seed=SEED,
        size_px=SIZE_PX,
        on_film=lambda film, _path: told.append(film),
    )
    assert (found, told) == (films, films[:1])
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert (folder / "rows.jsonl").read_text() == rows
    assert json.loads((folder / "world.json").read_text())["count"] == 2
    for others in ({"seed": 0}, {"split": "val"}):
        with pytest.raises(ConfigError, match="another folder"):
            make(folder, **others)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="another folder"):
        make_world(folder, world="shapes", count=1)
    monkeypatch.setattr("oncue.data.long_world.films_drawn_by", lambda: "changed")
    with pytest.raises(ConfigError, match="drawn by another version"):
        make(folder)


def test_a_folder_that_was_stopped_half_way_goes_on(tmp_path: Path, monkeypatch) -> None:
    def broken(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("oncue.data.long_world.write_video", broken)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path)
        assert not (tmp_path / "rows.jsonl").exists()
        patched.setattr("oncue.data.long_world.write_video", lambda path, *_: path.touch())
        with pytest.raises(ConfigError, match="another folder"):
            make(tmp_path, seed=0)
        make(tmp_path)
    assert len(read_rows(tmp_path / "rows.jsonl")) == 2


def test_the_command_prints_the_bounds_and_keeps_them(tmp_path: Path, capsys) -> None:
    line = ["world", "make", str(tmp_path), "--world", "long", "--split", "test", "--seed", "158"]
    assert cli.main([*line, "--count", "1", "--json"]) == 0
    shown = capsys.readouterr()
    film, found = map(json.loads, shown.out.splitlines())
    assert (film["type"], film["length"], film["duration_s"]) == ("film", "short", 123)
    assert film["span"][0] <= film["decisive_span"][0] < film["decisive_span"][1] < film["span"][1]
    assert found.pop("type") == "bounds"
    assert found == json.loads((tmp_path / "bounds.json").read_text())
    due = bounds([make_film("test", 0, 158)])
    assert list(found["by_length"]) == ["short", "all"]
    for length, of_length in found["by_length"].items():
        assert of_length["n"] == 1
        assert of_length["observers"] == {
            name: {"seen": 100 * bound.seen, "accuracy": 100 * bound.accuracy}
            for name, bound in due[length].items()
        }
    assert "16 frames, 2 best looks" in shown.err
    assert cli.main([*line, "--count", "1"]) == 0
    assert "short: seen %" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--frame-interval-s", "1"], "long films do not have"),
        (["--count", "0"], "count must be at least 1"),
        (["--seed", "-1"], "--seed must not be negative"),
    ],
)
def test_flags_that_cannot_be(flags: list[str], said: str, tmp_path: Path, capsys) -> None:
    assert cli.main(["world", "make", str(tmp_path), "--world", "long", *flags]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())
