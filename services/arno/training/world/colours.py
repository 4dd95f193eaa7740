"""Colours that a caption can name, as ranges to draw shades from."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

Rgb: TypeAlias = tuple[float, float, float]
"""Red, green and blue, 0..255 each."""


@dataclass(frozen=True, slots=True)
class Colour:
    """A named colour: ranges of hue (degrees), saturation and value (0..1)."""

    name: str
    hue: tuple[float, float]
    saturation: tuple[float, float]
    value: tuple[float, float]

    def shade(self, rng: np.random.Generator) -> Rgb:
        """Return one of its shades."""
        hue = rng.uniform(*self.hue) / 360 % 1.0
        rgb = colorsys.hsv_to_rgb(hue, rng.uniform(*self.saturation), rng.uniform(*self.value))
        return (rgb[0] * 255, rgb[1] * 255, rgb[2] * 255)


RED: Final = Colour("red", (-8, 8), (0.55, 0.9), (0.55, 0.9))
YELLOW: Final = Colour("yellow", (50, 60), (0.5, 0.9), (0.8, 1.0))
GREEN: Final = Colour("green", (95, 145), (0.4, 0.9), (0.35, 0.85))
BLUE: Final = Colour("blue", (200, 232), (0.45, 0.9), (0.5, 0.95))
PURPLE: Final = Colour("purple", (268, 290), (0.4, 0.8), (0.45, 0.8))

COLOURS: Final = (
    RED,
    Colour("orange", (24, 34), (0.6, 0.95), (0.8, 1.0)),
    YELLOW,
    GREEN,
    BLUE,
    PURPLE,
    Colour("white", (0, 360), (0.0, 0.05), (0.9, 1.0)),
    Colour("grey", (0, 360), (0.0, 0.06), (0.4, 0.65)),
    Colour("black", (0, 360), (0.0, 0.1), (0.03, 0.18)),
)
"""Colours of plain backgrounds."""

TINTS: Final = (
    Colour("red", (-6, 6), (0.75, 0.95), (0.75, 0.95)),
    Colour("yellow", (50, 58), (0.7, 0.95), (0.9, 1.0)),
    Colour("green", (105, 140), (0.6, 0.9), (0.5, 0.8)),
    Colour("blue", (208, 228), (0.7, 0.95), (0.65, 0.95)),
    Colour("purple", (270, 288), (0.55, 0.85), (0.55, 0.8)),
    Colour("pink", (325, 338), (0.35, 0.6), (0.95, 1.0)),
)
"""Colours that objects are painted in."""


def nearest_name(colour: Rgb) -> str:
    """Return the name of the plain colour that is most like a colour."""
    return min(_MIDDLES, key=lambda name: math.dist(_MIDDLES[name], colour))


def _middle(colour: Colour) -> Rgb:
    hue, saturation, value = (
        sum(ends) / 2 for ends in (colour.hue, colour.saturation, colour.value)
    )
    red, green, blue = colorsys.hsv_to_rgb(hue / 360 % 1.0, saturation, value)
    return (red * 255, green * 255, blue * 255)


_MIDDLES: Final = {colour.name: _middle(colour) for colour in (*TINTS, *COLOURS)}

OTHER_NAMES: Final = ("brown",)
"""Colours of unpainted objects only."""
