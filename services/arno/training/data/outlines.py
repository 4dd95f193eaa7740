"""Turn COCO's masks into outlines: polygons as they are, run lengths traced; both made sparse.

A model writes every point of an outline as two tokens, so points that move the outline by less than
a location bin are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from faster_coco_eval.core import mask as run_lengths

from arno.engine.mask_outlines import trace_rims, without_needless
from arno.errors import InvalidFieldError
from arno.vocabulary import BIN_COUNT, ImageSize, Point, Polygon

_POINTS_MIN = 3
_STEP_PX = 0.75


def outlines_of(segmentation: Any, size: ImageSize, field: str) -> tuple[Polygon, ...]:
    """Return the outlines of an annotation's ``segmentation``; holes are filled.

    Args:
        segmentation: Lists of x, y, x, y, .. or run lengths, compressed or not.
        size: Of the image, which run lengths are as large as.
        field: The name of the field, for messages.

    Raises:
        InvalidFieldError: It is neither, or holds no area.
    """
    found = (
        _traced(segmentation, size, field)
        if isinstance(segmentation, dict)
        else _listed(segmentation, field)
    )
    # Traced outlines are staircases; steps of a pixel are not part of the shape.
    tolerance = max(size.width_px / BIN_COUNT, size.height_px / BIN_COUNT, _STEP_PX)
    sparse = (without_needless(points, tolerance) for points in found)
    kept = tuple(
        Polygon(tuple(Point(float(x), float(y)) for x, y in points))
        for points in sparse
        if len(points) >= _POINTS_MIN
    )
    if not kept:
        raise InvalidFieldError(field=field, problem="there is no area in it")
    return kept


def _listed(segmentation: Any, field: str) -> list[npt.NDArray[np.float64]]:
    try:
        rows = [np.asarray(row, dtype=np.float64) for row in segmentation]
        return [row.reshape(-1, 2) for row in rows]  # [N, 2]
    except (TypeError, ValueError) as fault:
        problem = f"not lists of x, y, x, y, ..: {fault}"
        raise InvalidFieldError(field=field, problem=problem) from fault


def _traced(
    segmentation: dict[str, Any], size: ImageSize, field: str
) -> list[npt.NDArray[np.float64]]:
    if segmentation.get("size") != [size.height_px, size.width_px]:
        raise InvalidFieldError(
            field=f"{field}.size",
            problem="not that of the image",
            limit=f"[{size.height_px}, {size.width_px}]",
            sent=str(segmentation.get("size")),
        )
    try:
        counts = segmentation["counts"]
        if isinstance(counts, list):
            _check_counts(counts, size)
            segmentation = run_lengths.frPyObjects(segmentation, size.height_px, size.width_px)
        mask = run_lengths.decode(segmentation)  # [H, W]
    except Exception as fault:  # the library raises nearly anything on bad run lengths
        problem = f"not run lengths: {fault}"
        raise InvalidFieldError(field=f"{field}.counts", problem=problem) from fault
    return trace_rims(mask)


def _check_counts(counts: list[Any], size: ImageSize) -> None:
    # The library writes past its buffer where the runs are longer than the mask.
    if sum(counts) != size.width_px * size.height_px or min(counts) < 0:
        raise ValueError(f"they sum up to {sum(counts)} pixels")
