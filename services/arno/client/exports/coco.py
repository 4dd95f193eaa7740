"""COCO: images, annotations and categories as one document.

Source: https://cocodataset.org/#format-data. `score` is an extra field, which readers of ground
truth ignore and readers of results need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from arno.client.exports.selection import ClassNames, Found, flat, found_in, outlines, size_of
from arno.vocabulary import area
from arno.vocabulary.results import InferResult


def to_coco(
    result: InferResult,
    task: int | str | None = None,
    *,
    file_name: str = "",
    image_id: int = 1,
    classes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the regions as a COCO document of one image.

    Args:
        result: The result.
        task: A task of it; None takes all.
        file_name: The image's name in the document; empty takes that of the file that was sent.
        image_id: Its number.
        classes: Names of the categories, numbered from 1 in this order; other labels are left out.
            None makes them of the labels, in the order of the alphabet.

    Raises:
        KeyError: There is no such task.
        ArnoError: The named task has no answer, or the size of the image is not known.
    """
    found = found_in(result, task)
    names = ClassNames(classes, (one.region.label for one in found))
    return {
        "images": [coco_image(result, file_name or result.file_name, image_id)],
        "annotations": list(coco_annotations(found, names, image_id=image_id, first_id=1)),
        "categories": coco_categories(names),
    }


def coco_image(result: InferResult, file_name: str, image_id: int) -> dict[str, Any]:
    """Return the entry of an image.

    Raises:
        InvalidFieldError: The size of the image is not known.
    """
    size = size_of(result)
    return {
        "id": image_id,
        "file_name": file_name,
        "width": size.width_px,
        "height": size.height_px,
    }


def coco_annotations(
    found: Sequence[Found], names: ClassNames, *, image_id: int, first_id: int
) -> Iterator[dict[str, Any]]:
    """Yield an annotation for each region whose label is a category, numbered from `first_id`."""
    for one in found:
        category = names.number(one.region.label)
        if category is None:
            continue
        box = one.box
        parts = outlines(one.region.shape)
        entry: dict[str, Any] = {
            "id": first_id,
            "image_id": image_id,
            "category_id": category + 1,
            "bbox": [box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0],
            "area": area(one.region.shape if parts else box),
            "iscrowd": 0,
        }
        if parts:
            entry["segmentation"] = [flat(part) for part in parts]
        if one.region.score is not None:
            entry["score"] = one.region.score
        yield entry
        first_id += 1


def coco_categories(names: ClassNames) -> list[dict[str, Any]]:
    """Return the entries of the categories, from 1."""
    return [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
