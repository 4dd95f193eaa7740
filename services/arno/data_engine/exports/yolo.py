"""YOLO: a file of boxes for each image, links to the images, and data.yaml."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from arno.data_engine.exports.documents import category_names
from arno.dataset import Dataset, ImageRecord, RegionKind


def write_yolo(dataset: Dataset, out: Path) -> Counter[str]:
    """Write `labels/`, `images/`, `images.txt` and `data.yaml`.

    Trainers of YOLO look for the labels of `images/a/b.jpg` in `labels/a/b.txt`, so the images are
    there as links.
    """
    numbers = {name: at for at, name in enumerate(category_names(dataset))}
    counts: Counter[str] = Counter()
    images = []
    for record in dataset:
        lines = []
        for region in record.regions:
            if region.kind is RegionKind.CATEGORY:
                lines.append(f"{numbers[region.text]} {_shares(record, region.bounds)}\n")
            else:
                counts[f"left out: {region.kind} regions"] += 1
        counts["left out: texts"] += len(record.texts)
        counts["left out: triplets"] += len(record.triplets)
        name = _name(record.file)
        path = out / "labels" / name.with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")
        _link(out / "images" / name, dataset.image_path(record).resolve())
        images.append(f"./images/{name.as_posix()}\n")
        counts["regions"] += len(lines)
    (out / "images.txt").write_text("".join(images), encoding="utf-8")
    names = "".join(f"  {at}: {json.dumps(name)}\n" for name, at in numbers.items())
    (out / "data.yaml").write_text(
        f"train: images.txt\nval: images.txt\nnames:\n{names}", encoding="utf-8"
    )
    return counts


def _name(file: str) -> Path:
    """Return the name of an image in the export.

    A file above the folder of the images is not written above that of the export, and a folder
    `images` has another name: trainers replace the last one of a path by `labels`.
    """
    parts = (part for part in Path(file).parts if part not in {"..", "/"})
    return Path(*("files" if part == "images" else part for part in parts))


def _shares(record: ImageRecord, bounds: tuple[float, float, float, float]) -> str:
    """Return the middle and the sides of a box as parts of the image."""
    x0, y0, x1, y1 = bounds
    width, height = record.width_px, record.height_px
    middle = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height
    sides = (x1 - x0) / width, (y1 - y0) / height
    return " ".join(f"{value:.6f}" for value in (*middle, *sides))


def _link(link: Path, image: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(image)
