"""Training dialogues: from the world on the fly, from rows on disk; the two agree."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from oncue.clock import Clock
from oncue.data.dialogue_sources import RowSource
from oncue.data.mixed_source import MixedSource
from oncue.dialogue.write import Placement
from oncue.errors import ConfigError, DataError, DialogueError
from oncue.world.make import gold_dialogue, make_world
from train_support import SHAPES

CLOCK = Clock(1.0)


def row(*messages: tuple[str, str], images: tuple[str, ...] = (), name: str = "q") -> str:
    listed = [{"path": path} for path in images]
    turns = [{"role": role, "content": content} for role, content in messages]
    return json.dumps(
        {"messages": turns, "images": listed, "metadata": {"question_id": name}}, ensure_ascii=False
    )


def test_a_world_gives_the_same_dialogue_for_the_same_number():
    one, frames = SHAPES.item(5, 1, CLOCK, 1)
    two, again = SHAPES.item(5, 1, CLOCK, 1)
    assert one == two
    assert all(np.array_equal(a, b) for a, b in zip(frames, again, strict=True))
    assert len({SHAPES.item(i, 1, CLOCK, 1)[0] for i in range(8)}) == 8
    assert SHAPES.item(5, 2, CLOCK, 1)[0] != one


@pytest.mark.parametrize(
    ("interval_s", "frames_per_turn"), [(1.0, 2), (0.1, 1), (0.5, 1), (1.5, 1), (2.0, 2)]
)
def test_a_world_keeps_to_the_turns_asked_for(interval_s, frames_per_turn):
    source = replace(SHAPES, num_turns=(3, 5))
    drawn = set()
    for index in range(12):
        dialogue, frames = source.item(index, 0, Clock(interval_s), frames_per_turn)
        num_turns = sum(t.role == "assistant" for t in dialogue.turns)
        drawn.add(num_turns)
        assert len(frames) == dialogue.num_frames == frames_per_turn * num_turns
    assert drawn == {3, 4, 5}


def test_rows_of_a_made_world_are_its_gold_dialogues(tmp_path):
    clips = make_world(tmp_path, world="shapes", split="train", count=2, seed=4)
    source = RowSource((tmp_path / "dialogues.jsonl",))
    assert len(source) == 2
    items = {
        dialogue.dialogue_id: (dialogue, frames)
        for dialogue, frames in (source.item(i, 0, CLOCK, 1) for i in (0, 1))
    }
    for clip in clips:
        dialogue, frames = items[clip.clip_id]
        assert dialogue.turns == gold_dialogue(clip, CLOCK, 1, Placement.END).turns
        painted = clip.grid_frames(CLOCK)
        assert len(frames) == len(painted)
        close = [
            np.abs(a.astype(int) - b.astype(int)).mean()
            for a, b in zip(frames, painted, strict=True)
        ]
        assert max(close) < 6  # what compression leaves
        assert (
            max(close) < np.abs(painted[0].astype(int) - 255).mean()
        )  # a white frame would be seen


def test_every_epoch_holds_every_row_once_in_another_order(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "\n".join(row(("user", f"{i}?"), ("assistant", "x"), name=str(i)) for i in range(9))
    )
    source = RowSource((path,))
    epochs = [
        [source.item(9 * e + i, 0, CLOCK, 1)[0].dialogue_id for i in range(9)] for e in range(3)
    ]
    assert all(sorted(epoch) == [str(i) for i in range(9)] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_a_row_is_a_line_whatever_its_text_holds(tmp_path):
    path = tmp_path / "rows.jsonl"
    text = "two\u2028lines\x85and more"
    path.write_text("\ufeff" + row(("user", "?"), ("assistant", text)) + "\n", "utf-8")
    assert RowSource((path,)).item(0, 0, CLOCK, 1)[0].turns[1].text == text


def test_images_are_looked_for_beside_their_file_then_here(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    Image.new("RGB", (40, 30), (200, 0, 0)).save(tmp_path / "there" / "a.png")
    Image.new("RGB", (40, 30), (0, 200, 0)).save(tmp_path / "here" / "b.png")
    path = tmp_path / "there" / "rows.jsonl"
    path.write_text(row(("user", "<image><image>?"), ("assistant", "x"), images=("a.png", "b.png")))
    monkeypatch.chdir(tmp_path / "here")
    _, frames = RowSource((path,)).item(0, 0, CLOCK, 1)
    assert [frame[0, 0].tolist() for frame in frames] == [[200, 0, 0], [0, 200, 0]]


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        ("{not json", DataError, "row 2 of .* is not JSON"),
        ("[" * 100_000, DataError, "row 2 of .* is not JSON"),
        ("[1]", DataError, r"row 2 of .* holds \[1\]; expected an object with messages"),
        (
            '"other.jsonl"',
            DataError,
            "row 2 of .* holds 'other.jsonl'; expected an object with messages",
        ),
        (
            row(("user", "<image>?"), ("assistant", "x"), images=("gone.png",)),
            DataError,
            "row 2 of .*gone.png",
        ),
        (
            row(("user", "<image>?"), ("assistant", "x"), images=("g.mp4#t=1",)),
            DataError,
            "row 2 of .*g.mp4",
        ),
        (
            '{"messages": [{"role": "user", "content": "<image>"}]}',
            DialogueError,
            "lists no images",
        ),
    ],
)
def test_a_bad_row_is_named(tmp_path, line, error, said):
    path = tmp_path / "rows.jsonl"
    path.write_text(f"\n{line}\n")
    with pytest.raises(error, match=said):
        RowSource((path,)).item(0, 0, CLOCK, 1)


def test_files_without_rows_are_refused(tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n\n")
    with pytest.raises(ConfigError, match="no rows"):
        len(RowSource((empty,)))


def test_bytes_that_are_no_text_are_in_one_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    good = row(("user", "?"), ("assistant", "caf\u00e9")).encode()
    path.write_bytes(good + b"\n" + good.replace("\u00e9".encode(), b"\xe9") + b"\n")
    rows = RowSource((path,)).rows()
    assert rows[0].parse()[0].turns[1].text == "caf\u00e9"
    with pytest.raises(DataError, match=r"row 2 of .* is not UTF-8 text"):
        rows[1].parse()


def test_a_mixture_draws_its_parts_by_their_odds():
    other = replace(SHAPES, num_turns=(6, 6))
    mixed = MixedSource((SHAPES, other), (1.0, 3.0))
    items = [mixed.item(index, 0, CLOCK, 1) for index in range(60)]
    from_other = [len(frames) == 6 for _, frames in items]
    assert 35 <= sum(from_other) <= 55
    for index in (0, 1, 2, 3):
        part = other if from_other[index] else SHAPES
        assert items[index][0] == part.item(index, 0, CLOCK, 1)[0]


@pytest.mark.parametrize("odds", [(1.0,), (), (0.0, 0.0), (1.0, -1.0), (1.0, float("inf"))])
def test_odds_that_nothing_can_be_drawn_by_are_refused(odds):
    with pytest.raises(ConfigError, match="odds"):
        MixedSource((SHAPES, SHAPES), odds)
