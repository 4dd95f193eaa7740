"""How good a head is: COCO's mean average precision of boxes and masks, mean IoU of pixels.

Sources: faster-coco-eval, COCO's own evaluation in C++; mean IoU as in Everingham et al., "The
PASCAL visual object classes challenge" (2015): over categories, of all pixels together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_coco_eval.core import mask as run_lengths

from arno.engine.heads.findings import FoundObject, full_mask
from arno.engine.heads.segmentation import IGNORED
from arno.training.evaluation.metrics.detection import average_precision
from arno.training.heads.truth import LabelMap, Mask, TrueImage
from arno.vocabulary import Box


@dataclass(slots=True)
class ObjectTally:
    """Objects of many images, true and found, in COCO's form. One thread.

    Attributes:
        categories: Names of the categories.
        has_masks: Whether masks are compared too.
        images: Sizes of the images so far.
        true: The truth.
        found: What was found.
    """

    categories: tuple[str, ...]
    has_masks: bool
    images: list[dict[str, int]] = field(default_factory=list)
    true: list[dict[str, Any]] = field(default_factory=list)
    found: list[dict[str, Any]] = field(default_factory=list)

    def add(self, number: int, truth: TrueImage, found: Sequence[FoundObject]) -> None:
        """Add an image; `number` is its own among all images of all processes, from 0."""
        image_id, size = number + 1, truth.size
        self.images.append({"id": image_id, "width": size.width_px, "height": size.height_px})
        for one in truth.objects:
            entry = _entry(image_id, one.category, one.box, self._coded(one.mask))
            self.true.append({**entry, "iscrowd": int(one.crowd)})
        for each in found:
            mask = full_mask(each.mask, size) if self.has_masks and each.mask is not None else None
            entry = _entry(image_id, each.category, each.box, self._coded(mask))
            self.found.append({**entry, "score": each.score})

    def merge(self, other: ObjectTally) -> None:
        """Add the images of another process."""
        self.images += other.images
        self.true += other.true
        self.found += other.found

    def figures(self) -> dict[str, float]:
        """Return mean average precision, 0..1, of boxes and, where there are any, of masks."""
        figures: dict[str, float] = {}
        for name, kind in (("box", "bbox"), ("mask", "segm")):
            if kind == "segm" and not self.has_masks:
                continue
            found = average_precision(self._truth(), self.found, kind) if self.found else None
            figures[f"{name}_map"] = found.map_50_95 if found else 0.0
            figures[f"{name}_map_50"] = found.map_50 if found else 0.0
        return figures

    def _truth(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "annotations": [{"id": number, **one} for number, one in enumerate(self.true, start=1)],
            "categories": [
                {"id": number, "name": name} for number, name in enumerate(self.categories, start=1)
            ],
        }

    def _coded(self, mask: Mask | None) -> dict[str, Any] | None:
        if mask is None or not self.has_masks:
            return None
        coded: dict[str, Any] = run_lengths.encode(np.asfortranarray(mask.astype(np.uint8)))
        return coded


def _entry(
    image_id: int, category: int, box: Box, mask: Mapping[str, Any] | None
) -> dict[str, Any]:
    width, height = max(0.0, box.x1 - box.x0), max(0.0, box.y1 - box.y0)
    entry: dict[str, Any] = {
        "image_id": image_id,
        "category_id": category + 1,
        "bbox": [box.x0, box.y0, width, height],
        "area": width * height,
    }
    if mask is not None:
        entry |= {"segmentation": mask, "area": float(run_lengths.area(mask))}
    return entry


class PixelTally:
    """Pixels of many images by true and found category. One thread."""

    def __init__(self, categories: tuple[str, ...]) -> None:
        """Start with none."""
        self._categories = categories
        self.counts: npt.NDArray[np.int64] = np.zeros((len(categories),) * 2, dtype=np.int64)
        """[true, found]"""

    def add(self, true: LabelMap, found: npt.NDArray[np.int64]) -> None:
        """Add an image; shapes [H, W]."""
        count = len(self._categories)
        judged = true != IGNORED
        pairs = true[judged].astype(np.int64) * count + found[judged]
        self.counts += np.bincount(pairs, minlength=count**2).reshape(count, count)

    def by_category(self) -> dict[str, float]:
        """Return the IoU, 0..1, of each category that is true or found somewhere."""
        shared = np.diag(self.counts)
        union = self.counts.sum(axis=0) + self.counts.sum(axis=1) - shared
        return {
            name: float(shared[place] / union[place])
            for place, name in enumerate(self._categories)
            if union[place]
        }

    def figures(self) -> dict[str, float]:
        """Return mean IoU over the categories, and the part of the pixels that are right."""
        ious = self.by_category()
        total = int(self.counts.sum())
        return {
            "miou": sum(ious.values()) / len(ious) if ious else 0.0,
            "pixel_accuracy": float(np.trace(self.counts) / total) if total else 0.0,
        }
