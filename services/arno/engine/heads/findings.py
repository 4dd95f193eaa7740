"""Run a head over images, and give what it finds in the pixels of the images themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from arno.engine.heads.detection import DetectionHead
from arno.engine.heads.segmentation import SegmentationHead
from arno.engine.mask_outlines import trace_rims, without_needless
from arno.vocabulary import Box, ImageSize, Point, Polygon

_MASK_LEVEL: Final = 0.5
_TOLERANCE: Final = 0.25
"""How far an outline may move where points of it are left out, in pixels of the network."""


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object that a detector found.

    Attributes:
        category: The number of its category, from 0.
        box: Its box, in pixels of the image.
        score: How sure the detector is, 0..1.
        mask: [S, S] float32, the probability of each pixel of the network's square; None from a
            detector without masks.
    """

    category: int
    box: Box
    score: float
    mask: npt.NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class FoundPixels:
    """The categories of all pixels.

    Attributes:
        probabilities: [K, S, S] float32, of each category and pixel of the network's square.
    """

    probabilities: npt.NDArray[np.float32]


Finding: TypeAlias = tuple[FoundObject, ...] | FoundPixels


@torch.no_grad()
def find(
    network: DetectionHead | SegmentationHead, pixels: torch.Tensor, sizes: Sequence[ImageSize]
) -> list[Finding]:
    """Return what a network in evaluation mode finds in each image.

    Args:
        network: The head.
        pixels: [B, 3, S, S] float32, normalised, on its device.
        sizes: Of the images, B of them.
    """
    if isinstance(network, SegmentationHead):
        probabilities = network(pixels).float().softmax(dim=1).cpu().numpy()
        return [FoundPixels(one) for one in probabilities]
    side = pixels.shape[-1]
    return [_objects(found, size, side) for found, size in zip(network(pixels), sizes, strict=True)]


def _objects(
    found: dict[str, torch.Tensor], size: ImageSize, side_px: int
) -> tuple[FoundObject, ...]:
    x, y = size.width_px / side_px, size.height_px / side_px
    boxes, labels, scores = (found[name].tolist() for name in ("boxes", "labels", "scores"))
    masks: Any = found["masks"][:, 0].float().cpu().numpy() if "masks" in found else None
    return tuple(
        FoundObject(
            category=label - 1,
            box=Box(box[0] * x, box[1] * y, box[2] * x, box[3] * y),
            score=score,
            mask=None if masks is None else masks[index],
        )
        for index, (box, label, score) in enumerate(zip(boxes, labels, scores, strict=True))
    )


def outlines(levels: npt.NDArray[Any], size: ImageSize) -> tuple[Polygon, ...]:
    """Return the outlines of a mask of the network's square, in pixels of the image.

    Args:
        levels: [S, S]; what is above 0.5 is inside.
        size: Of the image.
    """
    scale = np.array([size.width_px / levels.shape[1], size.height_px / levels.shape[0]])
    rims = (without_needless(rim, _TOLERANCE) * scale for rim in trace_rims(levels))
    return tuple(
        Polygon(tuple(Point(float(x), float(y)) for x, y in rim)) for rim in rims if len(rim) >= 3
    )


def full_mask(levels: npt.NDArray[np.float32], size: ImageSize) -> npt.NDArray[np.bool_]:
    """Return a mask [H, W] of the image from probabilities [S, S]."""
    mask: npt.NDArray[np.bool_] = _enlarged(levels[None], size)[0] > _MASK_LEVEL
    return mask


def label_map(found: FoundPixels, size: ImageSize) -> npt.NDArray[np.int64]:
    """Return the likeliest category of each pixel of the image, [H, W]."""
    labels: npt.NDArray[np.int64] = _enlarged(found.probabilities, size).argmax(axis=0)
    return labels


def _enlarged(levels: npt.NDArray[np.float32], size: ImageSize) -> npt.NDArray[np.float32]:
    enlarged: npt.NDArray[np.float32] = functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(levels))[None],
        size=(size.height_px, size.width_px),
        mode="bilinear",
        align_corners=False,
    )[0].numpy()
    return enlarged
