"""Follow the rim of a mask, and leave out the points of an outline that matter least."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from contourpy import FillType, contour_generator

_POINTS_MIN = 3


def trace_rims(levels: npt.NDArray[Any]) -> list[npt.NDArray[np.float64]]:
    """Return the outer outlines of a mask, [N, 2] each as x, y; holes are filled.

    Args:
        levels: [H, W], what counts as inside is above 0.5: a mask, or probabilities, between whose
            pixels the rim is interpolated.
    """
    # With an empty rim around it, every outline closes inside; pixel centres are at halves.
    framed = np.pad(levels, 1).astype(np.float64)
    x, y = (np.arange(side) - 0.5 for side in (framed.shape[1], framed.shape[0]))
    tracer = contour_generator(x=x, y=y, z=framed, fill_type=FillType.OuterOffset)
    # Of each polygon the first ring is the outer one; the last point repeats the first.
    return [
        points[: offsets[1] - 1]
        for points, offsets in zip(*tracer.filled(0.5, math.inf), strict=True)
        if points is not None and offsets is not None
    ]


def without_needless(points: npt.NDArray[np.float64], tolerance: float) -> npt.NDArray[np.float64]:
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
