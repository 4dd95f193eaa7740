"""Scale shapes from units of the picture's sides (0..1) to its pixels."""

from __future__ import annotations

from collections.abc import Iterable

from arno.vocabulary import Box, ImageSize, Point, Polygon, QuadBox


def scaled_box(box: Box, size: ImageSize) -> Box:
    """Return a box in pixels."""
    return Box(
        box.x0 * size.width_px,
        box.y0 * size.height_px,
        box.x1 * size.width_px,
        box.y1 * size.height_px,
    )


def scaled_quad(points: tuple[Point, Point, Point, Point], size: ImageSize) -> QuadBox:
    """Return a quad box in pixels."""
    first, second, third, fourth = (_scaled(point, size) for point in points)
    return QuadBox((first, second, third, fourth))


def scaled_outline(polygons: Iterable[Polygon], size: ImageSize) -> tuple[Polygon, ...]:
    """Return polygons in pixels."""
    return tuple(Polygon(tuple(_scaled(point, size) for point in one.points)) for one in polygons)


def _scaled(point: Point, size: ImageSize) -> Point:
    return Point(point.x * size.width_px, point.y * size.height_px)
