"""Glyphs of the colour emoji font as cropped sprites, drawn once a process."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

# The Debian and Ubuntu package fonts-noto-color-emoji; the font holds bitmaps of this one size.
FONT_PATH = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
_FONT_SIZE = 109
_CANVAS_PX = 192
# Alpha that an eye sees: fainter pixels are anti-aliasing and do not widen a box.
VISIBLE_ALPHA = 64
# Transparent rim, so that a sprite can be resampled at a fraction of a pixel beyond its box.
MARGIN_PX = 32


@dataclass(frozen=True, slots=True)
class Sprite:
    """A glyph: RGBA with a transparent rim of ``MARGIN_PX`` around its tight box."""

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


def _visible(alpha: int) -> int:
    return 255 if alpha >= VISIBLE_ALPHA else 0


@functools.cache
def _font() -> ImageFont.FreeTypeFont:
    if not FONT_PATH.exists():
        raise FileNotFoundError(
            f"no colour emoji font at {FONT_PATH}: install the package fonts-noto-color-emoji"
        )
    return ImageFont.truetype(str(FONT_PATH), _FONT_SIZE)
