"""Describe places in an image: points, boxes, quad boxes, polygons and labelled regions.

All coordinates are float pixels of the image as a viewer shows it (EXIF orientation applied), with
the origin at the top left corner, x to the right and y downwards. Nothing here depends on tokens.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class ImageSize:
    """The size of an image as a viewer shows it, in whole pixels, both sides at least 1."""

    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        """Refuse sides that no image has.

        Raises:
            ValueError: A side is below 1.
        """
        if self.width_px < 1 or self.height_px < 1:
            raise ValueError(f"an image has at least 1 x 1 pixels, not {self}")


@dataclass(frozen=True, slots=True)
class Point:
    """A point, in pixels."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Box:
    """An upright box from its top left corner (x0, y0) to its bottom right one (x1, y1), in pixels.

    The corners are kept as the model gave them: a box may be inverted (x1 < x0), and then its area
    is 0.
    """

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class QuadBox:
    """Four corners, clockwise from the top left of the text they hold, in pixels."""

    points: tuple[Point, Point, Point, Point]


@dataclass(frozen=True, slots=True)
class Polygon:
    """A closed outline, in pixels. The last point joins the first and is not repeated."""

    points: tuple[Point, ...]


Shape: TypeAlias = Box | QuadBox | tuple[Polygon, ...]
"""Where a region is. Several polygons are one region, cut into parts by what stands before it."""


@dataclass(frozen=True, slots=True)
class Region:
    """A labelled place in the image, as the model wrote it.

    Attributes:
        label: Its text: a category, a caption, the words read there. Empty where the task has none.
        shape: Where it is, in pixels.
        bins: Its location tokens (0..999), in the order written: x, y, x, y, ... For several
            polygons, their bins one after the other.
        label_score: How sure the model was of the label, 0..1; None without a label or log-probs.
        location_score: The overlap (IoU) with the true place that the model expects, 0..1; None
            without location tokens, or where the engine computes no deviations.
        score: Their product, or the one that there is; calibrated, if `calibrated` says so.
        official_location_score: The score of the place by the formula of the published Florence-2
            processors: the geometric mean of the location tokens' probabilities.
        label_logprob: Logarithm of the probability of all tokens of the label together.
        location_logprob: The same for the location tokens.
        existence: How sure the model was that there is a region at all, 0..1: 1 minus the
            probability of the end of the answer where the region begins. None without a place of
            the model's own, or where the engine keeps none.
        calibrated: Whether `score` was fitted to how often such regions are right.
    """

    label: str
    shape: Shape
    bins: tuple[int, ...] = ()
    label_score: float | None = None
    location_score: float | None = None
    score: float | None = None
    official_location_score: float | None = None
    label_logprob: float | None = None
    location_logprob: float | None = None
    calibrated: bool = False
    # Not in the repr, which digests of data are made from: those of before stay.
    existence: float | None = field(default=None, repr=False)


def corners(shape: Shape) -> tuple[Point, ...]:
    """Return every corner of a shape, in order."""
    match shape:
        case Box(x0, y0, x1, y1):
            return Point(x0, y0), Point(x1, y0), Point(x1, y1), Point(x0, y1)
        case QuadBox(points):
            return points
        case polygons:
            return tuple(point for polygon in polygons for point in polygon.points)


def bounding_box(shape: Shape) -> Box:
    """Return the smallest upright box around a shape.

    Raises:
        ValueError: The shape has no points at all.
    """
    points = corners(shape)
    if not points:
        raise ValueError("a shape without points has no bounding box")
    xs = [point.x for point in points]
    ys = [point.y for point in points]
    return Box(min(xs), min(ys), max(xs), max(ys))


def area(shape: Shape) -> float:
    """Return the area of a shape in square pixels. Overlapping polygons count twice."""
    match shape:
        case Box(x0, y0, x1, y1):
            return max(0.0, x1 - x0) * max(0.0, y1 - y0)
        case QuadBox(points):
            return outline_area(points)
        case polygons:
            return sum(outline_area(polygon.points) for polygon in polygons)


def outline_area(points: Sequence[Point]) -> float:
    """Return the area inside a closed outline, its last edge (from last to first point) included.

    Source: the shoelace formula. The reference leaves that edge out: docs/parsing-differences.md.
    """
    return abs(sum(_cross(a, b) for a, b in _edges(points))) / 2


def iou(one: Box, other: Box) -> float:
    """Return the intersection over union of two upright boxes, 0..1; 0 when both are empty."""
    shared = area(
        Box(
            max(one.x0, other.x0),
            max(one.y0, other.y0),
            min(one.x1, other.x1),
            min(one.y1, other.y1),
        )
    )
    union = area(one) + area(other) - shared
    return shared / union if union > 0 else 0.0


def _edges(points: Sequence[Point]) -> Iterable[tuple[Point, Point]]:
    return zip(points, (*points[1:], *points[:1]), strict=True)


def _cross(a: Point, b: Point) -> float:
    return a.x * b.y - b.x * a.y
