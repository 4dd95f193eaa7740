"""FiftyOne: a folder of a FiftyOneImageDetectionDataset, or its labels.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from arno.data_engine.imports.images import ForeignImage, ForeignRegion
from arno.dataset import RegionKind
from arno.errors import InvalidFieldError


def read_fiftyone(path: Path, images: Path | None) -> Iterator[ForeignImage]:
    """Yield the images of an export; what a model found overlooked, unless its doubt was removed.

    Raises:
        InvalidFieldError: It is no such export.
    """
    file = path / "labels.json" if path.is_dir() else path
    try:
        labels = json.loads(file.read_bytes())["labels"]
        manifest = file.with_name("data.json")
        named = json.loads(manifest.read_bytes()) if manifest.exists() else {}
        for name, detections in labels.items():
            yield _image(_path(name, named, file.parent, images), detections or ())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"no FiftyOneImageDetectionDataset: {type(error).__name__}: {error}"
        raise InvalidFieldError(field=str(file), problem=problem) from error


def _image(path: Path, detections: Sequence[Mapping[str, Any]]) -> ForeignImage:
    regions, image_id = [], ""
    for one in detections:
        facts = one.get("attributes") or {}
        image_id = image_id or str(facts.get("image_id", ""))
        if facts.get("doubt") == "overlooked":
            continue  # it was not accepted
        x, y, width, height = one["bounding_box"]
        kind = facts.get("kind", "category")
        regions.append(
            ForeignRegion(
                str(one["label"]),
                {"box": (x, y, x + width, y + height)},
                kind=kind if kind in set(RegionKind) else "category",
                score=one.get("confidence"),
                shares=True,
            )
        )
    return ForeignImage(path, image_id, regions)


def _path(name: str, named: Mapping[str, str], folder: Path, images: Path | None) -> Path:
    written = named.get(name)
    if written is not None or Path(name).is_absolute():
        path = Path(written or name)
        return path if path.is_absolute() else (images or folder) / path
    root = images or folder / "data"
    found = sorted(root.glob(f"{name}.*"))
    return found[0] if found else root / name
