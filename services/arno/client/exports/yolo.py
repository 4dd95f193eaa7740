"""YOLO: a text file an image, a line a region, numbers as parts of the image's sides.

Source: https://docs.ultralytics.com/datasets/detect/ and .../segment/.

Stands alone: one foreign format a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from arno.client.exports.selection import ClassNames, Found, found_in, outlines, size_of
from arno.vocabulary import ImageSize
from arno.vocabulary.results import InferResult


class YoloLabels(NamedTuple):
    """The content of a label file, and the names that its numbers stand for."""

    text: str
    names: list[str]


def to_yolo(
    result: InferResult, task: int | str | None = None, *, classes: Sequence[str] | None = None
) -> YoloLabels:
    """Return the regions as YOLO's lines: boxes as centre and size, outlines as corners.

    Args:
        result: The result.
        task: A task of it; None takes all.
        classes: Names of the classes, numbered from 0 in this order; other labels are left out.
            None makes them of the labels, in the order of the alphabet.

    Raises:
        KeyError: There is no such task.
        ArnoError: The named task has no answer, or the size of the image is not known.
    """
    found = found_in(result, task)
    names = ClassNames(classes, (one.region.label for one in found))
    return YoloLabels(yolo_lines(found, names, size_of(result)), names.names)


def yolo_lines(found: Sequence[Found], names: ClassNames, size: ImageSize) -> str:
    """Return the lines of the regions whose label is a class; of an outline, its largest part."""
    lines = []
    for one in found:
        number = names.number(one.region.label)
        if number is not None:
            shown = " ".join(f"{part:.6g}" for part in _parts(one, size))
            lines.append(f"{number} {shown}\n")
    return "".join(lines)


def _parts(one: Found, size: ImageSize) -> list[float]:
    parts = outlines(one.region.shape)
    if parts:
        largest = max(parts, key=lambda part: len(part.points))
        return [
            _inside(side)
            for point in largest.points
            for side in (point.x / size.width_px, point.y / size.height_px)
        ]
    box = one.box
    x0, x1 = (_inside(side / size.width_px) for side in (box.x0, box.x1))
    y0, y1 = (_inside(side / size.height_px) for side in (box.y0, box.y1))
    return [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]


def _inside(part: float) -> float:
    # A trainer refuses a whole image for one number outside.
    return min(max(part, 0.0), 1.0)
