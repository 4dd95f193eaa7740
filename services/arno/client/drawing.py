"""Draw regions over an image, so that a person sees at a glance what the model saw."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from PIL import Image, ImageDraw, ImageFont

from arno.images.decode import ImageLimits, decode_image
from arno.images.input import ImageLike, encode_image
from arno.vocabulary import Box, Point, QuadBox, Region, Shape, bounding_box
from arno.vocabulary.results import TaskResult

_FONT_SIZE_SHARE: Final = 1 / 36
"""Of the shorter side: a label is legible on a phone photo and does not cover a thumbnail."""

_FONT_SIZE_PX_MIN: Final = 11
_FONT_SIZE_PX_MAX: Final = 64
_LABEL_CHARS_MAX: Final = 48
_FILL_ALPHA: Final = 70
_DARK_TEXT_FROM: Final = 0.5

_LIMITS: Final = ImageLimits(bytes_max=1 << 30, pixels_max=400_000_000)
"""One's own pictures: only what no picture has is refused."""

Colour: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Pen:
    canvas: ImageDraw.ImageDraw
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont
    line_px: int
    size_px: Point


def draw(image: ImageLike, results: Iterable[TaskResult]) -> Image.Image:
    """Return a copy of the image, as a viewer shows it, with every region of the answers on it.

    Equal labels have equal colours, in every picture. Tasks without an answer are left out.

    Raises:
        InvalidImageError: The image cannot be decoded here.
    """
    regions = [region for result in results if result.ok for region in result.regions]
    return draw_regions(image, regions)


def draw_regions(image: ImageLike, regions: Sequence[Region]) -> Image.Image:
    """Return a copy of the image, as a viewer shows it, with the regions on it.

    Raises:
        InvalidImageError: The image cannot be decoded here.
    """
    picture = _decode(image).convert("RGB")
    shorter_px = min(picture.size)
    font_px = round(min(max(shorter_px * _FONT_SIZE_SHARE, _FONT_SIZE_PX_MIN), _FONT_SIZE_PX_MAX))
    pen = _Pen(
        # Blends what is translucent as it is drawn: a layer of its own costs as much as encoding.
        canvas=ImageDraw.Draw(picture, "RGBA"),
        font=_font(font_px),
        line_px=max(2, round(shorter_px / 240)),
        size_px=Point(*picture.size),
    )
    for region in regions:
        _outline(pen, region.shape, colour_of(region.label))
    # Labels last: no outline may cross out a name.
    for region in regions:
        _label(pen, region, colour_of(region.label))
    return picture


def colour_of(label: str) -> Colour:
    """Return the colour of a label: vivid, and the same every time."""
    digest = hashlib.blake2b(label.strip().lower().encode(), digest_size=4).digest()
    hue = int.from_bytes(digest[:2], "big") / 65536
    value = 0.80 + 0.18 * (digest[2] / 255)
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _outline(pen: _Pen, shape: Shape, colour: Colour) -> None:
    match shape:
        case Box():
            upright = _upright(shape)
            corners = [upright.x0, upright.y0, upright.x1, upright.y1]
            pen.canvas.rectangle(corners, outline=(*colour, 255), width=pen.line_px)
        case QuadBox(points):
            _closed_line(pen, points, colour)
        case polygons:
            for polygon in polygons:
                if len(polygon.points) > 2:
                    corners_xy = [(point.x, point.y) for point in polygon.points]
                    pen.canvas.polygon(corners_xy, fill=(*colour, _FILL_ALPHA))
                _closed_line(pen, polygon.points, colour)


def _closed_line(pen: _Pen, points: Sequence[Point], colour: Colour) -> None:
    if not points:
        return
    path = [(point.x, point.y) for point in (*points, points[0])]
    pen.canvas.line(path, fill=(*colour, 255), width=pen.line_px, joint="curve")


def _label(pen: _Pen, region: Region, colour: Colour) -> None:
    text = _caption(region)
    if not text or not region.shape:
        return
    around = bounding_box(region.shape)
    left, top, right, bottom = pen.canvas.textbbox((0, 0), text, font=pen.font)
    pad = pen.line_px + 1
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    # Above the region where there is room, else just inside it; never outside the picture.
    y = around.y0 - height if around.y0 >= height else around.y0
    x = max(0.0, min(around.x0, pen.size_px.x - width))
    y = max(0.0, min(y, pen.size_px.y - height))
    pen.canvas.rectangle([x, y, x + width, y + height], fill=(*colour, 235))
    pen.canvas.text((x + pad - left, y + pad - top), text, font=pen.font, fill=_text_on(colour))


def _caption(region: Region) -> str:
    name = region.label
    if len(name) > _LABEL_CHARS_MAX:
        name = name[: _LABEL_CHARS_MAX - 1] + "…"
    score = "" if region.score is None else f"{region.score:.2f}"
    return " ".join(part for part in (name, score) if part)


def _text_on(colour: Colour) -> tuple[int, int, int, int]:
    red, green, blue = (part / 255 for part in colour)
    bright = 0.299 * red + 0.587 * green + 0.114 * blue
    return (0, 0, 0, 255) if bright > _DARK_TEXT_FROM else (255, 255, 255, 255)


def _upright(box: Box) -> Box:
    # The model may write an inverted box, and Pillow refuses to draw one.
    return Box(min(box.x0, box.x1), min(box.y0, box.y1), max(box.x0, box.x1), max(box.y0, box.y1))


@lru_cache(maxsize=16)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size_px)
    except OSError:
        return ImageFont.load_default(size_px)


def _decode(image: ImageLike) -> Image.Image:
    if isinstance(image, Image.Image):
        return image.copy()
    # As the server decodes it: upright, on white, every type and depth that it reads.
    return decode_image(encode_image(image), _LIMITS, field="image").picture
