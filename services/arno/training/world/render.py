"""Draw a scene at any size, and return the box of each object.

Objects are resampled at fractions of a pixel, so the truth is the exact box and not one rounded to
the pixel grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from arno.training.world.backgrounds import paint
from arno.training.world.categories import Category
from arno.training.world.colours import Rgb
from arno.training.world.distractors import Distractor, shape_mask
from arno.training.world.finish import apply_finish
from arno.training.world.lettering import lettering
from arno.training.world.placement import Placement
from arno.training.world.scene import Scene
from arno.training.world.shapes import scaled_box
from arno.training.world.sprites import MARGIN_PX, Sprite, sprite
from arno.training.world.words import PLATE_RIM, Word
from arno.vocabulary import Box, ImageSize

_DARKEST, _LIGHTEST = 0.4, 1.25
"""Factors on a tint where the glyph is black, and where it is white."""
_ALL_LEVELS = np.arange(256, dtype=np.float64)
_FINER = 4
"""Pixels a side that words are drawn with for each pixel of the picture."""


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
    size = ImageSize(width_px, height_px)
    objects = tuple(SeenObject(one.category, scaled_box(one.box, size)) for one in scene.things)
    return Picture(scene, draw(scene, size), objects)


def draw(scene: Scene, size: ImageSize) -> Image.Image:
    """Draw ``scene`` as an RGB picture of the given size."""
    image = paint(scene.background, size.width_px, size.height_px)
    for distractor in scene.distractors:
        _draw_distractor(image, distractor, scaled_box(distractor.box, size))
    for placement in scene.painted:
        _draw_object(image, placement, scaled_box(placement.box, size))
    for word in scene.words:
        _draw_word(image, word, size)
    return image if scene.finish is None else apply_finish(image, scene.finish)


def _draw_distractor(image: Image.Image, distractor: Distractor, box: Box) -> None:
    if isinstance(distractor.drawn, str):
        drawn = sprite(distractor.drawn, mirrored=False)
        _stamp(image, drawn, box, tint=distractor.colour, brightness=1.0)
    else:
        left, top = math.floor(box.x0), math.floor(box.y0)
        mask = shape_mask(distractor, math.ceil(box.x1) - left, math.ceil(box.y1) - top)
        _paste(image, distractor.colour or (0.0, 0.0, 0.0), mask, left, top)


def _draw_object(image: Image.Image, placement: Placement, box: Box) -> None:
    drawn = sprite(placement.category.glyph, placement.mirrored)
    _stamp(image, drawn, box, tint=placement.tint, brightness=placement.brightness)


def _stamp(
    image: Image.Image, drawn: Sprite, box: Box, *, tint: Rgb | None, brightness: float
) -> None:
    stamp = _resampled(drawn, box)
    shape = stamp.convert("RGB")
    if tint is None:
        lit = shape.point(_levels(brightness * _ALL_LEVELS) * 3)
    else:
        lit = _tinted(shape, tint)
    image.paste(lit, (math.floor(box.x0), math.floor(box.y0)), stamp.getchannel("A"))


def _resampled(drawn: Sprite, box: Box) -> Image.Image:
    """Return the part of the picture's pixel grid around ``box``, with the sprite in it."""
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
    return drawn.image.resize((right - left, bottom - top), Image.Resampling.BICUBIC, box=source)


def _tinted(shape: Image.Image, tint: Rgb) -> Image.Image:
    """Paint a glyph in one colour and keep its shading."""
    grey = shape.convert("L")
    shading = _DARKEST + (_LIGHTEST - _DARKEST) * _ALL_LEVELS / 255
    return Image.merge("RGB", [grey.point(_levels(part * shading)) for part in tint])


def _levels(values: npt.NDArray[np.float64]) -> list[int]:
    """Return what each of the 256 levels of a channel becomes."""
    levels: list[int] = np.minimum(255, np.rint(values)).astype(int).tolist()
    return levels


def _draw_word(image: Image.Image, word: Word, size: ImageSize) -> None:
    """Draw the word where its quad lies, and the plate under it."""
    shape = lettering(word.text, word.face)
    corners = np.array([[p.x * size.width_px, p.y * size.height_px] for p in word.quad])
    box = scaled_box(word.box, size)
    left, top = math.floor(box.x0), math.floor(box.y0)
    cut = (math.ceil(box.x1) - left, math.ceil(box.y1) - top)
    origin = corners[0] - (left, top)
    # What one pixel of the lettering is in the picture, along the word and down it.
    axes = np.column_stack(
        [(corners[1] - corners[0]) / shape.width_px, (corners[3] - corners[0]) / shape.height_px]
    )
    if word.plate is not None:
        rim = PLATE_RIM * shape.capital_px
        x, y = shape.width_px + rim, shape.height_px + rim
        plate = [origin + axes @ corner for corner in ((-rim, -rim), (x, -rim), (x, y), (-rim, y))]
        _paste(image, word.plate, _filled(plate, cut), left, top)
    back = np.linalg.inv(axes)
    start = -(back @ origin)
    matrix = (*(back[0] / _FINER), start[0], *(back[1] / _FINER), start[1])
    letters = shape.mask.transform(
        (cut[0] * _FINER, cut[1] * _FINER),
        Image.Transform.AFFINE,
        tuple(float(number) for number in matrix),
        Image.Resampling.BILINEAR,
    )
    _paste(image, word.ink, letters.reduce(_FINER), left, top)


def _filled(corners: list[npt.NDArray[np.float64]], cut: tuple[int, int]) -> Image.Image:
    mask = Image.new("L", (cut[0] * _FINER, cut[1] * _FINER))
    points = [(float(x) * _FINER, float(y) * _FINER) for x, y in corners]
    ImageDraw.Draw(mask).polygon(points, fill=255)
    return mask.reduce(_FINER)


def _paste(image: Image.Image, colour: Rgb, mask: Image.Image, left: int, top: int) -> None:
    red, green, blue = (round(part) for part in colour)
    image.paste((red, green, blue), (left, top, left + mask.width, top + mask.height), mask)
