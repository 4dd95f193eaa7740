"""Read a COCO file whole and sort its annotations by image."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arno.errors import InvalidFieldError


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One entry of ``images`` with the places of its annotations.

    Attributes:
        number: Its place in ``images``.
        entry: The entry.
        annotations: Places in ``annotations``, in the file's order.
    """

    number: int
    entry: dict[str, Any]
    annotations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CocoIndex:
    """A COCO file in memory.

    Attributes:
        path: The file.
        images: In the file's order.
        annotations: As they stand in the file.
        labels: Category names by id.
        strays: Places of annotations whose image does not exist.
        holds_captions: Whether the annotations are captions, not instances.
        digest: SHA-256 of the file.
    """

    path: Path
    images: tuple[CocoImage, ...]
    annotations: tuple[dict[str, Any], ...]
    labels: dict[int, str]
    strays: tuple[int, ...]
    holds_captions: bool
    digest: str

    def is_crowd(self, place: int) -> bool:
        """Whether the annotation of a place marks many objects as one."""
        return bool(self.annotations[place].get("iscrowd"))


def read_coco(path: Path) -> CocoIndex:
    """Read a COCO file; of its annotations only the ids are checked.

    Raises:
        InvalidFieldError: The file cannot be read, or is not in COCO's format.
    """
    try:
        content = path.read_bytes()
        document = json.loads(content)
    except OSError as fault:
        problem = f"cannot be read: {fault.strerror or fault}"
        raise InvalidFieldError(field=str(path), problem=problem) from fault
    except ValueError as fault:
        raise InvalidFieldError(field=str(path), problem=f"not JSON: {fault}") from fault
    images = _entries(document, "images", path)
    annotations = _entries(document, "annotations", path)
    if not images:
        raise InvalidFieldError(field=f"{path}: images", problem="there is none")
    _check_numbers(images, "images", ("id",), path)
    _check_numbers(annotations, "annotations", ("image_id", "category_id"), path)
    places: dict[Any, list[int]] = {entry.get("id"): [] for entry in images}
    strays: list[int] = []
    for place, annotation in enumerate(annotations):
        found = places.get(annotation.get("image_id"))
        (strays if found is None else found).append(place)
    return CocoIndex(
        path=path,
        images=tuple(
            CocoImage(number, entry, tuple(places[entry.get("id")]))
            for number, entry in enumerate(images)
        ),
        annotations=tuple(annotations),
        labels=_labels(document, path),
        strays=tuple(strays),
        holds_captions=any("caption" in annotation for annotation in annotations),
        digest=hashlib.sha256(content).hexdigest(),
    )


def _entries(document: Any, name: str, path: Path) -> list[dict[str, Any]]:
    entries = document.get(name) if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        problem = "needs a list of objects: this is not COCO's format"
        raise InvalidFieldError(field=f"{path}: {name}", problem=problem)
    return entries


def _check_numbers(
    entries: list[dict[str, Any]], name: str, fields: tuple[str, ...], path: Path
) -> None:
    """Refuse ids that are neither numbers nor names; absent ids are refused when needed."""
    for place, entry in enumerate(entries):
        for field in fields:
            if not isinstance(entry.get(field), int | float | str | None):
                raise InvalidFieldError(
                    field=f"{path}: {name}[{place}].{field}",
                    problem="neither a number nor a name",
                    sent=str(entry[field]),
                )


def _labels(document: dict[str, Any], path: Path) -> dict[int, str]:
    if "categories" not in document:
        return {}
    categories = _entries(document, "categories", path)
    _check_numbers(categories, "categories", ("id",), path)
    return {entry.get("id", -1): str(entry.get("name", "")) for entry in categories}
