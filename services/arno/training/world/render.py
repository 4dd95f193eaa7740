"""Draw a scene at any size, and say where each object came to lie.

Objects are resampled at fractions of a pixel, so the truth is the exact box and not one rounded to
the pixel grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image

from arno.tasks import Box
from arno.training.world.backgrounds import paint
from arno.training.world.categories import Category
from arno.training.world.scene import Placement, Scene
from arno.training.world.sprites import MARGIN_PX, sprite


@dataclass(frozen=True, slots=True)
class SeenObject:
    """An object as it is in the picture; the box is in its float pixels."""

    category: Category
    box: Box


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn scene with its truth; the objects keep the scene's order."""

    scene: Scene
    image: Image.Image
    objects: tuple[SeenObject, ...]


def render(scene: Scene, width_px: int, height_px: int) -> Picture:
    """Draw ``scene`` as an RGB picture of the given size."""
    image = paint(scene.background, width_px, height_px)
    objects = []
    for placement in scene.placements:
        box = Box(
            placement.x0 * width_px,
            placement.y0 * height_px,
            placement.x1 * width_px,
            placement.y1 * height_px,
        )
        _draw(image, placement, box)
        objects.append(SeenObject(placement.category, box))
    return Picture(scene, image, tuple(objects))


def _draw(image: Image.Image, placement: Placement, box: Box) -> None:
    drawn = sprite(placement.category.glyph, placement.mirrored)
    left, top = math.floor(box.x0), math.floor(box.y0)
    right, bottom = math.ceil(box.x1), math.ceil(box.y1)
    # Sprite pixels for each picture pixel; the sprite's box starts at MARGIN_PX.
    scale_x = drawn.width_px / (box.x1 - box.x0)
    scale_y = drawn.height_px / (box.y1 - box.y0)
    source = (
        MARGIN_PX + (left - box.x0) * scale_x,
        MARGIN_PX + (top - box.y0) * scale_y,
        MARGIN_PX + (right - box.x0) * scale_x,
        MARGIN_PX + (bottom - box.y0) * scale_y,
    )
    shape = drawn.image.resize((right - left, bottom - top), Image.Resampling.BICUBIC, box=source)
    alpha = shape.getchannel("A")
    brightness = placement.brightness
    lit = shape.convert("RGB").point(lambda value: min(255, round(value * brightness)))
    image.paste(lit, (left, top), alpha)
