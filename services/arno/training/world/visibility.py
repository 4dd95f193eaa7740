"""The visible parts of objects that cover one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arno.training.world.outlines import Loop, Mask
from arno.training.world.placement import Placement
from arno.training.world.sprites import silhouette, unit_outline, whole_outline
from arno.vocabulary import Box, Point, Polygon


@dataclass(frozen=True, slots=True)
class View:
    """The visible part of an object, in units of the picture's sides.

    Attributes:
        box: The tight box around what is seen.
        outline: Its outlines; several where something in front cuts it in parts.
        part: How much of the object is seen, 0..1.
    """

    box: Box
    outline: tuple[Polygon, ...]
    part: float


def view(placement: Placement, in_front: Sequence[Placement], points_max: int) -> View:
    """Return what is seen of one object behind others."""
    glyph, mirrored = placement.category.glyph, placement.mirrored
    covering = [other for other in in_front if placement.covers(other) > 0]
    own = silhouette(glyph, mirrored)
    seen = own & ~_hidden(placement, own, covering) if covering else own
    part = float(seen.sum() / own.sum())
    if part == 1.0:
        outline = _placed(placement.box, whole_outline(glyph, mirrored, points_max))
        return View(placement.box, outline, part)
    if part == 0.0:
        return View(placement.box, (), part)
    # Every other pixel: the outline keeps few points anyhow, and following it takes half as long.
    outline = _placed(placement.box, unit_outline(seen[::2, ::2], points_max))
    return View(_seen_box(placement.box, seen), outline, part)


def _hidden(placement: Placement, own: Mask, covering: Sequence[Placement]) -> Mask:
    """Return which pixels of the silhouette ``own`` lie behind one of the others."""
    box = placement.box
    height, width = own.shape
    xs = box.x0 + (np.arange(width) + 0.5) / width * (box.x1 - box.x0)
    ys = box.y0 + (np.arange(height) + 0.5) / height * (box.y1 - box.y0)
    hidden = np.zeros_like(own)
    for other in covering:
        mask = np.pad(silhouette(other.category.glyph, other.mirrored), 1)
        over = other.box
        columns = np.floor((xs - over.x0) / (over.x1 - over.x0) * (mask.shape[1] - 2)) + 1
        rows = np.floor((ys - over.y0) / (over.y1 - over.y0) * (mask.shape[0] - 2)) + 1
        columns = np.clip(columns, 0, mask.shape[1] - 1).astype(int)
        rows = np.clip(rows, 0, mask.shape[0] - 1).astype(int)
        hidden |= mask[rows[:, None], columns[None, :]]
    return hidden


def _seen_box(box: Box, seen: Mask) -> Box:
    columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
    width, height = (box.x1 - box.x0) / seen.shape[1], (box.y1 - box.y0) / seen.shape[0]
    return Box(
        box.x0 + float(columns[0]) * width,
        box.y0 + float(rows[0]) * height,
        box.x0 + float(columns[-1] + 1) * width,
        box.y0 + float(rows[-1] + 1) * height,
    )


def _placed(box: Box, loops: Sequence[Loop]) -> tuple[Polygon, ...]:
    width, height = box.x1 - box.x0, box.y1 - box.y0
    return tuple(
        Polygon(tuple(Point(box.x0 + x * width, box.y0 + y * height) for x, y in loop.tolist()))
        for loop in loops
    )
