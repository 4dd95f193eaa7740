"""Draw the images that are asked about: scenes of the world that arno-tiny was trained in."""

from __future__ import annotations

import functools
import io

from arno.training.world import TINY, draw, imagine
from arno.vocabulary import ImageSize

_FIRST_SEED = 900_000_000
"""Far from every seed that a model was trained or tested on."""


@functools.lru_cache(maxsize=64)
def picture(index: int, width_px: int = 640, height_px: int = 480) -> bytes:
    """Return a JPEG file, another one for every index."""
    scene = imagine(_FIRST_SEED + index, aspect=width_px / height_px, options=TINY)
    file = io.BytesIO()
    draw(scene, ImageSize(width_px, height_px)).convert("RGB").save(file, "JPEG", quality=90)
    return file.getvalue()
