"""Set words in the faces of freely licensed fonts."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from arno.training.world.fonts import FONTS_VARIABLE, font_folder

_FOLDER: Final = font_folder("dejavu")
"""Where the Debian and Ubuntu package fonts-dejavu-core puts its faces."""

FACES: Final = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSansMono-Bold.ttf",
)
"""Files of the faces; a word's face is a place in this list."""

_SIZE_PX: Final = 56
_VISIBLE: Final = 96
"""Coverage of a pixel, of 255, from which it is ink and not the rim of some."""


@dataclass(frozen=True, slots=True)
class Lettering:
    """A word, set: its measures in pixels of the drawing.

    Attributes:
        mask: The letters' coverage, "L", cropped to their tight box.
        width_px: Width of the tight box.
        height_px: Height of the tight box.
        capital_px: Height of a capital in this face.
        letters_px: The middle of each letter, from the left edge of the tight box.
    """

    mask: Image.Image
    width_px: int
    height_px: int
    capital_px: int
    letters_px: tuple[float, ...]


@functools.lru_cache(maxsize=64)
def lettering(text: str, face: int) -> Lettering:
    """Set ``text``.

    Raises:
        FileNotFoundError: The font is not installed.
    """
    font = _font(face)
    ends = [font.getlength(text[:count]) for count in range(len(text) + 1)]
    canvas = Image.new("L", (round(ends[-1]) + 2 * _SIZE_PX, 3 * _SIZE_PX))
    ImageDraw.Draw(canvas).text((_SIZE_PX, _SIZE_PX), text, fill=255, font=font)
    # The font's own boxes have room beside the ink.
    box = canvas.point(_visible).getbbox()
    if box is None:
        raise ValueError(f"the face {FACES[face]} prints nothing for {text!r}")
    mask = canvas.crop(box)
    start = box[0] - _SIZE_PX
    letters = tuple((left + right) / 2 - start for left, right in itertools.pairwise(ends))
    return Lettering(mask, mask.width, mask.height, _capital_px(face), letters)


def _visible(coverage: int) -> int:
    return 255 if coverage >= _VISIBLE else 0


@functools.cache
def _capital_px(face: int) -> int:
    _, top, _, bottom = _font(face).getbbox("H")
    return round(bottom - top)


@functools.cache
def _font(face: int) -> ImageFont.FreeTypeFont:
    path = _FOLDER / FACES[face]
    if not path.exists():
        raise FileNotFoundError(
            f"no font at {path}: install the package fonts-dejavu-core, or name a folder that has "
            f"it in {FONTS_VARIABLE}"
        )
    return ImageFont.truetype(str(path), _SIZE_PX, layout_engine=ImageFont.Layout.BASIC)
