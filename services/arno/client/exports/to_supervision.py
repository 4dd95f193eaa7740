"""Supervision's `Detections`, with all that its own reader of Florence-2 leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from arno.client.exports.selection import ClassNames, Found, found_in, outlines, size_of
from arno.errors import MissingExtraError
from arno.vocabulary import ImageSize, QuadBox
from arno.vocabulary.regions import corners
from arno.vocabulary.results import InferResult

if TYPE_CHECKING:
    import supervision as sv

_NOT_LISTED = -1


def to_supervision(
    result: InferResult, task: int | str | None = None, *, classes: Sequence[str] | None = None
) -> sv.Detections:
    """Return the regions as `supervision.Detections`.

    `confidence` is the score, NaN where a region has none; `class_id` the number of the label;
    `data` has `class_name` and `task`, and `xyxyxyxy` [N, 4, 2] where there are quad boxes; `mask`
    [N, H, W] is set where there are outlines, and is the filled box of regions without one.

    Args:
        result: The result.
        task: A task of it; None takes all.
        classes: Names of the classes, numbered from 0 in this order, equal for all images; other
            labels have the number -1. None numbers the labels of this result by the alphabet.

    Raises:
        MissingExtraError: supervision is not installed.
        KeyError: There is no such task.
        ArnoError: The named task has no answer, or the size of the image is not known.
    """
    try:
        import numpy as np
        import supervision as sv
    except ImportError as error:
        sentence = "to_supervision needs supervision: pip install supervision"
        raise MissingExtraError(sentence, module="supervision") from error
    found = found_in(result, task)
    labels = [one.region.label for one in found]
    names = ClassNames(classes, labels)
    numbers = [names.number(label) for label in labels]
    data: dict[str, Any] = {
        "class_name": np.array(labels, dtype=str),
        "task": np.array([str(one.outcome.task) for one in found], dtype=str),
    }
    if any(isinstance(one.region.shape, QuadBox) for one in found):
        data["xyxyxyxy"] = np.array([_four_corners(one) for one in found], dtype=np.float32)
    return sv.Detections(
        xyxy=np.array([_sides(one) for one in found], dtype=np.float32).reshape(-1, 4),
        mask=_masks(np, found, size_of(result)) if any(map(_outlined, found)) else None,
        confidence=np.array([_confidence(one) for one in found], dtype=np.float32),
        class_id=np.array([_NOT_LISTED if n is None else n for n in numbers], dtype=int),
        data=data,
    )


def _sides(one: Found) -> list[float]:
    box = one.box
    return [box.x0, box.y0, box.x1, box.y1]


def _confidence(one: Found) -> float:
    return float("nan") if one.region.score is None else one.region.score


def _four_corners(one: Found) -> list[list[float]]:
    shape = one.region.shape
    points = corners(shape if isinstance(shape, QuadBox) else one.box)
    return [[point.x, point.y] for point in points]


def _outlined(one: Found) -> bool:
    return isinstance(one.region.shape, tuple)


def _masks(np: Any, found: Sequence[Found], size: ImageSize) -> Any:
    """Return masks [N, H, W] of bool, drawn with Pillow."""
    masks = np.zeros((len(found), size.height_px, size.width_px), dtype=bool)
    for number, one in enumerate(found):
        mask = Image.new("1", (size.width_px, size.height_px))
        canvas = ImageDraw.Draw(mask)
        for part in outlines(one.region.shape):
            canvas.polygon([(point.x, point.y) for point in part.points], fill=1)
        if not _outlined(one) and not isinstance(one.region.shape, QuadBox):
            canvas.rectangle(_sides(one), fill=1)
        masks[number] = np.asarray(mask)
    return masks
