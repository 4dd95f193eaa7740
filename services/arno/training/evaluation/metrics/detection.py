"""COCO's mean average precision and average recall of boxes.

Definition: https://cocodataset.org/#detection-eval. mAP is the area under the precision-recall
curve, read at 101 recalls, averaged over IoU 0.50 to 0.95 in steps of 0.05 and over the categories
that the truth has; at most 100 boxes an image. Boxes are ranked by their scores, so a model whose
scores say nothing loses here; `matching` counts boxes without them.

Source: faster-coco-eval, COCO's own evaluation in C++; the tests compare with pycocotools.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from faster_coco_eval import COCO, COCOeval_faster

from arno.training.evaluation.metrics.matching import plain
from arno.vocabulary import Box, ImageSize, Region, area, bounding_box

_MAP, _MAP_50, _RECALL = 0, 1, 8
"""Places in COCO's list of twelve figures."""


@dataclass(frozen=True, slots=True)
class SeenImage:
    """The true and the found regions of an image.

    Attributes:
        size: Size of the image.
        true: The objects of the truth.
        found: The model's regions.
        ignored: Crowds; found boxes inside a crowd are neither right nor wrong.
    """

    size: ImageSize
    true: Sequence[Region]
    found: Sequence[Region]
    ignored: Sequence[Region] = ()


@dataclass(frozen=True, slots=True)
class Detection:
    """COCO's figures, 0..1.

    Attributes:
        map_50: Mean average precision at IoU 0.5.
        map_50_95: Mean average precision, averaged over IoU 0.5 to 0.95.
        recall_50: The greatest recall at IoU 0.5.
        recall_50_95: The greatest recall, averaged over IoU 0.5 to 0.95.
    """

    map_50: float
    map_50_95: float
    recall_50: float
    recall_50_95: float


def coco_detection(images: Sequence[SeenImage], *, labelled: bool = True) -> Detection:
    """Return COCO's figures over all images.

    Args:
        images: Truth and findings; other shapes count as the upright boxes around them.
        labelled: Whether labels must agree; else all regions are of one category, as for proposals.
    """
    names = sorted({_name(region, labelled) for image in images for region in image.true})
    category_ids = {name: number for number, name in enumerate(names, start=1)}
    found = [
        {**entry, "score": region.score or 0.0}
        for image_id, image in enumerate(images, start=1)
        for region in image.found
        if region.shape and (entry := _entry(region, image_id, category_ids, labelled)) is not None
    ]
    if not found or not names:
        return Detection(0.0, 0.0, 0.0, 0.0)
    return average_precision(_truth(images, category_ids, labelled), found)


def average_precision(
    truth: dict[str, Any], found: list[dict[str, Any]], kind: str = "bbox"
) -> Detection:
    """Return COCO's figures.

    Args:
        truth: A document in COCO's format.
        found: Findings in COCO's format, at least one.
        kind: What is compared: `bbox`, or `segm` for masks.
    """
    # The library prints its progress and its table.
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = COCO(truth)
        evaluation = COCOeval_faster(dataset, dataset.loadRes(found), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # [IoUs, categories, sizes of objects, most boxes]: IoU 0.5, all sizes, 100 boxes; -1 is "none".
    recalls = evaluation.eval["recall"][0, :, 0, -1]
    known = recalls[recalls > -1]
    return Detection(
        map_50=max(0.0, float(evaluation.stats[_MAP_50])),
        map_50_95=max(0.0, float(evaluation.stats[_MAP])),
        recall_50=float(known.mean()) if known.size else 0.0,
        recall_50_95=max(0.0, float(evaluation.stats[_RECALL])),
    )


def _truth(
    images: Sequence[SeenImage], category_ids: dict[str, int], labelled: bool
) -> dict[str, Any]:
    annotations = [
        {**entry, "iscrowd": crowd}
        for image_id, image in enumerate(images, start=1)
        for crowd, regions in enumerate((image.true, image.ignored))
        for region in regions
        if (entry := _entry(region, image_id, category_ids, labelled)) is not None
    ]
    return {
        "images": [
            {"id": number, "width": image.size.width_px, "height": image.size.height_px}
            for number, image in enumerate(images, start=1)
        ],
        "annotations": [{"id": number, **one} for number, one in enumerate(annotations, start=1)],
        "categories": [{"id": number, "name": name} for name, number in category_ids.items()],
    }


def _entry(
    region: Region, image_id: int, category_ids: dict[str, int], labelled: bool
) -> dict[str, Any] | None:
    """Return COCO's form of a region, or None where the truth does not know its category."""
    category_id = category_ids.get(_name(region, labelled))
    if category_id is None:
        return None
    box = bounding_box(region.shape)
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": _sides(box),
        "area": area(box),
    }


def _name(region: Region, labelled: bool) -> str:
    return plain(region.label) if labelled else "object"


def _sides(box: Box) -> list[float]:
    return [box.x0, box.y0, max(0.0, box.x1 - box.x0), max(0.0, box.y1 - box.y0)]
