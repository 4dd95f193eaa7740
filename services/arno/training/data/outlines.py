"""Turn COCO's masks into outlines: polygons as they are, run lengths traced; both made sparse.

A model writes every point of an outline as two tokens, so points that move the outline by less than
a location bin are left out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from contourpy import FillType, contour_generator
from faster_coco_eval.core import mask as run_lengths

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
    sparse = (_without_needless(points, tolerance) for points in found)
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
    return _rims(mask)


def _check_counts(counts: list[Any], size: ImageSize) -> None:
    # The library writes past its buffer where the runs are longer than the mask.
    if sum(counts) != size.width_px * size.height_px or min(counts) < 0:
        raise ValueError(f"they sum up to {sum(counts)} pixels")


def _rims(mask: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float64]]:
    # With an empty rim around it, every outline closes inside; pixel centres are at halves.
    framed = np.pad(mask, 1).astype(np.float64)
    x, y = (np.arange(side) - 0.5 for side in (framed.shape[1], framed.shape[0]))
    tracer = contour_generator(x=x, y=y, z=framed, fill_type=FillType.OuterOffset)
    # Of each polygon the first ring is the outer one; the last point repeats the first.
    return [
        points[: offsets[1] - 1]
        for points, offsets in zip(*tracer.filled(0.5, math.inf), strict=True)
        if points is not None and offsets is not None
    ]


def _without_needless(points: npt.NDArray[np.float64], tolerance: float) -> npt.NDArray[np.float64]:
    """Return a closed outline without the points that lie within ``tolerance`` of their line.

    Source: Douglas and Peucker (1973), on both halves of the ring.
    """
    if len(points) <= _POINTS_MIN:
        return points
    ring = np.vstack([points, points[:1]])  # [N + 1, 2]
    opposite = int(np.hypot(*(ring - ring[0]).T).argmax())
    kept = {0, opposite, len(ring) - 1}
    spans = [(0, opposite), (opposite, len(ring) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        away = _distances(ring[first + 1 : last], ring[first], ring[last])
        farthest = int(away.argmax())
        if away[farthest] > tolerance:
            middle = first + 1 + farthest
            kept.add(middle)
            spans += [(first, middle), (middle, last)]
    return ring[sorted(kept)[:-1]]


def _distances(
    points: npt.NDArray[np.float64], start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    along = end - start
    length = math.hypot(*along)
    away = points - start
    if length == 0:
        return np.hypot(away[:, 0], away[:, 1])
    across: npt.NDArray[np.float64] = along[0] * away[:, 1] - along[1] * away[:, 0]
    return np.abs(across) / length
