"""FiftyOne: labels.json of a FiftyOneImageDetectionDataset, its images where they are.

fiftyone.Dataset.from_dir(labels_path="DIR/labels.json", data_path="DIR/data.json",
    dataset_type=fiftyone.types.FiftyOneImageDetectionDataset)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arno.data_engine.doubts import OVERLOOKED, Doubt, doubts_by_image
from arno.data_engine.exports.documents import write_json
from arno.dataset import Dataset, ImageRecord, RegionText


def write_fiftyone(dataset: Dataset, out: Path) -> Counter[str]:
    """Write labels.json and data.json.

    A detection has the attributes `image_id` and `kind`; where there is a work list of doubts, also
    `doubt`, what may be wrong, and `doubt_score`. What a model finds overlooked is a detection too.
    """
    counts: Counter[str] = Counter()
    doubts = doubts_by_image(dataset.folder)
    labels: dict[str, list[dict[str, Any]]] = {}
    names: dict[str, None] = {}
    for record in dataset:
        detections = []
        mine = doubts.get(record.image_id, ())
        worst = _worst(mine)
        for region in record.regions:
            if region.text:
                facts = {"kind": str(region.kind), **worst.get((region.text, region.bounds), {})}
                detections.append(_region(record, region, facts))
        counts["regions"] += len(detections)
        counts["left out: proposal regions"] += len(record.regions) - len(detections)
        counts["left out: texts"] += len(record.texts)
        counts["left out: triplets"] += len(record.triplets)
        detections += [_overlooked(record, one) for one in mine if one.kind == OVERLOOKED]
        names.update(dict.fromkeys(one["label"] for one in detections))
        labels[str(dataset.image_path(record).resolve())] = detections
    write_json(out / "labels.json", {"classes": sorted(names), "labels": labels})
    write_json(out / "data.json", {path: path for path in labels})
    return counts


def _region(record: ImageRecord, region: RegionText, facts: Mapping[str, Any]) -> dict[str, Any]:
    detection = _detection(record, region.text, region.bounds, facts)
    if region.provenance.score is not None:
        detection["confidence"] = region.provenance.score
    return detection


def _overlooked(record: ImageRecord, doubt: Doubt) -> dict[str, Any]:
    facts = {"kind": "category", "doubt": doubt.kind, "doubt_score": doubt.score}
    return _detection(record, doubt.text, doubt.box, facts)


def _detection(
    record: ImageRecord,
    label: str,
    box: tuple[float, float, float, float],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    width, height = record.width_px, record.height_px
    return {
        "label": label,
        "bounding_box": [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
        "attributes": {"image_id": record.image_id, **facts},
    }


def _worst(doubts: Sequence[Doubt]) -> dict[tuple[str, tuple[float, ...]], dict[str, Any]]:
    """Return the likeliest doubt about each label, by its text and box."""
    found: dict[tuple[str, tuple[float, ...]], dict[str, Any]] = {}
    for one in sorted(doubts, key=lambda doubt: -doubt.score):
        found[one.text, one.box] = {"doubt": one.kind, "doubt_score": one.score}
    return found
