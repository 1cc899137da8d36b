"""The clean world: coloured shapes on a plain ground."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from oncue.world.scene import Scene, SceneStyle, Track

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 230),
    "yellow": (240, 215, 40),
    "white": (245, 245, 245),
    "purple": (160, 50, 190),
}
FORMS = ("square", "circle", "triangle")

STYLE = SceneStyle(
    weights={"appears": 4.0, "leaves": 2.5, "moves": 1.5, "changes": 1.5},
    mean_gap_s=3.0,
    max_objects=3,
    num_looks=len(COLOURS),
    num_forms=len(FORMS),
    heights=(0.28, 0.45),
    names=(tuple(COLOURS), FORMS),
)
QUESTION_KINDS = {
    "appears": 3.0,
    "leaves": 2.0,
    "moves": 1.5,
    "changes": 1.5,
    "count": 2.0,
    "all": 2.0,
    "look": 2.0,
    "side": 2.0,
}


class ShapesPainter:
    """Paints a scene at any time, at any size. The ground is one dark grey, drawn once per clip."""

    def __init__(
        self, scene: Scene, rng: np.random.Generator, height_px: int, width_px: int
    ) -> None:
        self.scene, self.height_px, self.width_px = scene, height_px, width_px
        base = int(rng.integers(10, 80))
        self._ground = tuple(int(v) for v in np.clip(base + rng.integers(-10, 11, 3), 0, 255))

    def frame_at(self, time_s: float) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        image = Image.new("RGB", (self.width_px, self.height_px), self._ground)
        draw = ImageDraw.Draw(image)
        for track in self.scene.tracks:
            if track.presence_at(time_s) > 0:
                self._draw(draw, track, time_s)
        return np.asarray(image)

    def _draw(self, draw: ImageDraw.ImageDraw, track: Track, time_s: float) -> None:
        radius = track.height * min(self.height_px, self.width_px) / 2
        x, y = track.x_at(time_s) * self.width_px, track.y * self.height_px
        colour = list(COLOURS.values())[track.look_at(time_s)]
        box = (x - radius, y - radius, x + radius, y + radius)
        if FORMS[track.form] == "square":
            draw.rectangle(box, fill=colour)
        elif FORMS[track.form] == "circle":
            draw.ellipse(box, fill=colour)
        else:
            draw.polygon(
                [(x - radius, y + radius), (x + radius, y + radius), (x, y - radius)], fill=colour
            )
