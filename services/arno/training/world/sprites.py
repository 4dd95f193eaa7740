"""Glyphs of the colour emoji font as cropped sprites, drawn once a process."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from arno.training.world.fonts import FONTS_VARIABLE, font_folder
from arno.training.world.outlines import Loop, Mask, simplify, trace

# The Debian and Ubuntu package fonts-noto-color-emoji; the font holds bitmaps of this one size.
FONT_PATH: Final = font_folder("noto") / "NotoColorEmoji.ttf"
_FONT_SIZE: Final = 109
_CANVAS_PX: Final = 192
# Alpha that an eye sees: fainter pixels are anti-aliasing and do not widen a box.
VISIBLE_ALPHA: Final = 64
# Transparent rim, so that a sprite can be resampled at a fraction of a pixel beyond its box.
MARGIN_PX: Final = 32


@dataclass(frozen=True, slots=True)
class Sprite:
    """A picture to stamp: RGBA with a transparent rim of ``MARGIN_PX`` around its tight box."""

    image: Image.Image
    width_px: int
    height_px: int


@functools.cache
def sprite(glyph: str, mirrored: bool) -> Sprite:
    """Return the sprite of ``glyph``.

    Raises:
        FileNotFoundError: The font is not installed.
    """
    canvas = Image.new("RGBA", (_CANVAS_PX, _CANVAS_PX), (0, 0, 0, 0))
    ImageDraw.Draw(canvas).text(
        (_CANVAS_PX // 8, _CANVAS_PX // 8), glyph, font=_font(), embedded_color=True
    )
    box = canvas.getchannel("A").point(_visible).getbbox()
    if box is None:
        raise ValueError(f"the emoji font draws nothing for {glyph!r}")
    image = ImageOps.expand(canvas.crop(box), MARGIN_PX, (0, 0, 0, 0))
    return Sprite(ImageOps.mirror(image) if mirrored else image, box[2] - box[0], box[3] - box[1])


def glyph_aspect(glyph: str) -> float:
    """Return the width of the glyph's tight box over its height."""
    drawn = sprite(glyph, mirrored=False)
    return drawn.width_px / drawn.height_px


@functools.cache
def silhouette(glyph: str, mirrored: bool) -> Mask:
    """Return where the glyph is opaque, over its tight box: [height_px, width_px]."""
    drawn = sprite(glyph, mirrored)
    alpha = np.asarray(drawn.image.getchannel("A"))
    inner = alpha[MARGIN_PX : MARGIN_PX + drawn.height_px, MARGIN_PX : MARGIN_PX + drawn.width_px]
    mask: Mask = inner >= VISIBLE_ALPHA
    return mask


@functools.cache
def whole_outline(glyph: str, mirrored: bool, points_max: int) -> tuple[Loop, ...]:
    """Return the glyph's outlines, nothing hidden, in units of its tight box (0..1)."""
    return unit_outline(silhouette(glyph, mirrored), points_max)


def unit_outline(mask: Mask, points_max: int) -> tuple[Loop, ...]:
    """Return the outlines of a mask in units of its sides (0..1), the largest part first."""
    sides = np.array([mask.shape[1], mask.shape[0]], dtype=np.float64)
    return tuple(simplify(loop, points_max) / sides for loop in trace(mask))


def _visible(alpha: int) -> int:
    return 255 if alpha >= VISIBLE_ALPHA else 0


@functools.cache
def _font() -> ImageFont.FreeTypeFont:
    if not FONT_PATH.exists():
        raise FileNotFoundError(
            f"no colour emoji font at {FONT_PATH}: install the package fonts-noto-color-emoji, or "
            f"name a folder that has it in {FONTS_VARIABLE}"
        )
    return ImageFont.truetype(str(FONT_PATH), _FONT_SIZE)
