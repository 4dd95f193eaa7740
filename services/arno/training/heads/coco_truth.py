"""COCO's instances as the truth of heads: boxes and masks, or the category of each pixel."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from faster_coco_eval.core import mask as run_lengths

from arno.engine.heads.description import BACKGROUND, HeadKind
from arno.engine.heads.segmentation import IGNORED
from arno.errors import InvalidFieldError
from arno.training.data.coco_index import CocoImage, read_coco
from arno.training.data.image_files import ImageFile
from arno.training.heads.truth import (
    CATEGORIES_MAX,
    LabelMap,
    Mask,
    TrueImage,
    TrueObject,
    TruthSource,
)
from arno.vocabulary import Box, ImageSize

_SLACK_PX: Final = 1.0
"""Annotation tools round: a corner may lie this far outside."""
_LEAST_POLYGON: Final = 6


class CocoTruth(TruthSource):
    """The images of a COCO file."""

    def __init__(self, kind: HeadKind, path: Path, images: Path) -> None:
        """Read the file.

        Args:
            kind: Which kind of truth to make of it.
            path: The JSON.
            images: The folder of the images.

        Raises:
            InvalidFieldError: The file is not in COCO's format, has no categories, or nothing to
                learn from.
        """
        self._kind, self._images = kind, images
        self._index = read_coco(path)
        if self._index.holds_captions:
            raise InvalidFieldError(
                field=f"{path}: annotations",
                problem="a head needs instances, and these are captions",
            )
        if not self._index.annotations:
            raise InvalidFieldError(
                field=f"{path}: annotations", problem="there is none to learn from"
            )
        labels = self._index.labels
        if not labels or not all(labels.values()):
            raise InvalidFieldError(
                field=f"{path}: categories", problem="each needs an id and a name"
            )
        self._places = {number: place for place, number in enumerate(labels)}
        self.has_masks = any("segmentation" in one for one in self._index.annotations)
        self.categories = tuple(labels.values())
        if kind is HeadKind.SEGMENTATION:
            self._check_for_pixels()
            self.categories = (BACKGROUND, *self.categories)
        self.digest = hashlib.sha256(f"{kind} {self._index.digest}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._index.images)

    def __getitem__(self, index: int) -> TrueImage:
        image = self._index.images[index]
        name = image.entry.get("file_name")
        place = f"{self._index.path}: images[{index}]"
        if not isinstance(name, str) or not name:
            raise InvalidFieldError(field=f"{place}.file_name", problem="missing")
        picture = ImageFile(
            self._images / name, str(self._index.path), f"images[{index}].file_name"
        )()
        size = ImageSize(picture.width, picture.height)
        said = (image.entry.get("width", size.width_px), image.entry.get("height", size.height_px))
        if said != (size.width_px, size.height_px):
            raise InvalidFieldError(
                field=f"{place}.width, height",
                problem="the image has another size",
                limit=f"{size.width_px}, {size.height_px}",
                sent=f"{said[0]}, {said[1]}",
            )
        objects = self._objects(image, size)
        if self._kind is HeadKind.DETECTION:
            return TrueImage(name, picture, objects=objects)
        return TrueImage(name, picture, labels=_painted(objects, size))

    def _check_for_pixels(self) -> None:
        path = self._index.path
        if not self.has_masks:
            raise InvalidFieldError(
                field=f"{path}: annotations",
                problem="segmentation needs masks, and no annotation has one",
            )
        if len(self.categories) >= CATEGORIES_MAX:
            raise InvalidFieldError(
                field=f"{path}: categories",
                problem="too many for segmentation",
                limit=f"fewer than {CATEGORIES_MAX}",
                sent=str(len(self.categories)),
            )

    def _objects(self, image: CocoImage, size: ImageSize) -> tuple[TrueObject, ...]:
        found = []
        for place in image.annotations:
            annotation = self._index.annotations[place]
            field = f"{self._index.path}: annotations[{place}]"
            category = self._places.get(annotation.get("category_id", -1))
            if category is None:
                raise InvalidFieldError(
                    field=f"{field}.category_id",
                    problem="no such category",
                    limit=", ".join(map(str, self._places)),
                    sent=str(annotation.get("category_id")),
                )
            mask = self._mask(annotation, size, field)
            box = _box(annotation, mask, size, field)
            found.append(TrueObject(category, box, mask, self._index.is_crowd(place)))
        return tuple(found)

    def _mask(self, annotation: dict[str, Any], size: ImageSize, field: str) -> Mask | None:
        if not self.has_masks:
            return None
        field = f"{field}.segmentation"
        if "segmentation" not in annotation:
            problem = "missing, and other annotations of the file have one"
            raise InvalidFieldError(field=field, problem=problem)
        return read_mask(annotation["segmentation"], size, field)


def read_mask(segmentation: Any, size: ImageSize, field: str) -> Mask:
    """Return COCO's polygons or run lengths as a mask [H, W].

    Raises:
        InvalidFieldError: They are neither, lie outside the image, or hold no pixel.
    """
    if isinstance(segmentation, dict):
        coded = [_checked_run_lengths(segmentation, size, field)]
    else:
        paths = _checked_polygons(segmentation, size, field)
        coded = run_lengths.frPyObjects(paths, size.height_px, size.width_px)
    mask: Mask = np.asarray(run_lengths.decode(run_lengths.merge(coded)), dtype=np.bool_)
    if not mask.any():
        raise InvalidFieldError(field=field, problem="there is no area in it")
    return mask


def _checked_run_lengths(coded: dict[str, Any], size: ImageSize, field: str) -> dict[str, Any]:
    sides = [size.height_px, size.width_px]
    if list(coded.get("size", ())) != sides:
        raise InvalidFieldError(
            field=f"{field}.size",
            problem="not that of the image",
            limit=str(sides),
            sent=str(coded.get("size")),
        )
    counts = coded.get("counts")
    if isinstance(counts, list):
        # The library writes past its buffer where the runs are longer than the mask.
        if not all(isinstance(one, int) and one >= 0 for one in counts) or sum(counts) != (
            size.width_px * size.height_px
        ):
            raise InvalidFieldError(
                field=f"{field}.counts", problem="they do not sum up to the pixels of the image"
            )
        found: dict[str, Any] = run_lengths.frPyObjects(coded, *sides)
        return found
    if not isinstance(counts, str | bytes) or not counts:
        raise InvalidFieldError(field=f"{field}.counts", problem="neither a list nor a text")
    return coded


def _checked_polygons(segmentation: Any, size: ImageSize, field: str) -> list[list[float]]:
    if not isinstance(segmentation, list) or not segmentation:
        problem = "empty: it needs polygons or run lengths"
        raise InvalidFieldError(field=field, problem=problem)
    limits = (size.width_px + _SLACK_PX, size.height_px + _SLACK_PX)
    for number, path in enumerate(segmentation):
        place = f"{field}[{number}]"
        if (
            not isinstance(path, list)
            or len(path) < _LEAST_POLYGON
            or len(path) % 2
            or not all(isinstance(one, int | float) and math.isfinite(one) for one in path)
        ):
            problem = "not a list of x, y, x, y, .. of three points or more"
            raise InvalidFieldError(field=place, problem=problem)
        for position, value in enumerate(path):
            if not -_SLACK_PX <= value <= limits[position % 2]:
                raise InvalidFieldError(
                    field=f"{place}[{position}]",
                    problem="the mask is not inside the image",
                    limit=f"0, 0, {size.width_px}, {size.height_px}",
                    sent=f"{value:g}",
                )
    return [[float(one) for one in path] for path in segmentation]


def _box(annotation: dict[str, Any], mask: Mask | None, size: ImageSize, field: str) -> Box:
    """Return an annotation's box; of a mask without one, the box around the mask."""
    given = annotation.get("bbox")
    if given is None and mask is not None:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    field = f"{field}.bbox"
    if (
        not isinstance(given, list)
        or len(given) != 4
        or not all(isinstance(one, int | float) and math.isfinite(one) for one in given)
    ):
        problem = "not four numbers: x, y, width, height"
        raise InvalidFieldError(field=field, problem=problem, sent=str(given))
    x, y, width, height = given
    if width <= 0 or height <= 0:
        raise InvalidFieldError(field=field, problem="empty or inverted", sent=str(given))
    if (
        min(x, y) < -_SLACK_PX
        or x + width > size.width_px + _SLACK_PX
        or y + height > size.height_px + _SLACK_PX
    ):
        raise InvalidFieldError(
            field=field,
            problem="not inside the image",
            limit=f"0, 0, {size.width_px}, {size.height_px}",
            sent=f"{x:g}, {y:g}, {x + width:g}, {y + height:g}",
        )
    return Box(
        max(0.0, float(x)),
        max(0.0, float(y)),
        min(float(size.width_px), float(x + width)),
        min(float(size.height_px), float(y + height)),
    )


def _painted(objects: tuple[TrueObject, ...], size: ImageSize) -> LabelMap:
    """Return the category of each pixel; small objects lie before large ones, crowds count not."""
    labels = np.zeros((size.height_px, size.width_px), dtype=np.uint8)
    masked = [(one, one.mask) for one in objects if one.mask is not None]
    for one, mask in sorted(masked, key=lambda pair: -int(pair[1].sum())):
        labels[mask] = IGNORED if one.crowd else one.category + 1
    return labels
