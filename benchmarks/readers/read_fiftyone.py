"""Read exports by FiftyOne's own importers; run by the Python that has FiftyOne.

Its importers need no database, which FiftyOne would start otherwise.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"FIFTYONE_DISABLE_SERVICES": "1", "FIFTYONE_DO_NOT_TRACK": "1"}

import fiftyone.utils.data.importers as own
from fiftyone.utils import coco, cvat, yolo


def boxes(importer: Any) -> list[list[Any]]:
    """Return name, label, box in parts of the image, and doubt of each detection."""
    found = []
    with importer:
        for path, _, label in importer:
            detections = label["detections"] if isinstance(label, dict) else label
            for one in detections.detections:
                doubt = one["doubt"] if one.has_field("doubt") else ""
                sides = [round(side, 2) for side in one.bounding_box]
                found.append([Path(path).name, one.label, sides, doubt])
    return sorted(found, key=json.dumps)


def main(folder: str, images: str) -> None:
    """Print what the importers read as JSON."""
    importers = {
        "fiftyone": own.FiftyOneImageDetectionDatasetImporter(
            labels_path=f"{folder}/fiftyone/labels.json", data_path=f"{folder}/fiftyone/data.json"
        ),
        "yolo": yolo.YOLOv5DatasetImporter(
            dataset_dir=f"{folder}/yolo", yaml_path="data.yaml", split="train"
        ),
        "coco": coco.COCODetectionDatasetImporter(
            data_path=images, labels_path=f"{folder}/coco/instances.json"
        ),
        "cvat": cvat.CVATImageDatasetImporter(
            data_path=images, labels_path=f"{folder}/cvat/annotations.xml"
        ),
    }
    sys.stdout.write(json.dumps({name: boxes(one) for name, one in importers.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
