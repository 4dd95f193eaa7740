"""The place and the look of an object."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from arno.training.world.categories import Category
from arno.training.world.colours import TINTS, Rgb
from arno.training.world.options import WorldOptions
from arno.training.world.sprites import glyph_aspect
from arno.vocabulary import Box

_STRETCH_MAX = 1.25
_PLACE_ATTEMPTS_MAX = 30


@dataclass(frozen=True, slots=True)
class Placement:
    """One object as it is drawn: ``box`` is the tight box of its glyph, in sides of the picture.

    Attributes:
        category: Kind of the object.
        box: The whole object, including hidden parts.
        mirrored: Whether left and right are swapped.
        brightness: Factor on its colours.
        colour: The name of its colour.
        tint: The colour that it is painted in; None where it has its own.
    """

    category: Category
    box: Box
    mirrored: bool
    brightness: float
    colour: str
    tint: Rgb | None

    def covers(self, other: Placement) -> float:
        """Return the intersection of both boxes as a part of the smaller box."""
        return covered(self.box, other.box)


def covered(one: Box, other: Box) -> float:
    """Return the intersection of two boxes as a part of the smaller one."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    if width <= 0 or height <= 0:
        return 0.0
    smaller = min((box.x1 - box.x0) * (box.y1 - box.y0) for box in (one, other))
    return width * height / smaller


def place(
    rng: np.random.Generator,
    aspect: float,
    others: list[Placement],
    words: list[Box],
    avoided: frozenset[str],
    options: WorldOptions,
) -> Placement | None:
    """Find room for one more object, or return None where the picture is full.

    Args:
        rng: Source of all choices.
        aspect: Width over height of the picture.
        others: The objects that are there.
        words: Boxes that no object may touch.
        avoided: Colours that no object is painted in: those of the background.
        options: The limits of the world.
    """
    category = options.categories[rng.integers(len(options.categories))]
    stretch = math.exp(rng.uniform(-math.log(_STRETCH_MAX), math.log(_STRETCH_MAX)))
    shape = math.sqrt(glyph_aspect(category.glyph) * stretch / aspect)
    mirrored = bool(rng.random() < 0.5)
    brightness = rng.uniform(0.75, 1.2)
    colour, tint = category.colour, None
    if rng.random() < options.tinted_part:
        allowed = [one for one in TINTS if one.name not in avoided]
        painted = allowed[rng.integers(len(allowed))]
        colour, tint = painted.name, painted.shade(rng)
    for _ in range(_PLACE_ATTEMPTS_MAX):
        box = _room(rng, shape, options)
        if any(covered(box, word) > 0 for word in words):
            continue
        if all(covered(box, other.box) <= options.covered_max for other in others):
            return Placement(category, box, mirrored, brightness, colour, tint)
    return None


def _room(rng: np.random.Generator, shape: float, options: WorldOptions) -> Box:
    side = rng.uniform(options.side_min, options.side_max)
    width = min(max(side * shape, options.side_min), options.side_max)
    height = min(max(side / shape, options.side_min), options.side_max)
    x0, y0 = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return Box(x0, y0, x0 + width, y0 + height)
