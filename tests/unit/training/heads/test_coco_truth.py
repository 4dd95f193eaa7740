"""COCO's instances as truth: what is read, and what a broken file is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arno.engine.heads.description import HeadKind
from arno.engine.heads.segmentation import IGNORED
from arno.errors import InvalidFieldError
from arno.training.heads.coco_truth import CocoTruth
from PIL import Image

SQUARE = [2, 3, 8, 3, 8, 9, 2, 9]
WHOLE: dict[str, Any] = {
    "id": 1,
    "image_id": 1,
    "category_id": 7,
    "bbox": [2, 3, 6, 6],
    "segmentation": [SQUARE],
}


def write(folder: Path, *annotations: dict[str, Any], **fields: Any) -> Path:
    Image.new("RGB", (20, 16)).save(folder / "a.png")
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 16}],
        "categories": [{"id": 7, "name": "cup"}, {"id": 9, "name": "hat"}],
        "annotations": list(annotations),
        **fields,
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(document))
    return path


def read(folder: Path, *annotations: dict[str, Any], kind: HeadKind = HeadKind.DETECTION) -> Any:
    return CocoTruth(kind, write(folder, *annotations), folder)[0]


def test_object_has_its_box_its_mask_and_the_place_of_its_category(tmp_path):
    (one,) = read(tmp_path, {**WHOLE, "category_id": 9}).objects
    assert (one.category, one.crowd) == (1, False)
    assert (one.box.x0, one.box.y0, one.box.x1, one.box.y1) == (2, 3, 8, 9)
    assert one.mask.shape == (16, 20)
    assert one.mask[3:9, 2:8].all()
    assert one.mask.sum() == 36


def test_run_lengths_are_read_column_by_column(tmp_path):
    runs = [16 * 2 + 3, 4, 16 * 17 + 9]
    (one,) = read(tmp_path, {**WHOLE, "segmentation": {"size": [16, 20], "counts": runs}}).objects
    assert np.argwhere(one.mask).tolist() == [[3, 2], [4, 2], [5, 2], [6, 2]]


def test_small_object_lies_before_the_large_one_that_holds_it(tmp_path):
    large = {**WHOLE, "category_id": 9, "bbox": [0, 0, 20, 16]}
    large["segmentation"] = [[0, 0, 20, 0, 20, 16, 0, 16]]
    labels = read(tmp_path, WHOLE, large, kind=HeadKind.SEGMENTATION).labels
    assert (labels[5, 5], labels[0, 0]) == (1, 2)


def test_pixels_of_a_crowd_are_not_learned(tmp_path):
    labels = read(tmp_path, {**WHOLE, "iscrowd": 1}, kind=HeadKind.SEGMENTATION).labels
    assert (labels[5, 5], labels[0, 0]) == (IGNORED, 0)


def test_file_of_boxes_alone_makes_a_detector_without_masks(tmp_path):
    box = {name: value for name, value in WHOLE.items() if name != "segmentation"}
    source = CocoTruth(HeadKind.DETECTION, write(tmp_path, box), tmp_path)
    assert not source.has_masks
    assert source[0].objects[0].mask is None
    with pytest.raises(InvalidFieldError, match="segmentation needs masks"):
        CocoTruth(HeadKind.SEGMENTATION, write(tmp_path, box), tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category_id": 8}, r"annotations\[0\].category_id: no such category.*7, 9.*sent: 8"),
        ({"segmentation": []}, r"annotations\[0\].segmentation: empty"),
        ({"segmentation": [[1, 2, 3]]}, r"segmentation\[0\]: not a list of x, y"),
        (
            {"segmentation": [[2, 3, 8, 3, 8, 40]]},
            r"segmentation\[0\]\[5\]: the mask is not inside the image.*20, 16.*sent: 40",
        ),
        (
            {"segmentation": {"size": [20, 16], "counts": [320]}},
            r"segmentation.size: not that of the image.*\[16, 20\].*\[20, 16\]",
        ),
        ({"segmentation": {"size": [16, 20], "counts": [5]}}, r"do not sum up to the pixels"),
        ({"segmentation": {"size": [16, 20], "counts": [320]}}, r"there is no area in it"),
        ({"bbox": [2, 3, 0, 6]}, r"annotations\[0\].bbox: empty or inverted"),
        ({"bbox": [2, 3, 30, 6]}, r"annotations\[0\].bbox: not inside the image.*20, 16.*32"),
        ({"bbox": "all"}, r"bbox: not four numbers"),
    ],
)
def test_broken_annotation_is_named_with_its_limit(tmp_path, change, message):
    with pytest.raises(InvalidFieldError, match=message):
        read(tmp_path, {**WHOLE, **change})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"annotations": []}, "annotations: there is none to learn from"),
        ({"categories": []}, "categories: each needs an id and a name"),
        ({"annotations": [{"image_id": 1, "caption": "a cup"}]}, "these are captions"),
    ],
)
def test_file_that_teaches_nothing_is_refused(tmp_path, fields, message):
    with pytest.raises(InvalidFieldError, match=message):
        CocoTruth(HeadKind.DETECTION, write(tmp_path, WHOLE, **fields), tmp_path)
