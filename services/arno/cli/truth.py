"""Compare detections with the truth that stands beside example images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from arno.errors import InvalidFieldError
from arno.vocabulary import Box, Region, bounding_box, iou

TRUTH_FILE: Final = "truth.json"
IOU_MIN: Final = 0.5
"""Pascal VOC's rule for a box that counts as right."""


@dataclass(frozen=True, slots=True)
class TrueObject:
    """Something that is in the image, in pixels as a viewer shows it."""

    label: str
    box: Box


@dataclass(frozen=True, slots=True)
class Match:
    """How one image's detections compare.

    Attributes:
        object_count: Objects in the truth.
        found_count: Objects with a box of their label over them; each box counts once.
    """

    object_count: int
    found_count: int


def read_truth(folder: Path) -> Mapping[str, Sequence[TrueObject]]:
    """Return the true objects of each image by file name; nothing where there is no truth.

    Raises:
        InvalidFieldError: The file is not of the form that `arno.training examples` writes.
    """
    path = folder / TRUTH_FILE
    if not path.exists():
        return {}
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        return {
            image["file"]: [TrueObject(one["label"], Box(*one["box"])) for one in image["objects"]]
            for image in document["images"]
        }
    except (ValueError, KeyError, TypeError) as error:
        problem = f"cannot be read ({error!r})"
        raise InvalidFieldError(field=TRUTH_FILE, problem=problem, sent=str(path)) from error


def compare(objects: Sequence[TrueObject], regions: Sequence[Region]) -> Match:
    """Match detections with objects, best overlap first, one to one, labels equal."""
    pairs = sorted(
        (
            (iou(one.box, bounding_box(region.shape)), object_index, region_index)
            for object_index, one in enumerate(objects)
            for region_index, region in enumerate(regions)
            if region.shape and region.label.strip().lower() == one.label.strip().lower()
        ),
        reverse=True,
    )
    found: set[int] = set()
    used: set[int] = set()
    for overlap, object_index, region_index in pairs:
        if overlap >= IOU_MIN and object_index not in found and region_index not in used:
            found.add(object_index)
            used.add(region_index)
    return Match(len(objects), len(found))
