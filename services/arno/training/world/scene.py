"""Imagine a scene from its seed: what there is, where, and on which background.

Everything is in units of the picture's sides (0..1), so one scene can be drawn at any size. What
the pixels are is decided in ``render`` and ``backgrounds``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from arno.training.world.backgrounds import Background, imagine_background
from arno.training.world.categories import CATEGORIES, Category
from arno.training.world.sprites import glyph_aspect

_OBJECTS_MAX = 3
# Sides of an object in sides of the picture: below a fifth, an object is too few cells of the
# model's 8 x 8 grid.
_SIDE_MIN = 0.20
_SIDE_MAX = 0.50
_ASPECT_MAX = 16 / 9
_STRETCH_MAX = 1.25
# Part of the smaller of two objects that the other may cover: objects touch, and never hide each
# other.
_OVERLAP_MAX = 0.03
_PLACE_ATTEMPTS_MAX = 40


@dataclass(frozen=True, slots=True)
class Placement:
    """One object of a scene: the tight box of its glyph, in units of the picture's sides."""

    category: Category
    x0: float
    y0: float
    x1: float
    y1: float
    mirrored: bool
    brightness: float

    def covers(self, other: Placement) -> float:
        """Return the intersection of both boxes as a part of the smaller box."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        if width <= 0 or height <= 0:
            return 0.0
        return width * height / min(self.area, other.area)

    @property
    def area(self) -> float:
        """The box's area as a part of the picture."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a seed stands for; the objects are in reading order (by left, then upper edge)."""

    seed: int
    aspect: float
    background: Background
    placements: tuple[Placement, ...]


def imagine(seed: int, aspect: float | None = None) -> Scene:
    """Return the scene of ``seed``, which is always the same.

    Objects keep their natural shape, up to a small random stretch, when drawn in the right aspect.

    Args:
        seed: Taken from a ``Split``.
        aspect: Width over height of the picture to draw; None lets the seed decide.
    """
    rng = np.random.default_rng(seed)
    own_aspect = math.exp(rng.uniform(-math.log(_ASPECT_MAX), math.log(_ASPECT_MAX)))
    aspect = own_aspect if aspect is None else aspect
    background = imagine_background(rng)
    placements: list[Placement] = []
    for _ in range(rng.integers(1, _OBJECTS_MAX + 1)):
        placement = _place(rng, aspect, placements)
        if placement is not None:
            placements.append(placement)
    placements.sort(key=lambda placement: (placement.x0, placement.y0))
    return Scene(seed, aspect, background, tuple(placements))


def _place(rng: np.random.Generator, aspect: float, others: list[Placement]) -> Placement | None:
    """Find room for one more object, or return None where the picture is full."""
    category = CATEGORIES[rng.integers(len(CATEGORIES))]
    stretch = math.exp(rng.uniform(-math.log(_STRETCH_MAX), math.log(_STRETCH_MAX)))
    shape = math.sqrt(glyph_aspect(category.glyph) * stretch / aspect)
    mirrored = bool(rng.random() < 0.5)
    brightness = rng.uniform(0.75, 1.2)
    for _ in range(_PLACE_ATTEMPTS_MAX):
        side = rng.uniform(_SIDE_MIN, _SIDE_MAX)
        width = min(max(side * shape, _SIDE_MIN), _SIDE_MAX)
        height = min(max(side / shape, _SIDE_MIN), _SIDE_MAX)
        x0, y0 = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        placement = Placement(category, x0, y0, x0 + width, y0 + height, mirrored, brightness)
        if all(placement.covers(other) <= _OVERLAP_MAX for other in others):
            return placement
    return None
