"""Backgrounds: a named colour in two shades mixed by a pattern, a landscape, or a family.

The pattern is a field over the picture with values from 0 (first shade) to 1 (second shade).
"""

from __future__ import annotations

import enum
import functools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from arno.training.world.categories import with_article
from arno.training.world.colours import COLOURS, Rgb, nearest_name
from arno.training.world.families import PLACE, Family, any_colour, paint_family
from arno.training.world.options import WorldOptions

Field = npt.NDArray[np.float32]
_BLOBS = 5


class Pattern(enum.Enum):
    """How the two shades are mixed."""

    GRADIENT = "gradient"
    NOISE = "noise"
    STRIPES = "stripes"
    BLOBS = "blobs"
    HORIZON = "horizon"


_PATTERNS: Final = (Pattern.GRADIENT, Pattern.NOISE, Pattern.STRIPES, Pattern.BLOBS)


@dataclass(frozen=True, slots=True)
class Landscape:
    """A kind of place: its words in a caption, and its sky and ground as (red, green, blue)."""

    place: str
    colours: frozenset[str]
    sky: Rgb
    ground: Rgb


LANDSCAPES: Final = (
    Landscape("in a meadow", frozenset({"blue", "green"}), (150, 200, 240), (110, 170, 70)),
    Landscape("on a beach", frozenset({"blue", "yellow"}), (80, 160, 215), (225, 200, 140)),
    Landscape("in the snow", frozenset({"grey", "white"}), (185, 195, 210), (240, 243, 248)),
    Landscape("at night", frozenset({"black"}), (18, 22, 55), (35, 45, 40)),
)


@dataclass(frozen=True, slots=True)
class Background:
    """A background of one scene.

    Attributes:
        place: Words for the place in a caption: "on a red background", "in a meadow".
        colours: Names of its main colours.
        shades: The two shades; of a landscape, sky and ground.
        pattern: How the shades are mixed; or the family that begins with them.
        grain: Standard deviation of the noise over it, 0..255.
        pattern_seed: Seed of the rest of the pattern.
    """

    place: str
    colours: frozenset[str]
    shades: tuple[Rgb, Rgb]
    pattern: Pattern | Family
    grain: float
    pattern_seed: int

    @property
    def is_plain(self) -> bool:
        """Whether a printed word can be read on it without a plate."""
        return len(self.colours) == 1 and isinstance(self.pattern, Pattern)

    @property
    def brightness(self) -> float:
        """Mean brightness, 0..255."""
        return float(np.mean(self.shades))


def imagine_background(rng: np.random.Generator, options: WorldOptions) -> Background:
    """Choose a family, a landscape, or a colour with two of its shades and a pattern."""
    # Worlds without families draw no number for them: their scenes stay what they were.
    if options.family_part and rng.random() < options.family_part:
        return _of_family(rng, options.families)
    grain, pattern_seed = rng.uniform(0.0, 7.0), int(rng.integers(2**31))
    if rng.random() < options.landscape_part:
        kind = LANDSCAPES[rng.integers(len(LANDSCAPES))]
        shades = (_near(rng, kind.sky), _near(rng, kind.ground))
        return Background(
            kind.place, kind.colours, shades, Pattern.HORIZON, grain + 2.0, pattern_seed
        )
    colour = COLOURS[rng.integers(len(COLOURS))]
    return Background(
        place=f"on {with_article(colour.name)} background",
        colours=frozenset({colour.name}),
        shades=(colour.shade(rng), colour.shade(rng)),
        pattern=_PATTERNS[rng.integers(len(_PATTERNS))],
        grain=grain,
        pattern_seed=pattern_seed,
    )


def _of_family(rng: np.random.Generator, families: tuple[Family, ...]) -> Background:
    shades = (any_colour(rng), any_colour(rng))
    return Background(
        place=PLACE,
        colours=frozenset(map(nearest_name, shades)),
        shades=shades,
        pattern=families[rng.integers(len(families))],
        grain=rng.uniform(0.0, 12.0) if rng.random() < 0.5 else 0.0,
        pattern_seed=int(rng.integers(2**31)),
    )


def paint(background: Background, width_px: int, height_px: int) -> Image.Image:
    """Draw the background alone, as an RGB image."""
    rng = np.random.default_rng(background.pattern_seed)
    if isinstance(background.pattern, Family):
        pixels = paint_family(
            background.pattern, background.shades, background.pattern_seed, width_px, height_px
        )
    else:
        field = _FIELDS[background.pattern](rng, width_px, height_px)
        first, second = (np.asarray(shade, dtype=np.float32) for shade in background.shades)
        pixels = first + (second - first) * field[..., None]  # [H, W, 3]
    grain = rng.standard_normal((height_px, width_px), dtype=np.float32)[..., None] * np.float32(
        background.grain
    )
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def _near(rng: np.random.Generator, colour: Rgb) -> Rgb:
    light = rng.uniform(0.85, 1.1)
    red, green, blue = (min(255.0, part * light + rng.uniform(-10, 10)) for part in colour)
    return (max(0.0, red), max(0.0, green), max(0.0, blue))


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
    return _clouds(rng, int(rng.integers(4, 17)), width_px, height_px)


def _clouds(rng: np.random.Generator, cells: int, width_px: int, height_px: int) -> Field:
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


def _horizon(rng: np.random.Generator, width_px: int, height_px: int) -> Field:
    """Sky above a rolling line, ground below it, both with noise on two scales."""
    x, y = _axes(width_px, height_px)
    height, swing = rng.uniform(0.3, 0.7), rng.uniform(0.0, 0.06)
    waves, phase = rng.uniform(0.3, 1.5), rng.uniform(0, 2 * math.pi)
    line = np.float32(height) + np.float32(swing) * np.sin(
        np.float32(2 * math.pi * waves) * x + np.float32(phase)
    )
    ground = np.clip((y - line) * np.float32(height_px) + np.float32(0.5), 0, 1)
    texture = _clouds(rng, 6, width_px, height_px) + _clouds(rng, 24, width_px, height_px)
    field: Field = ground + (texture - np.float32(1)) * np.float32(0.16)
    return field


_FIELDS = {
    Pattern.GRADIENT: _gradient,
    Pattern.NOISE: _noise,
    Pattern.STRIPES: _stripes,
    Pattern.BLOBS: _blobs,
    Pattern.HORIZON: _horizon,
}
