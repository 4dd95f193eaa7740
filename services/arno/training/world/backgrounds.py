"""Backgrounds: a named colour in two shades, mixed by a pattern.

The pattern is a field over the picture with values from 0 (first shade) to 1 (second shade).
"""

from __future__ import annotations

import colorsys
import enum
import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Field = npt.NDArray[np.float32]
_BLOBS = 5


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour that captions can name: ranges of hue (degrees), saturation and value (0..1)."""

    name: str
    hue: tuple[float, float]
    saturation: tuple[float, float]
    value: tuple[float, float]


COLOURS: tuple[Colour, ...] = (
    Colour("red", (-8, 8), (0.55, 0.9), (0.55, 0.9)),
    Colour("orange", (24, 34), (0.6, 0.95), (0.8, 1.0)),
    Colour("yellow", (50, 60), (0.5, 0.9), (0.8, 1.0)),
    Colour("green", (95, 145), (0.4, 0.9), (0.35, 0.85)),
    Colour("blue", (200, 232), (0.45, 0.9), (0.5, 0.95)),
    Colour("purple", (268, 290), (0.4, 0.8), (0.45, 0.8)),
    Colour("white", (0, 360), (0.0, 0.05), (0.9, 1.0)),
    Colour("grey", (0, 360), (0.0, 0.06), (0.4, 0.65)),
    Colour("black", (0, 360), (0.0, 0.1), (0.03, 0.18)),
)


class Pattern(enum.Enum):
    """How the two shades are mixed."""

    GRADIENT = "gradient"
    NOISE = "noise"
    STRIPES = "stripes"
    BLOBS = "blobs"


_PATTERNS = tuple(Pattern)


@dataclass(frozen=True, slots=True)
class Background:
    """A background of one scene. ``pattern_seed`` decides the rest of the pattern."""

    colour: Colour
    shades: tuple[tuple[float, float, float], tuple[float, float, float]]
    pattern: Pattern
    grain: float
    pattern_seed: int


def imagine_background(rng: np.random.Generator) -> Background:
    """Choose a colour, two of its shades and a pattern."""
    colour = COLOURS[rng.integers(len(COLOURS))]
    return Background(
        colour=colour,
        shades=(_shade(rng, colour), _shade(rng, colour)),
        pattern=_PATTERNS[rng.integers(len(_PATTERNS))],
        grain=rng.uniform(0.0, 7.0),
        pattern_seed=int(rng.integers(2**31)),
    )


def paint(background: Background, width_px: int, height_px: int) -> Image.Image:
    """Draw the background alone, as an RGB image."""
    rng = np.random.default_rng(background.pattern_seed)
    field = _FIELDS[background.pattern](rng, width_px, height_px)
    first, second = (np.asarray(shade, dtype=np.float32) for shade in background.shades)
    pixels = first + (second - first) * field[..., None]  # [H, W, 3]
    grain = rng.standard_normal((height_px, width_px), dtype=np.float32)[..., None] * np.float32(
        background.grain
    )
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def _shade(rng: np.random.Generator, colour: Colour) -> tuple[float, float, float]:
    hue = rng.uniform(*colour.hue) / 360 % 1.0
    rgb = colorsys.hsv_to_rgb(hue, rng.uniform(*colour.saturation), rng.uniform(*colour.value))
    return (rgb[0] * 255, rgb[1] * 255, rgb[2] * 255)


@functools.lru_cache(maxsize=8)
def _axes(width_px: int, height_px: int) -> tuple[Field, Field]:
    """Pixel centres in units of the picture's sides, as a row and as a column."""
    x = (np.arange(width_px, dtype=np.float32) + 0.5) / width_px
    y = (np.arange(height_px, dtype=np.float32) + 0.5) / height_px
    return x[None, :].astype(np.float32), y[:, None].astype(np.float32)


def _gradient(rng: np.random.Generator, width_px: int, height_px: int) -> Field:
    x, y = _axes(width_px, height_px)
    angle = rng.uniform(0, 2 * math.pi)
    along = np.float32(math.cos(angle)) * (x - 0.5) + np.float32(math.sin(angle)) * (y - 0.5)
    field: Field = np.clip(along / np.float32(1.2) + np.float32(0.5), 0, 1)
    return field


def _stripes(rng: np.random.Generator, width_px: int, height_px: int) -> Field:
    x, y = _axes(width_px, height_px)
    angle, waves, phase = rng.uniform(0, math.pi), rng.uniform(3, 12), rng.uniform(0, 2 * math.pi)
    turn = np.float32(2 * math.pi * waves)
    wave = np.sin(
        turn * (np.float32(math.cos(angle)) * x + np.float32(math.sin(angle)) * y)
        + np.float32(phase)
    )
    field: Field = np.clip(wave * np.float32(2) + np.float32(0.5), 0, 1)
    return field


def _noise(rng: np.random.Generator, width_px: int, height_px: int) -> Field:
    cells = int(rng.integers(4, 17))
    coarse = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    smooth = coarse.resize((width_px, height_px), Image.Resampling.BILINEAR)
    return np.asarray(smooth, dtype=np.float32)


def _blobs(rng: np.random.Generator, width_px: int, height_px: int) -> Field:
    x, y = _axes(width_px, height_px)
    field = np.zeros((height_px, width_px), dtype=np.float32)
    for _ in range(_BLOBS):
        cx, cy, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.06, 0.25)
        # A Gaussian is the product of two one-dimensional ones, which is much cheaper than exp over
        # the picture.
        across = np.exp(-np.square((x - np.float32(cx)) / np.float32(radius)))
        field = np.maximum(
            field, across * np.exp(-np.square((y - np.float32(cy)) / np.float32(radius)))
        )
    return field


_FIELDS = {
    Pattern.GRADIENT: _gradient,
    Pattern.NOISE: _noise,
    Pattern.STRIPES: _stripes,
    Pattern.BLOBS: _blobs,
}
