"""YOLO: data.yaml, or the folder that it is in, with boxes or outlines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from arno.data_engine.imports.images import ForeignImage, ForeignRegion
from arno.errors import InvalidFieldError

_PARTS: Final = ("train", "val", "test")
_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
_BOX_NUMBERS: Final = 4


def read_yolo(path: Path, images: Path | None) -> Iterator[ForeignImage]:
    """Yield the images of all parts.

    Raises:
        InvalidFieldError: It is no data of YOLO.
    """
    file = path / "data.yaml" if path.is_dir() else path
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        names = document["names"]
        named = dict(enumerate(names)) if isinstance(names, list) else dict(names)
        root = images or file.parent / str(document.get("path") or "")
        found = dict.fromkeys(
            image for part in _PARTS for image in _images(root, document.get(part))
        )
        for image in found:
            yield ForeignImage(image, regions=[*_regions(_labels(image), named)])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"no data of YOLO: {type(error).__name__}: {error}"
        raise InvalidFieldError(field=str(file), problem=problem) from error


def _images(root: Path, part: Any) -> Iterator[Path]:
    """Yield the images of a part: folders, or files with a name a line."""
    for name in part if isinstance(part, list) else [part] if part else []:
        place = root / str(name)
        if place.is_dir():
            yield from sorted(one for one in place.rglob("*") if one.suffix.lower() in _SUFFIXES)
            continue
        for line in place.read_text(encoding="utf-8").splitlines():
            if line.strip():
                yield place.parent / line.strip()


def _labels(image: Path) -> Path:
    """Return the file of an image's labels: `images` in its path becomes `labels`."""
    parts = list(image.parts)
    for at in reversed(range(len(parts) - 1)):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _regions(path: Path, names: Mapping[int, str]) -> Iterator[ForeignRegion]:
    if not path.exists():
        return  # an image without anything
    for line in path.read_text(encoding="utf-8").splitlines():
        number, *rest = line.split()
        numbers = tuple(map(float, rest))
        label = str(names[int(float(number))])
        if len(numbers) <= _BOX_NUMBERS + 1:  # the fifth is a score
            x, y, width, height = numbers[:_BOX_NUMBERS]
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            score = numbers[_BOX_NUMBERS] if len(numbers) > _BOX_NUMBERS else None
            yield ForeignRegion(label, {"box": box}, score=score, shares=True)
        else:
            yield ForeignRegion(label, {"polygons": (numbers,)}, shares=True)
