"""Laws of made-up clips: seeds, gold, and the exact moment at which an event can be seen."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from oncue.clock import Clock
from oncue.data.dialogue_sources import WorldSource
from oncue.errors import ConfigError
from oncue.eval.benchmarks.baselines import oracle_replies
from oncue.video.source import FileSource, frames_of
from oncue.video.writer import write_video
from oncue.world.clip import SPLITS, WORLDS, Clip, make_clip
from oncue.world.questions import WORDINGS
from oncue.world.scene import Event
from oncue.world.shapes import COLOURS

CLOCK = Clock(1.0)


def clips(world: str, num_clips: int = 60, split: str = "test", **how: object) -> list[Clip]:
    return [make_clip(world, split, index, **how) for index in range(num_clips)]


def test_a_clip_that_stands_still_shows_its_middle_also_where_the_ground_changes():
    """Clips in which nothing is just coming or going: that would be there in half, and is there or
    not."""
    num_cut = 0
    for clip in clips("footage", 90):
        middle_s = clip.scene.duration_s / 2
        if any(0 < track.presence_at(middle_s) < 1 for track in clip.scene.tracks):
            continue
        num_cut += bool(clip.scene.cuts)
        assert (
            clip.standing_still().painter().frame_at(middle_s) == clip.painter().frame_at(middle_s)
        ).all()
    assert num_cut > 5


@pytest.mark.parametrize("world", WORLDS)
def test_the_same_seed_gives_the_same_clip(world):
    one, two = make_clip(world, "test", 3, seed=5), make_clip(world, "test", 3, seed=5)
    assert one.task == two.task
    assert one.scene == two.scene
    assert np.array_equal(one.painter().frame_at(6.25), two.painter().frame_at(6.25))


@pytest.mark.parametrize("world", WORLDS)
def test_splits_seeds_and_numbers_differ(world):
    made = [
        make_clip(world, split, index, seed=seed)
        for split in SPLITS
        for index in range(20)
        for seed in (5, 6)
    ]
    assert len({clip.clip_id for clip in made}) == 120
    eventful = [clip for clip in made if clip.scene.events]
    assert len(eventful) > 80
    assert len({repr(clip.scene) for clip in made}) == 120
    assert (
        len({clip.painter().frame_at(clip.scene.duration_s - 1).tobytes() for clip in eventful})
        > len(eventful) - 5
    )


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="shapes, footage"):
        make_clip("circles", "test", 0)
    with pytest.raises(ConfigError, match="train, val, test"):
        make_clip("shapes", "dev", 0)


def test_kinds_a_world_cannot_be_asked_are_left_out_and_none_is_an_error():
    asked = clips("footage", question_kinds={"look": 5.0, "leaves": 1.0}, num_clips=20)
    assert {question.text for clip in asked for question in clip.task.questions} == set(
        WORDINGS["leaves"]
    )
    look = clips("shapes", question_kinds={"look": 5.0}, num_clips=20)
    assert all(any(colour in clip.task.questions[0].text for colour in COLOURS) for clip in look)
    for world, kinds in (
        ("footage", {"look": 1.0}),
        ("shapes", {"smell": 1.0}),
        ("shapes", {"leaves": 0.0}),
    ):
        with pytest.raises(ConfigError, match="question_kinds"):
            make_clip(world, "test", 0, question_kinds=kinds)
        with pytest.raises(ConfigError, match=f"world {world}: question_kinds"):
            WorldSource(worlds={world: 1.0}, question_kinds=kinds)
    WorldSource(worlds={"shapes": 1.0, "footage": 0.0}, question_kinds={"look": 1.0})


@pytest.mark.parametrize("world", WORLDS)
def test_every_gold_span_has_width_lies_in_the_clip_and_holds_a_turn(world):
    num_gold = 0
    for clip in clips(world, 300):
        duration_s = clip.scene.duration_s
        for gold in clip.task.gold:
            num_gold += 1
            assert gold.visible_s == gold.span.start_s
            assert 0 < gold.span.start_s < gold.span.end_s <= duration_s
            first = CLOCK.time_of(CLOCK.first_at_or_after(gold.span.start_s))
            assert first in gold.span
        assert list(oracle_replies(clip.task, 1.0).values()) == [g.content for g in clip.task.gold]
    assert num_gold > 300


@pytest.mark.parametrize("world", WORLDS)
def test_gold_belongs_to_the_question_that_is_open(world):
    num_second = 0
    for clip in clips(world, 200):
        questions = clip.task.questions
        assert all(0 <= q.time_s < clip.scene.duration_s for q in questions)
        for gold in clip.task.gold:
            open_now = [q for q in questions if q.time_s <= gold.span.start_s][-1]
            later = [q.time_s for q in questions if q.time_s > gold.span.start_s]
            assert gold.question == open_now.text
            assert gold.span.end_s < min(later, default=math.inf)
            num_second += open_now is not questions[0]
    assert num_second > 5


def area_of(frame: np.ndarray, colour: str) -> dict[str, int]:
    """Pixels of exactly this colour in the left and the right half."""
    mask = (frame == COLOURS[colour]).all(-1)
    middle = mask.shape[1] // 2
    return {"left": int(mask[:, :middle].sum()), "right": int(mask[:, middle:].sum())}


def shows(event: Event, before: np.ndarray, after: np.ndarray) -> bool:
    """Whether the event happened between two frames, judged by the colours on the side where it
    should be."""
    colour = event.name.split()[0]
    grown = area_of(after, colour)[event.side] - area_of(before, colour)[event.side]
    if event.kind == "changes":
        fresh = area_of(after, event.detail)[event.side] - area_of(before, event.detail)[event.side]
        return grown < 0 < fresh
    return grown < 0 if event.kind == "leaves" else grown > 0


def test_an_event_can_be_seen_from_visible_s_on_and_not_one_frame_earlier():
    """Brute force over every uncompressed frame of shapes."""
    seen = dict.fromkeys(("appears", "leaves", "changes", "moves"), 0)
    for clip in clips("shapes", 16):
        frames, rate = list(clip.video_frames()), clip.scene.frame_rate
        for event in clip.scene.events:
            k = round(event.visible_s * rate)
            assert k == event.visible_s * rate
            assert shows(event, frames[k - 1], frames[k]), event
            if event.kind != "moves":
                quiet = frames[k - 3 : k]  # within the dead time before, nothing else happens
                assert all(np.array_equal(frame, frames[k - 1]) for frame in quiet)
                assert not any(shows(event, frames[k - 1], frame) for frame in quiet)
                assert np.array_equal(frames[k], frames[min(k + 1, len(frames) - 1)])
            seen[event.kind] += 1
    assert min(seen.values()) >= 5


def test_frames_of_shapes_change_only_where_something_happens():
    for clip in clips("shapes", 12):
        frames, rate = list(clip.video_frames()), clip.scene.frame_rate
        changed_s = [
            k / rate for k in range(1, len(frames)) if not np.array_equal(frames[k - 1], frames[k])
        ]
        moves = [(g.start_s, g.end_s) for track in clip.scene.tracks for g in track.glides]
        events_s = {event.visible_s for event in clip.scene.events}
        for time_s in changed_s:
            assert time_s in events_s or any(start_s <= time_s <= end_s for start_s, end_s in moves)


def test_a_move_is_due_when_the_middle_is_crossed():
    num_moves = 0
    for clip in clips("shapes", 40):
        for event in (e for e in clip.scene.events if e.kind == "moves"):
            crossing = [
                track
                for track in clip.scene.tracks
                if (track.x_at(event.visible_s - 0.25) < 0.5)
                != (track.x_at(event.visible_s + 1e-9) < 0.5)
            ]
            assert len(crossing) == 1
            assert (crossing[0].x_at(math.inf) < 0.5) == (event.side == "left") or len(
                crossing[0].glides
            ) > 1
            num_moves += 1
    assert num_moves > 10


@pytest.mark.parametrize("world", WORLDS)
def test_grid_frames_are_what_the_written_file_shows(world, tmp_path):
    worst = []
    for clip in clips(world, 2, "val"):
        path = tmp_path / f"{clip.clip_id}.mp4"
        write_video(path, clip.video_frames(), clip.scene.frame_rate)
        source = FileSource(path, 1.0)
        assert source.duration_s == clip.scene.duration_s
        shown, grid = list(frames_of(source)), clip.grid_frames(CLOCK)
        assert len(shown) == len(grid) == clip.scene.duration_s
        pts_s = [batch.pts_s[0] for batch in shown]
        assert pts_s == [min(k + 1.0, clip.scene.duration_s - 0.25) for k in range(len(grid))]
        worst += [
            np.abs(b.pixels[0].astype(int) - g.astype(int)).mean()
            for b, g in zip(shown, grid, strict=True)
        ]
    assert max(worst) < 6


def test_grid_frames_at_another_interval():
    clip = make_clip("shapes", "val", 0)
    frames = list(clip.video_frames())
    grid = clip.grid_frames(Clock(0.6))
    assert len(grid) == math.ceil(clip.scene.duration_s / 0.6)
    for k, frame in enumerate(grid, 1):
        assert np.array_equal(frame, frames[min(math.floor(k * 0.6 * 4 + 1e-6), len(frames) - 1)])


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(
    ("num_frames", "interval_s"), [(1, 0.02), (2, 0.2), (7, 0.5), (5, 1.5), (7, 0.3), (3, 1.1)]
)
def test_a_fixed_length_is_kept(world: str, num_frames: int, interval_s: float) -> None:
    clock = Clock(interval_s)
    length_s = clock.time_of(num_frames)
    clip = make_clip(world, "train", 0, duration_s=(length_s, length_s))
    assert clip.scene.duration_s == length_s
    times_s = clip.grid_times(clock)
    assert len(clip.grid_frames(clock)) == len(times_s) == num_frames
    assert 0 <= times_s[0] <= times_s[-1] <= length_s
    assert len(list(clip.video_frames())) / clip.scene.frame_rate == pytest.approx(
        length_s, abs=0.25
    )
    drawn = make_clip(world, "train", 0, duration_s=(length_s + 2, length_s + 4))
    assert drawn.scene.duration_s == round(drawn.scene.duration_s)


def test_an_event_that_is_due_is_shown_whatever_the_length() -> None:
    """Also where the clip ends between two frames of its video."""
    num_last = 0
    for index in range(200):
        clip = make_clip("footage", "train", index, duration_s=(6.6, 6.6), mean_gap_s=0.5)
        last_s = clip.grid_times(Clock(1.1))[-1]
        visible_s = [event.visible_s for event in clip.scene.events]
        assert all(time_s <= last_s for time_s in visible_s)
        num_last += last_s in visible_s
    assert num_last > 0


def test_a_standing_clip_of_shapes_has_one_picture_and_nothing_is_due():
    for clip in clips("shapes", 8):
        still = clip.standing_still()
        middle = clip.painter().frame_at(clip.scene.duration_s / 2)
        assert all(np.array_equal(frame, middle) for frame in still.grid_frames(CLOCK))
        assert (still.task.gold, still.task.questions) == ((), clip.task.questions)
        assert still.clip_id != clip.clip_id


def test_a_standing_clip_of_footage_only_trembles():
    """What changes in it (noise, light, swaying) is far less than what an event changes."""
    for clip in clips("footage", 4):
        grid = [frame.astype(int) for frame in clip.standing_still().grid_frames(CLOCK)]
        assert max(np.abs(a - b).mean() for a, b in itertools.pairwise(grid)) < 25


@pytest.mark.parametrize("world", WORLDS)
def test_painting_is_free_of_order(world):
    clip = make_clip(world, "test", 1)
    painter = clip.painter()
    late, early = painter.frame_at(9.0), painter.frame_at(2.0)
    again = clip.painter()
    assert np.array_equal(early, again.frame_at(2.0))
    assert np.array_equal(late, again.frame_at(9.0))
    assert (early.shape, early.dtype) == ((clip.height_px, clip.width_px, 3), np.uint8)
