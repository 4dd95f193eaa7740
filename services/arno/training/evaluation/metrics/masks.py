"""The overlap of outlines, pixel by pixel: IoU of masks, and its mean over a data set.

Definition: IoU of a question is the pixels in both masks over those in either, each mask being all
of its regions together. mIoU is the mean over questions (the measure of RefCOCO's segmentation
leaderboards, Liu et al. 2017, arXiv:1703.07939); the overall IoU divides the sums over all
questions, so that large objects weigh more.

Source: rasterised as COCO does it (the mask API of faster-coco-eval); checked against pycocotools
and by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco_mask

from arno.vocabulary import Box, ImageSize, QuadBox, Region, Shape

_CORNERS_MIN = 3


@dataclass(frozen=True, slots=True)
class MaskOverlap:
    """Pixels of one question."""

    shared_px: int
    union_px: int

    @property
    def iou(self) -> float:
        """Intersection over union, 0..1; 0 where both masks are empty."""
        return self.shared_px / self.union_px if self.union_px else 0.0


def mask_overlap(found: Sequence[Region], true: Sequence[Region], size: ImageSize) -> MaskOverlap:
    """Return the overlap of everything found with everything true, in an image of ``size``."""
    one, other = (_mask([region.shape for region in side], size) for side in (found, true))
    return MaskOverlap(
        shared_px=int(np.logical_and(one, other).sum()),
        union_px=int(np.logical_or(one, other).sum()),
    )


def shape_overlap(one: Shape, other: Shape, size: ImageSize) -> float:
    """Return the IoU of two shapes of any kind, turned quad boxes too, 0..1."""
    first, second = _mask([one], size), _mask([other], size)
    union = int(np.logical_or(first, second).sum())
    return int(np.logical_and(first, second).sum()) / union if union else 0.0


def overall_iou(overlaps: Sequence[MaskOverlap]) -> float:
    """Return the IoU of all questions' pixels together."""
    union = sum(overlap.union_px for overlap in overlaps)
    return sum(overlap.shared_px for overlap in overlaps) / union if union else 0.0


def _mask(shapes: Sequence[Shape], size: ImageSize) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return the pixels [H, W] that any of the shapes covers."""
    paths = [path for shape in shapes for path in _paths(shape)]
    if not paths:
        return np.zeros((size.height_px, size.width_px), dtype=np.bool_)
    parts = coco_mask.frPyObjects(paths, size.height_px, size.width_px)
    return np.asarray(coco_mask.decode(coco_mask.merge(parts)), dtype=np.bool_)


def _paths(shape: Shape) -> list[list[float]]:
    match shape:
        case Box(x0, y0, x1, y1):
            return [[x0, y0, x1, y0, x1, y1, x0, y1]]
        case QuadBox(points):
            return [[side for point in points for side in (point.x, point.y)]]
        case polygons:
            return [
                [side for point in polygon.points for side in (point.x, point.y)]
                for polygon in polygons
                if len(polygon.points) >= _CORNERS_MIN
            ]
