"""Families of backgrounds in arbitrary colours: what a detector must find empty.

Each family is drawn from a seed at any size; lengths are parts of the picture. Two families and
some distractors are held out of training, so that a measurement on them shows what a model makes of
a background that it has never seen.
"""

from __future__ import annotations

import colorsys
import enum
import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from arno.training.world.colours import Rgb

Pixels = npt.NDArray[np.floating[Any]]
"""Colours of a picture, 0..255: [height, width, 3]."""

PLACE: Final = "on a mixed background"
"""Words for a background of any family in a caption."""
_MOSAIC_PX: Final = 96
"""Side of the grid that a mosaic is cut on."""


class Family(enum.Enum):
    """A way of drawing a background."""

    GRADIENT = "gradient"
    STRIPES = "stripes"
    CHECKERS = "checkers"
    NOISE = "noise"
    CLUTTER = "clutter"
    PAGE = "page"
    BLOBS = "blobs"
    MOSAIC = "mosaic"


HELD_OUT_FAMILIES: Final = (Family.BLOBS, Family.MOSAIC)
"""Never drawn in training."""
TRAINED_FAMILIES: Final = tuple(one for one in Family if one not in HELD_OUT_FAMILIES)


def any_colour(rng: np.random.Generator) -> Rgb:
    """Return any colour; every second one is more saturated than chance would have it."""
    red, green, blue = rng.uniform(0, 1, size=3).tolist()
    if rng.random() < 0.5:
        red, green, blue = colorsys.hsv_to_rgb(red, 0.35 + 0.65 * green, 0.35 + 0.65 * blue)
    return (red * 255, green * 255, blue * 255)


def paint_family(
    family: Family, shades: tuple[Rgb, Rgb], seed: int, width_px: int, height_px: int
) -> Pixels:
    """Draw a background whose first two colours are given."""
    rng = np.random.default_rng(seed)
    return _PAINTERS[family](rng, shades, width_px, height_px)


def _palette(rng: np.random.Generator, shades: tuple[Rgb, Rgb], most: int) -> Pixels:
    """Return the two shades and up to ``most - 2`` more colours. [K, 3]."""
    more = [any_colour(rng) for _ in range(rng.integers(0, most - 1))]
    return np.array([*shades, *more], dtype=np.float32)


def _axes(width_px: int, height_px: int) -> tuple[Pixels, Pixels]:
    x = (np.arange(width_px, dtype=np.float32) + 0.5) / width_px - 0.5
    y = (np.arange(height_px, dtype=np.float32) + 0.5) / height_px - 0.5
    return x[None, :], y[:, None]


def _turned(rng: np.random.Generator, width_px: int, height_px: int) -> tuple[Pixels, Pixels]:
    """Return two coordinates at right angles, about -0.7..0.7, turned by any angle. [H, W] each."""
    x, y = _axes(width_px, height_px)
    angle = rng.uniform(0, math.pi) if rng.random() < 0.7 else 0.0
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


def _mixed(colours: Pixels, at: Pixels) -> Pixels:
    """Return colours between neighbours of a list; ``at`` runs from 0 to 1 over the list."""
    knots = np.linspace(0, 1, len(colours), dtype=np.float32)
    return np.stack([np.interp(at, knots, colours[:, part]) for part in range(3)], axis=-1)


def _picked(colours: Pixels, numbers: npt.NDArray[Any]) -> Pixels:
    """Return the colour of each number; the list begins again after its end."""
    picked: Pixels = colours[numbers.astype(np.int64) % len(colours)]
    return picked


def _gradient(
    rng: np.random.Generator, shades: tuple[Rgb, Rgb], width_px: int, height_px: int
) -> Pixels:
    if rng.random() < 0.4:
        x, y = _axes(width_px, height_px)
        cx, cy = rng.uniform(-0.5, 0.5, size=2).astype(np.float32)
        at = np.hypot(x - cx, y - cy) / np.float32(rng.uniform(0.4, 1.2))
    else:
        along, _ = _turned(rng, width_px, height_px)
        at = along / np.float32(rng.uniform(0.6, 1.4)) + np.float32(0.5)
    return _mixed(_palette(rng, shades, 4), at)


def _stripes(
    rng: np.random.Generator, shades: tuple[Rgb, Rgb], width_px: int, height_px: int
) -> Pixels:
    along, across = _turned(rng, width_px, height_px)
    waves = np.float32(math.exp(rng.uniform(math.log(1.5), math.log(30))))
    bend = np.float32(rng.uniform(0, 0.08) if rng.random() < 0.4 else 0.0)
    turns = waves * (along + bend * np.sin(np.float32(rng.uniform(4, 20)) * across))
    turns = turns + np.float32(rng.uniform(0, 1))
    colours = _palette(rng, shades, 4)
    if rng.random() < 0.5:
        return _picked(colours, np.floor(turns * len(colours)))
    return _mixed(colours, (np.sin(2 * np.pi * turns) + 1) / 2)


def _checkers(
    rng: np.random.Generator, shades: tuple[Rgb, Rgb], width_px: int, height_px: int
) -> Pixels:
    along, across = _turned(rng, width_px, height_px)
    cells = np.float32(math.exp(rng.uniform(math.log(2), math.log(24))))
    u, v = (along + 1) * cells, (across + 1) * cells * np.float32(rng.uniform(0.5, 2))
    colours = _palette(rng, shades, 3)
    if rng.random() < 0.4:  # dots, of which some touch
        far = np.hypot(u % 1 - np.float32(0.5), v % 1 - np.float32(0.5))
        return _picked(colours, far < rng.uniform(0.15, 0.5))
    return _picked(colours, np.floor(u) + np.floor(v))


def _cloud(rng: np.random.Generator, cells: int, width_px: int, height_px: int) -> Pixels:
    coarse = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    how = Image.Resampling.BICUBIC if cells < 64 else Image.Resampling.NEAREST
    return np.asarray(coarse.resize((width_px, height_px), how), dtype=np.float32)


def _noise(
    rng: np.random.Generator, shades: tuple[Rgb, Rgb], width_px: int, height_px: int
) -> Pixels:
    """Mix colours by noise of one to three scales, some of it of each channel by itself."""
    scales = [int(cells) for cells in np.exp(rng.uniform(math.log(3), math.log(96), size=3))]
    scales = scales[: rng.integers(1, 4)]
    clouds = [_cloud(rng, cells, width_px, height_px) for cells in scales]
    field: Pixels = np.stack(clouds).mean(axis=0)
    steep = np.float32(rng.uniform(1, 4))
    pixels = _mixed(_palette(rng, shades, 4), (field - np.float32(0.5)) * steep + np.float32(0.5))
    if rng.random() < 0.5:
        own = [_cloud(rng, scales[0], width_px, height_px) for _ in range(3)]
        pixels = pixels + np.float32(rng.uniform(20, 120)) * (np.stack(own, axis=-1) - 0.5)
    return pixels


def _clutter(
    rng: np.random.Generator, shades: tuple[Rgb, Rgb], width_px: int, height_px: int
) -> Pixels:
    """Lay shapes that are no object over each other, out of focus and under uneven light."""
    colours = _palette(rng, shades, 7)
    image = Image.fromarray(np.clip(_noise(rng, shades, width_px, height_px), 0, 255).astype("u1"))
    pen = ImageDraw.Draw(image)
    largest = rng.uniform(0.1, 0.6)
    for _ in range(rng.integers(8, 50)):
        colour = colours[rng.integers(len(colours))] * rng.uniform(0.6, 1.3)
        fill = tuple(int(part) for part in np.clip(colour + rng.normal(0, 12, size=3), 0, 255))
        middle = rng.uniform(0, 1, size=2)
        reach = rng.uniform(0.03, largest, size=2) / 2
        _shape(rng, pen, middle, reach, (width_px, height_px), fill)
    if rng.random() < 0.7:
        blur_px = rng.uniform(0.0, 0.02) * max(width_px, height_px)
        image = image.filter(ImageFilter.BoxBlur(blur_px))
    light = 0.6 + 0.8 * _cloud(rng, 3, width_px, height_px)[..., None]
    return np.asarray(image, dtype=np.float32) * light


def _shape(
    rng: np.random.Generator,
    pen: ImageDraw.ImageDraw,
    middle: npt.NDArray[np.float64],
    reach: npt.NDArray[np.float64],
    size: tuple[int, int],
    fill: tuple[int, ...],
) -> None:
    low, high = (middle - reach) * size, (middle + reach) * size
    box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    kind = rng.integers(4)
    if kind == 0:
        pen.ellipse(box, fill=fill)
    elif kind == 1:
        pen.rectangle(box, fill=fill)
    elif kind == 2:
        corners = middle + rng.uniform(-1, 1, size=(rng.integers(3, 7), 2)) * reach
        pen.polygon([(float(x), float(y)) for x, y in corners * size], fill=fill)
    else:
        pen.line(box, fill=fill, width=max(1, int(rng.uniform(0.005, 0.04) * max(size))))


def _page(
    rng: np.random.Generator, shades: tuple[Rgb, Rgb], width_px: int, height_px: int
) -> Pixels:
    """Print lines that look like text, in columns, with rules and grey pictures."""
    dark_paper = rng.random() < 0.2
    paper, ink = (rng.uniform(0, 70, 3), 215.0) if dark_paper else (rng.uniform(205, 255, 3), 40.0)
    image = Image.new("RGB", (width_px, height_px), tuple(int(part) for part in paper))
    pen = ImageDraw.Draw(image)
    columns, margin = int(rng.integers(1, 4)), rng.uniform(0.02, 0.12)
    pitch = rng.uniform(0.025, 0.09)
    wide = (1 - margin) / columns
    for column in range(columns):
        left = margin + column * wide
        y = rng.uniform(0, 2 * pitch)
        while y < 1:
            y = _block(rng, pen, (left, y, wide - margin, pitch), (width_px, height_px), ink)
    return np.asarray(image, dtype=np.float32)


def _block(
    rng: np.random.Generator,
    pen: ImageDraw.ImageDraw,
    place: tuple[float, float, float, float],
    size: tuple[int, int],
    ink: float,
) -> float:
    """Print a line, a rule, a picture or a gap; return where the next one begins."""
    left, top, wide, pitch = place
    width_px, height_px = size
    fill = tuple(int(part) for part in np.clip(ink + rng.normal(0, 25, size=3), 0, 255))
    kind = rng.random()
    if kind < 0.04:
        high = rng.uniform(0.1, 0.3)
        grey = tuple(int(part) for part in any_colour(rng))
        corners = (left * width_px, top * height_px, (left + wide) * width_px)
        pen.rectangle((*corners, (top + high) * height_px), fill=grey)
        return top + high + pitch
    if kind < 0.14:
        return top + pitch
    x, end = left, left + wide * (1.0 if rng.random() < 0.7 else rng.uniform(0.2, 1.0))
    while x < end:  # words, as bars of the height of small letters with some taller strokes
        word = min(rng.uniform(0.4, 3.0) * pitch, end - x)
        low, high = (top + 0.3 * pitch) * height_px, (top + 0.7 * pitch) * height_px
        for stroke in np.arange(x, x + word, 0.22 * pitch):
            lift = 0.2 * pitch * height_px * (rng.random() < 0.3)
            x0 = float(stroke) * width_px
            pen.rectangle((x0, low - lift, x0 + 0.1 * pitch * width_px, high), fill=fill)
        x += word + 0.5 * pitch
    return top + pitch


def _blobs(
    rng: np.random.Generator, shades: tuple[Rgb, Rgb], width_px: int, height_px: int
) -> Pixels:
    """Lay smooth blobs of arbitrary colours over an arbitrary colour."""
    x, y = _axes(width_px, height_px)
    pixels = np.broadcast_to(np.array(shades[0], dtype=np.float32), (height_px, width_px, 3)).copy()
    for number in range(rng.integers(3, 14)):
        colour = np.array(shades[1] if number == 0 else any_colour(rng), dtype=np.float32)
        cx, cy = rng.uniform(-0.5, 0.5, size=2).astype(np.float32)
        rx, ry = rng.uniform(0.04, 0.3, size=2).astype(np.float32)
        inside = np.exp(-np.square((x - cx) / rx)) * np.exp(-np.square((y - cy) / ry))
        sharp = np.float32(rng.uniform(1, 6))
        pixels += (colour - pixels) * np.clip(inside * sharp, 0, 1)[..., None]
    return pixels


def _mosaic(
    rng: np.random.Generator, shades: tuple[Rgb, Rgb], width_px: int, height_px: int
) -> Pixels:
    """Cut the picture into the cells that are nearest to random points."""
    count = int(rng.integers(6, 60))
    points = rng.random((count, 2)).astype(np.float32) - np.float32(0.5)
    x, y = _axes(_MOSAIC_PX, _MOSAIC_PX)
    away = np.square(x[..., None] - points[:, 0]) + np.square(y[..., None] - points[:, 1])
    cells = Image.fromarray(away.argmin(axis=-1).astype(np.uint8))
    owner = np.asarray(cells.resize((width_px, height_px), Image.Resampling.NEAREST))
    colours = np.array([*shades, *(any_colour(rng) for _ in range(count - 2))], dtype=np.float32)
    return _picked(colours, owner)


_Painter = Callable[[np.random.Generator, tuple[Rgb, Rgb], int, int], Pixels]
_PAINTERS: Final[dict[Family, _Painter]] = {
    Family.GRADIENT: _gradient,
    Family.STRIPES: _stripes,
    Family.CHECKERS: _checkers,
    Family.NOISE: _noise,
    Family.CLUTTER: _clutter,
    Family.PAGE: _page,
    Family.BLOBS: _blobs,
    Family.MOSAIC: _mosaic,
}
