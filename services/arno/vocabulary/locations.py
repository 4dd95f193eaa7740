"""Translate between pixels and location tokens.

Florence-2 writes places as text: each side of an image is cut into 1,000 bins, and bin N is the
token `<loc_N>`. A coordinate becomes the bin it lies in; a bin becomes its centre. So a round trip
moves a coordinate by at most half a bin: 0.5 px for an image that is 1,000 px wide.

Source: `Florence2PostProcessor.quantize` and `.dequantize` in transformers, without their last step
back to whole pixels (docs/parsing-differences.md).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from arno.vocabulary.regions import Box, ImageSize, Point, Polygon, QuadBox, Shape

BIN_COUNT: Final = 1000
"""Bins along each side, and location tokens in the vocabulary."""

BOX_BINS: Final = 4
"""Location tokens of a box: x0, y0, x1, y1."""

QUAD_BINS: Final = 8
"""Location tokens of a quad box: four corners."""

POLYGON_BINS_MIN: Final = 6
"""Location tokens of the smallest polygon: three corners."""


def quantise(value_px: float, side_px: int) -> int:
    """Return the bin (0..999) that a coordinate lies in; outside the image, the nearest one.

    Raises:
        ValueError: The coordinate is not a number.
    """
    return int(min(max(value_px / (side_px / BIN_COUNT), 0.0), BIN_COUNT - 1.0))


def dequantise(location_bin: int, side_px: int) -> float:
    """Return the centre of a bin, in pixels."""
    return (location_bin + 0.5) * (side_px / BIN_COUNT)


def point_bins(points: Iterable[Point], size: ImageSize) -> tuple[int, ...]:
    """Return the bins of points: x, y, x, y, ..."""
    return tuple(
        location_bin
        for point in points
        for location_bin in (
            quantise(point.x, size.width_px),
            quantise(point.y, size.height_px),
        )
    )


def shape_bins(shape: Shape, size: ImageSize) -> tuple[int, ...]:
    """Return the bins of any shape, in the order in which the model writes them."""
    match shape:
        case Box(x0, y0, x1, y1):
            return point_bins((Point(x0, y0), Point(x1, y1)), size)
        case QuadBox(points):
            return point_bins(points, size)
        case polygons:
            return point_bins((p for polygon in polygons for p in polygon.points), size)


def points_from_bins(bins: Sequence[int], size: ImageSize) -> tuple[Point, ...]:
    """Return the points at the centres of bins x, y, x, y, ...; an odd last bin is left out."""
    return tuple(
        Point(dequantise(x, size.width_px), dequantise(y, size.height_px))
        for x, y in zip(bins[0::2], bins[1::2], strict=False)
    )


def box_from_bins(bins: Sequence[int], size: ImageSize) -> Box:
    """Return the box of exactly four bins.

    Raises:
        ValueError: There are not four.
    """
    top_left, bottom_right = points_from_bins(_exactly(BOX_BINS, bins), size)
    return Box(top_left.x, top_left.y, bottom_right.x, bottom_right.y)


def quad_from_bins(bins: Sequence[int], size: ImageSize) -> QuadBox:
    """Return the quad box of exactly eight bins.

    Raises:
        ValueError: There are not eight.
    """
    first, second, third, fourth = points_from_bins(_exactly(QUAD_BINS, bins), size)
    return QuadBox((first, second, third, fourth))


def polygon_from_bins(bins: Sequence[int], size: ImageSize) -> Polygon:
    """Return the polygon of bins x, y, x, y, ...; an odd last bin is left out."""
    return Polygon(points_from_bins(bins, size))


def render_bins(bins: Iterable[int]) -> str:
    """Return bins as the model reads and writes them: `<loc_52><loc_333>`."""
    return "".join(f"<loc_{location_bin}>" for location_bin in bins)


def _exactly(count: int, bins: Sequence[int]) -> Sequence[int]:
    if len(bins) != count:
        raise ValueError(f"{count} bins are needed, not {len(bins)}")
    return bins
