"""COCO's JSON becomes samples of the tasks that its annotations answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arno.errors import InvalidFieldError
from arno.training.data import Sample, open_data
from arno.vocabulary import (
    Box,
    DetectionAnswer,
    GroundingAnswer,
    SegmentationAnswer,
    Task,
    TextAnswer,
    area,
)
from faster_coco_eval.core import mask as run_lengths
from PIL import Image

WIDTH, HEIGHT = 100, 80
SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


def disc() -> np.ndarray:
    """A disc of radius 30 with a hole of 40 pixels."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    mask = ((y - 40) ** 2 + (x - 50) ** 2 < 30**2).astype(np.uint8)
    mask[38:42, 45:55] = 0
    return mask


def compressed(mask: np.ndarray) -> dict[str, Any]:
    found = run_lengths.encode(np.asfortranarray(mask))
    counts = found["counts"]
    return {
        "size": [HEIGHT, WIDTH],
        "counts": counts.decode() if isinstance(counts, bytes) else counts,
    }


def counted(mask: np.ndarray) -> dict[str, Any]:
    flat = np.concatenate([[0], mask.flatten(order="F"), [2]])
    edges = np.flatnonzero(np.diff(flat))
    return {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *edges]).tolist()}


def annotation(number: int, **changes: object) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": 1,
        "category_id": 7,
        "bbox": [10, 10, 20, 20],
        "segmentation": SQUARE,
        "iscrowd": 0,
        **changes,
    }


def opened(folder: Path, annotations: list[dict[str, Any]], tasks: str = "", **image: object):
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "a.png")
    entry = {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT, **image}
    document = {
        "images": [entry],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": annotations,
    }
    (folder / "coco.json").write_text(json.dumps(document))
    return open_data(f"coco:{folder}/coco.json" + (f",tasks={tasks}" if tasks else ""))


def only(source) -> Sample:
    (sample,) = source
    return sample


def test_instances_are_detections_from_left_to_right_without_crowds(tmp_path):
    right = annotation(1, bbox=[50, 0, 20, 20], category_id=9)
    crowd = annotation(3, iscrowd=1)
    sample = only(opened(tmp_path, [right, annotation(2), crowd]))
    assert sample.spec.task is Task.OD
    assert isinstance(sample.answer, DetectionAnswer)
    assert [(region.label, region.shape) for region in sample.answer.regions] == [
        ("cat", Box(10, 10, 30, 30)),
        ("dog", Box(50, 0, 70, 20)),
    ]


def test_crowds_stand_beside_the_answer_of_their_category(tmp_path):
    crowds = [annotation(2, iscrowd=1), annotation(3, iscrowd=1, category_id=9)]
    tasks = "OD+OPEN_VOCABULARY_DETECTION+REGION_TO_CATEGORY"
    whole, named, region = opened(tmp_path, [annotation(1), *crowds], tasks)
    assert [one.label for one in whole.ignored] == ["cat", "dog"]
    assert [one.label for one in named.ignored] == ["cat"]
    assert region.ignored == ()


def test_image_without_objects_is_a_detection_of_nothing(tmp_path):
    assert only(opened(tmp_path, [])).answer == DetectionAnswer(())


def test_instances_answer_questions_about_regions_and_names(tmp_path):
    dog = annotation(2, category_id=9)
    tasks = "REGION_TO_CATEGORY+OPEN_VOCABULARY_DETECTION+CAPTION_TO_PHRASE_GROUNDING"
    samples = list(opened(tmp_path, [annotation(1), dog], tasks))
    asked = [(str(s.spec.task), s.spec.text or s.spec.classes) for s in samples]
    assert asked == [
        ("REGION_TO_CATEGORY", ()),
        ("REGION_TO_CATEGORY", ()),
        ("OPEN_VOCABULARY_DETECTION", "cat"),
        ("OPEN_VOCABULARY_DETECTION", "dog"),
        ("CAPTION_TO_PHRASE_GROUNDING", ("cat", "dog")),
    ]
    assert samples[0].answer == TextAnswer("cat")
    assert samples[0].spec.region == Box(10, 10, 30, 30)
    assert isinstance(samples[-1].answer, GroundingAnswer)


@pytest.mark.parametrize("write", [compressed, counted])
def test_run_lengths_are_traced_to_an_outline_without_the_hole(tmp_path, write):
    mask = disc()
    found = annotation(1, segmentation=write(mask), bbox=[20, 10, 60, 60])
    sample = only(opened(tmp_path, [found], "REGION_TO_SEGMENTATION"))
    assert isinstance(sample.answer, SegmentationAnswer)
    (region,) = sample.answer.regions
    assert isinstance(region.shape, tuple)
    assert len(region.shape) == 1
    assert area(region.shape) == pytest.approx(mask.sum() + 40, rel=0.02)
    assert len(region.shape[0].points) < 40


def test_points_on_a_line_are_left_out_of_an_outline(tmp_path):
    dense = [[10, 10, 20, 10, 30, 10, 30, 30, 10, 30]]
    sample = only(opened(tmp_path, [annotation(1, segmentation=dense)], "REGION_TO_SEGMENTATION"))
    assert isinstance(sample.answer, SegmentationAnswer)
    (region,) = sample.answer.regions
    assert isinstance(region.shape, tuple)
    assert len(region.shape[0].points) == 4


def test_captions_are_samples_of_the_caption_task_asked_for(tmp_path):
    captions = [{"id": n, "image_id": 1, "caption": f"A cat {n}."} for n in (1, 2)]
    samples = list(opened(tmp_path, captions, "DETAILED_CAPTION"))
    assert [s.answer for s in samples] == [TextAnswer("A cat 1."), TextAnswer("A cat 2.")]
    assert {s.spec.task for s in samples} == {Task.DETAILED_CAPTION}


@pytest.mark.parametrize(
    ("changes", "tasks", "field"),
    [
        ({"bbox": [90, 0, 50, 10]}, "OD", "annotations[0].bbox"),
        ({"bbox": [5, 5, 0, 10]}, "OD", "annotations[0].bbox"),
        ({"bbox": [5, 5]}, "OD", "annotations[0].bbox"),
        ({"category_id": 8}, "OD", "annotations[0].category_id"),
        ({"image_id": 5}, "OD", "annotations[0].image_id"),
        ({"segmentation": []}, "REGION_TO_SEGMENTATION", "annotations[0].segmentation"),
        ({"segmentation": [[1, 2, 3]]}, "REGION_TO_SEGMENTATION", "annotations[0].segmentation"),
        (
            {"segmentation": {"size": [3, 3], "counts": [9]}},
            "REGION_TO_SEGMENTATION",
            "annotations[0].segmentation.size",
        ),
        (
            {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [9, 9999999]}},
            "REGION_TO_SEGMENTATION",
            "annotations[0].segmentation.counts",
        ),
    ],
)
def test_broken_annotation_names_file_and_field(tmp_path, changes, tasks, field):
    source = opened(tmp_path, [annotation(1, **changes)], tasks)
    with pytest.raises(InvalidFieldError) as caught:
        list(source)
    assert caught.value.field == f"{tmp_path}/coco.json: {field}"


@pytest.mark.parametrize(
    ("image", "field"),
    [
        ({"file_name": "b.png"}, "images[0].file_name"),
        ({"file_name": None}, "images[0].file_name"),
        ({"width": 50}, "images[0].width, height"),
    ],
)
def test_broken_image_names_file_and_field(tmp_path, image, field):
    with pytest.raises(InvalidFieldError) as caught:
        list(opened(tmp_path, [annotation(1)], **image))
    assert caught.value.field.startswith(f"{tmp_path}/coco.json: {field}")


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"images": 3}', '{"images": [], "annotations": []}']
)
def test_file_that_is_not_coco_is_refused_at_once(tmp_path, content):
    (tmp_path / "coco.json").write_text(content)
    with pytest.raises(InvalidFieldError, match=r"coco\.json"):
        open_data(f"coco:{tmp_path}/coco.json")


@pytest.mark.parametrize(
    ("place", "changes"),
    [
        ("images[0].id", {"images": [{"id": [1], "file_name": "a.png"}]}),
        ("annotations[0].image_id", {"annotations": [annotation(1, image_id=[1])]}),
        ("annotations[0].category_id", {"annotations": [annotation(1, category_id={})]}),
        ("categories[0].id", {"categories": [{"id": [7], "name": "cat"}]}),
    ],
)
def test_id_by_which_nothing_can_be_found_is_named(tmp_path, place, changes):
    document = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], **changes}
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidFieldError) as caught:
        open_data(f"coco:{path}")
    assert place in caught.value.message
