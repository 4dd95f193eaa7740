"""Shapes and glyphs that are none of the kinds of objects: they are in the picture, never in truth.

They lie beneath the objects and never under a printed word, so that they hide nothing.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from arno.training.world.colours import TINTS, Rgb
from arno.training.world.families import any_colour
from arno.training.world.placement import covered
from arno.training.world.sprites import glyph_aspect
from arno.vocabulary import Box

_GLYPH_PART: Final = 0.5
_ATTEMPTS_MAX: Final = 8
_UNDER_OBJECT_MAX: Final = 0.3
"""Part of the smaller box that an object may share with a distractor."""
_FINER: Final = 2
"""Pixels a side that shapes are drawn with for each pixel of the picture."""


class Shape(enum.Enum):
    """A shape in one colour."""

    ELLIPSE = "ellipse"
    POLYGON = "polygon"
    RING = "ring"
    BAR = "bar"
    CROSS = "cross"
    SPLASH = "splash"


@dataclass(frozen=True, slots=True)
class Distractor:
    """A shape or a glyph that is no object.

    Attributes:
        box: The tight box, in sides of the picture.
        drawn: The shape, or the glyph's character.
        colour: The shape's colour; of a glyph its tint, None where it keeps its own.
        seed: Seed of the rest of a shape.
    """

    box: Box
    drawn: Shape | str
    colour: Rgb | None
    seed: int


def distract(
    rng: np.random.Generator,
    aspect: float,
    objects: list[Box],
    words: list[Box],
    glyphs: tuple[str, ...],
) -> Distractor | None:
    """Find room for a distractor; None where the picture is full."""
    if rng.random() < _GLYPH_PART:
        drawn: Shape | str = glyphs[rng.integers(len(glyphs))]
        shape = math.sqrt(glyph_aspect(str(drawn)) / aspect)
        tinted = rng.random() < 0.5
        colour = TINTS[rng.integers(len(TINTS))].shade(rng) if tinted else None
    else:
        drawn = list(Shape)[rng.integers(len(Shape))]
        shape = math.exp(rng.uniform(-0.7, 0.7)) / math.sqrt(aspect)
        colour = any_colour(rng)
    side = rng.uniform(0.1, 0.45)
    width, height = min(side * shape, 0.8), min(side / shape, 0.8)
    for _ in range(_ATTEMPTS_MAX):
        x0, y0 = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        box = Box(x0, y0, x0 + width, y0 + height)
        if any(covered(box, word) > 0 for word in words):
            continue
        if all(covered(box, one) <= _UNDER_OBJECT_MAX for one in objects):
            return Distractor(box, drawn, colour, int(rng.integers(2**31)))
    return None


def shape_mask(distractor: Distractor, width_px: int, height_px: int) -> Image.Image:
    """Return the coverage of a shape over its box, "L"."""
    rng = np.random.default_rng(distractor.seed)
    width, height = max(2, width_px * _FINER), max(2, height_px * _FINER)
    mask = Image.new("L", (width, height))
    pen = ImageDraw.Draw(mask)
    whole = (0, 0, width - 1, height - 1)
    match distractor.drawn:
        case Shape.ELLIPSE:
            pen.ellipse(whole, fill=255)
        case Shape.RING:
            pen.ellipse(whole, outline=255, width=max(1, int(min(width, height) * 0.18)))
        case Shape.BAR:
            pen.rounded_rectangle(whole, radius=min(width, height) * rng.uniform(0, 0.5), fill=255)
        case Shape.CROSS:
            thick = rng.uniform(0.2, 0.4)
            pen.rectangle((0, height * (0.5 - thick / 2), width, height * (0.5 + thick / 2)), 255)
            pen.rectangle((width * (0.5 - thick / 2), 0, width * (0.5 + thick / 2), height), 255)
        case _:
            smooth = distractor.drawn is Shape.SPLASH
            pen.polygon(_around(rng, width, height, corners=40 if smooth else 0), fill=255)
    return mask.reduce(_FINER)


def _around(
    rng: np.random.Generator, width: int, height: int, *, corners: int
) -> list[tuple[float, float]]:
    """Return a polygon of 3 to 7 corners, or a smooth outline of ``corners`` points."""
    count = corners or int(rng.integers(3, 8))
    angles = 2 * math.pi * (np.arange(count) + rng.random()) / count
    reach = rng.uniform(0.6, 1.0, size=count)
    if corners:
        reach = np.full(count, 0.75)
        for turns in (2, 3, 5):
            reach += rng.uniform(0, 0.12) * np.sin(turns * angles + rng.uniform(0, 6))
    x = (0.5 + 0.5 * reach * np.cos(angles)) * width
    y = (0.5 + 0.5 * reach * np.sin(angles)) * height
    return [(float(one), float(other)) for one, other in zip(x, y, strict=True)]
