"""What a head answers to which task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from arno.engine.checkpoints.config import PixelRecipe
from arno.engine.heads.answers import answer
from arno.engine.heads.description import HeadDescription, HeadKind, is_head, read_description
from arno.engine.heads.findings import FoundObject, FoundPixels
from arno.errors import InvalidFieldError, ModelError
from arno.vocabulary import Box, ImageSize, Task, build_prompt
from arno.vocabulary.regions import bounding_box
from PIL import Image

SIZE = ImageSize(32, 16)
DETECTOR = HeadDescription(
    kind=HeadKind.DETECTION,
    categories=("cup", "top hat"),
    recipe=PixelRecipe(8, (0.4, 0.5, 0.6), (0.2, 0.2, 0.2), 1 / 255, Image.Resampling.BICUBIC),
    width=32,
    anchor_px=16,
    region_samples=64,
    has_masks=True,
    vision={"embed_dim": [8, 8, 8, 8]},
    base="tiny",
    base_fingerprint="f",
)
PIXELS = replace(DETECTOR, kind=HeadKind.SEGMENTATION, categories=("background", "cup", "top hat"))


def prompt(task: Task, *classes: str, text: str = "") -> str:
    return build_prompt(task, text=text, classes=classes, region=None, size=SIZE)


def found(category: int, score: float) -> FoundObject:
    mask = np.zeros((8, 8), dtype=np.float32)
    mask[2:6, 4:8] = 0.9
    return FoundObject(category, Box(16, 4, 32, 12), score, mask)


OBJECTS = (found(0, 0.9), found(1, 0.4))


def test_detection_gives_boxes_with_labels_and_scores():
    regions = answer(prompt(Task.OD), OBJECTS, DETECTOR, SIZE).regions
    assert [(one.label, one.score) for one in regions] == [("cup", 0.9), ("top hat", 0.4)]
    assert regions[0].shape == Box(16, 4, 32, 12)


def test_proposals_have_no_label():
    regions = answer(prompt(Task.REGION_PROPOSAL), OBJECTS, DETECTOR, SIZE).regions
    assert [one.label for one in regions] == ["", ""]


def test_named_categories_give_outlines_in_pixels_of_the_image():
    asked = prompt(Task.OPEN_VOCABULARY_DETECTION, "Top Hat")
    (region,) = answer(asked, OBJECTS, DETECTOR, SIZE).regions
    around = bounding_box(region.shape)
    assert region.label == "top hat"
    assert (around.x0, around.y0) == (pytest.approx(16, abs=2), pytest.approx(4, abs=1))
    assert (around.x1, around.y1) == (pytest.approx(32, abs=2), pytest.approx(12, abs=1))


def test_pixels_of_a_category_are_one_region_with_their_mean_probability():
    levels = np.full((3, 8, 8), 0.1, dtype=np.float32)
    levels[0] = 0.5
    levels[2, :, :4] = 0.8
    asked = prompt(Task.OPEN_VOCABULARY_DETECTION, "cup", "top hat")
    (region,) = answer(asked, FoundPixels(levels), PIXELS, SIZE).regions
    assert (region.label, region.score) == ("top hat", pytest.approx(0.8))
    around = bounding_box(region.shape)
    assert (around.x0, around.y0) == (pytest.approx(0, abs=1), pytest.approx(0, abs=1))
    assert (around.x1, around.y1) == (pytest.approx(16, abs=1), pytest.approx(16, abs=1))
    asked = prompt(Task.REFERRING_EXPRESSION_SEGMENTATION, text="top hat")
    (region,) = answer(asked, FoundPixels(levels), PIXELS, SIZE).regions
    assert region.label == ""


def test_task_that_a_head_does_not_answer_is_refused_with_those_that_it_does():
    with pytest.raises(InvalidFieldError, match=r"detection head.*OD, REGION_PROPOSAL.*CAPTION"):
        answer(prompt(Task.CAPTION), OBJECTS, DETECTOR, SIZE)


def test_unknown_category_is_refused_with_the_known_ones():
    asked = prompt(Task.OPEN_VOCABULARY_DETECTION, "dog")
    with pytest.raises(
        InvalidFieldError, match=r"no such category; allowed: cup, top hat; sent: d"
    ):
        answer(asked, OBJECTS, DETECTOR, SIZE)


def test_description_survives_its_file(tmp_path):
    assert not is_head(tmp_path)
    DETECTOR.write(tmp_path)
    assert is_head(tmp_path)
    assert read_description(tmp_path) == DETECTOR


def test_file_that_lacks_a_field_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "arno_head", "kind": "detection"}')
    with pytest.raises(ModelError, match=r"config\.json does not describe a head"):
        read_description(tmp_path)
