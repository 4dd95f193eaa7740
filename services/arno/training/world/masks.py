"""The exact masks of a scene's objects in its picture, pixel by pixel.

Stands alone: it is part of the world, and does not depend on what is trained on it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from arno.training.world.outlines import Mask
from arno.training.world.placement import Placement
from arno.training.world.scene import Scene
from arno.training.world.sprites import silhouette
from arno.vocabulary import ImageSize

NOTHING = -1
"""The number of pixels that belong to no object."""


def object_numbers(scene: Scene, size: ImageSize) -> npt.NDArray[np.int64]:
    """Return for each pixel [H, W] the place of the object in `scene.things` that is seen there.

    A pixel is of the object that is opaque at its centre; `NOTHING` where none is.
    """
    numbers = np.full((size.height_px, size.width_px), NOTHING, dtype=np.int64)
    places = {id(thing.placement): place for place, thing in enumerate(scene.things)}
    for placement in scene.painted:  # the hindmost first
        rows, columns, mask = _drawn(placement, size)
        seen = numbers[rows, columns]
        seen[mask] = places[id(placement)]
    return numbers


def _drawn(placement: Placement, size: ImageSize) -> tuple[slice, slice, Mask]:
    """Return the part of the picture around an object, and where in it the object is opaque."""
    own = silhouette(placement.category.glyph, placement.mirrored)
    box = placement.box
    rows, down = _samples(box.y0, box.y1, size.height_px, own.shape[0])
    columns, along = _samples(box.x0, box.x1, size.width_px, own.shape[1])
    return rows, columns, own[down[:, None], along[None, :]]


def _samples(
    start: float, end: float, side_px: int, own_px: int
) -> tuple[slice, npt.NDArray[np.int64]]:
    """Return the pixels of one axis whose centres lie inside, and where those are in the glyph."""
    first = max(0, int(np.ceil(start * side_px - 0.5)))
    stop = min(side_px, int(np.ceil(end * side_px - 0.5)))
    centres = (np.arange(first, stop) + 0.5) / side_px
    places = np.floor((centres - start) / (end - start) * own_px).astype(np.int64)
    return slice(first, max(first, stop)), np.clip(places, 0, own_px - 1)
