"""Turn a mask into polygons: follow its edges, then leave out the points that matter least."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Mask: TypeAlias = npt.NDArray[np.bool_]
Loop: TypeAlias = npt.NDArray[np.float64]
"""A closed outline, [points, 2] as x, y; clockwise as seen, the last point joins the first."""

_PART_MIN: Final = 0.04
"""Parts of a mask below this share of it are left out: an eye does not see them as parts."""


def trace(mask: Mask) -> list[Loop]:
    """Return the outer outline of each part of a mask, the largest first.

    Coordinates are in the mask's pixels, at their corners. Holes are filled: a polygon has none.
    """
    loops = [np.array(loop, dtype=np.float64) for loop in _chain(_edges(mask))]
    areas = [_signed_area(loop) for loop in loops]
    whole = sum(area for area in areas if area > 0)
    kept = [
        (area, loop) for area, loop in zip(areas, loops, strict=True) if area > whole * _PART_MIN
    ]
    return [loop for _, loop in sorted(kept, key=lambda pair: -pair[0])]


def simplify(loop: Loop, points_max: int) -> Loop:
    """Return at most ``points_max`` of a loop's points, from its topmost one on.

    Source: Visvalingam and Whyatt, "Line generalisation by repeated elimination of points" (1993):
    the point whose triangle with its neighbours is least goes first.
    """
    points = _without_straight(loop)
    while len(points) > max(3, points_max):
        before, after = _neighbours(points)
        triangles = np.abs(_cross(points - before, after - before))
        surplus = len(points) - points_max
        # Far from the end, several go at once: they are the small steps of the pixel grid.
        batch = max(1, surplus // 4)
        gone = np.argpartition(triangles, batch - 1)[:batch]
        points = np.delete(points, gone[:1] if batch == 1 else _apart(gone, len(points)), axis=0)
    first = int(np.lexsort((points[:, 0], points[:, 1]))[0])
    return np.roll(points, -first, axis=0)


def _edges(mask: Mask) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return the sides of pixels that part inside from outside, the inside on their right."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    edges: list[tuple[tuple[int, int], tuple[int, int]]] = []
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    for neighbour, start, end in sides:
        rows, columns = np.nonzero(inside & ~neighbour)
        edges += [
            ((x + start[0], y + start[1]), (x + end[0], y + end[1]))
            for x, y in zip(columns.tolist(), rows.tolist(), strict=True)
        ]
    return edges


def _chain(edges: list[tuple[tuple[int, int], tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    """Join edges end to start into closed loops."""
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for start, end in edges:
        following.setdefault(start, []).append(end)
    loops = []
    while following:
        start = at = next(iter(following))
        came = (0, 0)
        loop = []
        while True:
            loop.append(at)
            ends = following[at]
            # Where two pixels touch at a corner, the right turn keeps their outlines apart.
            end = ends[0] if len(ends) == 1 else max(ends, key=lambda to: _turn(came, at, to))
            ends.remove(end)
            if not ends:
                del following[at]
            came, at = (end[0] - at[0], end[1] - at[1]), end
            if at == start:
                break
        loops.append(loop)
    return loops


def _turn(came: tuple[int, int], at: tuple[int, int], to: tuple[int, int]) -> int:
    return came[0] * (to[1] - at[1]) - came[1] * (to[0] - at[0])


def _cross(one: Loop, other: Loop) -> npt.NDArray[np.float64]:
    return one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]


def _signed_area(loop: Loop) -> float:
    return float(_cross(loop, np.roll(loop, -1, axis=0)).sum() / 2)


def _without_straight(loop: Loop) -> Loop:
    before, after = _neighbours(loop)
    bent: Loop = loop[_cross(loop - before, after - loop) != 0]
    return bent


def _neighbours(loop: Loop) -> tuple[Loop, Loop]:
    """Return the points before and after each; `np.roll` would take several times as long."""
    return np.concatenate((loop[-1:], loop[:-1])), np.concatenate((loop[1:], loop[:1]))


def _apart(indices: npt.NDArray[np.int64], count: int) -> list[int]:
    """Return those of the indices that are no neighbours of one taken before."""
    taken: set[int] = set()
    for index in indices.tolist():
        if (index - 1) % count not in taken and (index + 1) % count not in taken:
            taken.add(index)
    return sorted(taken)
