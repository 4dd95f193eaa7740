"""COCO: instances.json and captions.json."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from arno.data_engine.exports.documents import category_names, write_json
from arno.dataset import Dataset, RegionKind, RegionText


def write_coco(dataset: Dataset, out: Path) -> Counter[str]:
    """Write instances.json (categories with boxes and outlines) and captions.json."""
    numbers = {name: at for at, name in enumerate(category_names(dataset), 1)}
    images: list[dict[str, Any]] = []
    instances: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for image_id, record in enumerate(dataset, 1):
        images.append(
            {
                "id": image_id,
                "file_name": record.file,
                "width": record.width_px,
                "height": record.height_px,
            }
        )
        for region in record.regions:
            if region.kind is RegionKind.CATEGORY:
                entry = {"id": len(instances) + 1, "image_id": image_id}
                instances.append({**entry, **_instance(region, numbers[region.text])})
            else:
                counts[f"left out: {region.kind} regions"] += 1
        for text in record.texts:
            caption = {"caption": text.text, "granularity": str(text.granularity)}
            captions.append({"id": len(captions) + 1, "image_id": image_id, **caption})
        counts["left out: triplets"] += len(record.triplets)
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    whole = {"images": images, "annotations": instances, "categories": categories}
    write_json(out / "instances.json", whole)
    write_json(out / "captions.json", {"images": images, "annotations": captions})
    counts.update({"regions": len(instances), "texts": len(captions)})
    return counts


def _instance(region: RegionText, category_id: int) -> dict[str, Any]:
    x0, y0, x1, y1 = region.bounds
    entry: dict[str, Any] = {
        "category_id": category_id,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "segmentation": [list(outline) for outline in region.polygons or ()],
    }
    if region.provenance.score is not None:
        entry["score"] = region.provenance.score
    return entry
