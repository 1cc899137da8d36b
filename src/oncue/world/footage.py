"""The world of fixed cameras: textured things and figures enter and leave before cluttered,
unevenly lit, noisy backgrounds; the camera may shake, the light may drift, the scene may be cut.

Drawn to teach noticing, so that a model that never saw a real clip can say true things about one.
"""

from __future__ import annotations

import math

import numpy as np

from oncue.world.paint import blend, ellipse_mask, smooth_noise
from oncue.world.scene import Scene, SceneStyle, Track

STYLE = SceneStyle(
    weights={"appears": 4.0, "leaves": 3.0, "moves": 0.8, "cut": 0.35},
    mean_gap_s=4.0,
    max_objects=3,
    num_looks=1,
    num_forms=3,
    heights=(0.3, 1.0),
    entries=("pop", "pop", "fade", "slide"),
    ramps_s=(0.25, 0.6),
    empty_frac=0.12,
)
QUESTION_KINDS = {
    "appears": 4.0,
    "leaves": 3.0,
    "all": 3.0,
    "count": 0.0,
    "side": 2.0,
    "moves": 0.7,
}
MARGIN_PX = 6


class FootagePainter:
    """Paints a scene at any time, at any size. Every look is drawn once per clip; a frame is a few
    blends."""

    def __init__(
        self, scene: Scene, rng: np.random.Generator, height_px: int, width_px: int
    ) -> None:
        self.scene, self.height_px, self.width_px = scene, height_px, width_px
        self._grounds = [self._ground(rng) for _ in range(1 + len(scene.cuts))]
        self._sprites = [self._sprite(track) for track in scene.tracks]
        self._noise = rng.normal(
            0, float(rng.choice([0.5, 2, 4, 7])), (height_px + 64, width_px + 64, 1)
        ).astype(np.float32)
        self._jitter_px = float(rng.choice([0, 0, 0, 0, 0.3, 0.6]))
        self._drift = float(rng.choice([0, 0, 6, 15]))
        self._drift_hz = float(rng.uniform(0.01, 0.05))
        self._sway = float(rng.choice([0, 0.003, 0.006, 0.015]))
        self._seed = int(rng.integers(2**31))

    def frame_at(self, time_s: float) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        rng = np.random.default_rng((self._seed, round(time_s * 1000)))
        ground = self._grounds[sum(time_s >= cut for cut in self.scene.cuts)]
        dy, dx = np.clip(np.rint(rng.normal(0, self._jitter_px, 2)), -MARGIN_PX, MARGIN_PX).astype(
            int
        )
        top, left = MARGIN_PX + dy, MARGIN_PX + dx
        canvas = ground[top : top + self.height_px, left : left + self.width_px].copy()
        for track, (sprite, alpha) in zip(self.scene.tracks, self._sprites, strict=True):
            self._draw(canvas, track, sprite, alpha, time_s, (-int(dy), -int(dx)))
        canvas += self._drift * math.sin(2 * math.pi * self._drift_hz * time_s + self._seed % 7)
        ny, nx = rng.integers(0, 64, 2)
        canvas += self._noise[ny : ny + self.height_px, nx : nx + self.width_px]
        return np.clip(canvas, 0, 255).astype(np.uint8)

    def _draw(
        self,
        canvas: np.ndarray,
        track: Track,
        sprite: np.ndarray,
        alpha: np.ndarray,
        time_s: float,
        shift: tuple[int, int],
    ) -> None:
        presence = track.presence_at(time_s)
        if presence <= 0:
            return
        x = track.x_at(time_s)
        if self._sway:
            x += self._sway * math.sin(
                2 * math.pi * (0.2 + track.seed % 5 * 0.07) * time_s + track.seed % 11
            )
        if track.entry == "slide" and presence < 1:
            edge = 0.0 if x < 0.5 else 1.0
            outside = edge + (edge - 0.5) * sprite.shape[1] / self.width_px
            x = outside + (x - outside) * presence
        elif track.entry == "fade":
            alpha = alpha * presence
        top = round(track.y * self.height_px - sprite.shape[0] / 2) + shift[0]
        blend(canvas, sprite, alpha, top, round(x * self.width_px - sprite.shape[1] / 2) + shift[1])

    def _ground(self, rng: np.random.Generator) -> np.ndarray:
        """Walls, floor, furniture and texture under uneven light, with a margin for the shaking
        camera."""
        h, w = self.height_px + 2 * MARGIN_PX, self.width_px + 2 * MARGIN_PX
        canvas = np.empty((h, w, 3), np.float32)
        canvas[:] = rng.uniform(30, 200) + rng.normal(0, 12, 3)
        horizon = int(h * rng.uniform(0.35, 0.9))
        canvas[horizon:] = rng.uniform(30, 200) + rng.normal(0, 18, 3)
        for _ in range(int(rng.integers(0, 9))):
            ph, pw = int(h * rng.uniform(0.08, 0.7)), int(w * rng.uniform(0.05, 0.5))
            colour = np.full((ph, pw, 3), rng.uniform(10, 235), np.float32) + rng.normal(
                0, 25, 3
            ).astype(np.float32)
            mask = ellipse_mask(ph, pw, float(rng.choice([2.0, 30.0, 30.0])))
            blend(
                canvas,
                colour,
                mask,
                int(rng.uniform(-ph / 2, h - ph / 2)),
                int(rng.uniform(-pw / 2, w - pw / 2)),
            )
        strength = float(rng.choice([0, 4, 10, 22]))
        texture = smooth_noise(rng, h, w, int(rng.integers(10, 30))) + smooth_noise(
            rng, h, w, int(rng.integers(4, 9))
        )
        light = 1 + float(rng.uniform(0, 0.35)) * smooth_noise(rng, h, w, 2)
        return (canvas + strength * texture[..., None]) * light[..., None]

    def _sprite(self, track: Track) -> tuple[np.ndarray, np.ndarray]:
        """(h, w, 3) colour and (h, w) alpha: a thing (form 0), a standing figure (1), or a half
        figure (2)."""
        rng = np.random.default_rng(track.seed)
        h = max(6, round(track.height * self.height_px))
        aspect = float(rng.uniform(0.5, 1.3)) if track.form == 0 else float(rng.uniform(0.32, 0.55))
        w = max(5, min(round(h * aspect), round(0.42 * self.width_px)))
        colours = [
            np.clip(rng.uniform(5, 245) + rng.normal(0, 35, 3), 0, 255).astype(np.float32)
            for _ in range(3)
        ]
        sprite, alpha = np.empty((h, w, 3), np.float32), np.zeros((h, w), np.float32)
        sprite[:] = colours[0]
        if track.form == 0:
            alpha = ellipse_mask(h, w, float(rng.choice([2.0, 4.0, 30.0])))
            sprite[h // 3 : h // 2] = colours[1] if rng.random() < 0.5 else colours[0]
        else:
            head_h = round(h * (0.16 if track.form == 1 else 0.3))
            head_w = min(w, max(3, round(head_h * 0.8)))
            body = ellipse_mask(h - head_h + 2, w, 5.0)
            alpha[h - body.shape[0] :] = body
            left = (w - head_w) // 2
            head = ellipse_mask(head_h, head_w)
            alpha[:head_h, left : left + head_w] = np.maximum(
                alpha[:head_h, left : left + head_w], head
            )
            sprite[:head_h] = colours[1]
            if track.form == 1:
                sprite[round(h * 0.55) :] = colours[2]
        sprite += float(rng.choice([0, 6, 14])) * smooth_noise(rng, h, w, 6)[..., None]
        sprite *= 1 + 0.2 * smooth_noise(rng, h, w, 2)[..., None]
        return sprite, alpha
