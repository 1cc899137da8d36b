"""What differs between two pictures of a scene: all that someone can truthfully report who has seen
only these two."""

from __future__ import annotations

from collections.abc import Iterator

from oncue.world.scene import Event, Scene, SceneStyle, Track, side_of


def differences(scene: Scene, style: SceneStyle, from_s: float, to_s: float) -> list[Event]:
    """What must have happened to turn the picture of `from_s` into that of `to_s`, as events that
    end at `to_s`.

    Objects come from left to right; `count` is what the second picture shows. Time may run
    backwards: then what left appears. Pictures on two sides of a cut show different places, and
    nothing can be told but the cut.
    """
    count = sum(track.is_present(to_s) for track in scene.tracks)
    if _num_cuts(scene, from_s) != _num_cuts(scene, to_s):
        return [Event("cut", to_s, count=count)]
    tracks = sorted(scene.tracks, key=lambda track: track.x_at(to_s))
    return [event for track in tracks for event in _of_track(track, style, from_s, to_s, count)]


def _num_cuts(scene: Scene, time_s: float) -> int:
    return sum(cut_s <= time_s for cut_s in scene.cuts)


def _of_track(
    track: Track, style: SceneStyle, from_s: float, to_s: float, count: int
) -> Iterator[Event]:
    was_here, is_here = track.is_present(from_s), track.is_present(to_s)
    old_name, old_side, side = (
        style.name_of(track, from_s),
        side_of(track.x_at(from_s)),
        side_of(track.x_at(to_s)),
    )
    if is_here and not was_here:
        yield Event("appears", to_s, side, style.name_of(track, to_s), count=count)
    elif was_here and not is_here:
        yield Event("leaves", to_s, old_side, old_name, count=count)
    elif is_here:
        if side != old_side:
            yield Event("moves", to_s, side, old_name, count=count)
        if track.look_at(to_s) != track.look_at(from_s):
            yield Event(
                "changes", to_s, side, old_name, style.look_name(track.look_at(to_s)), count
            )
