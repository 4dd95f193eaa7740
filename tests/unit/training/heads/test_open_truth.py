"""Data of heads by name: masks in files, scenes, and the wrong kind."""

from __future__ import annotations

import numpy as np
import pytest
from arno.engine.heads.description import HeadKind
from arno.errors import InvalidFieldError
from arno.training.heads.open_truth import open_truth
from arno.training.world import Split
from PIL import Image


@pytest.fixture
def masks(tmp_path):
    """A folder with one mask, its image, and the list of categories."""
    for name in ("masks", "images"):
        (tmp_path / name).mkdir()
    labels = np.zeros((6, 8), dtype=np.uint8)
    labels[2:4] = 1
    labels[5] = 255
    Image.fromarray(labels).save(tmp_path / "masks" / "a.png")
    Image.new("RGB", (8, 6)).save(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels.txt").write_text("floor\nwall\n")
    return tmp_path


def opened(folder, kind=HeadKind.SEGMENTATION):
    name = f"masks:{folder}/masks,images={folder}/images,labels={folder}/labels.txt"
    return open_truth(kind, name, split=Split.TEST)


def test_mask_files_give_the_category_of_each_pixel(masks):
    source = opened(masks)
    assert source.categories == ("floor", "wall")
    assert source[0].labels[:, 0].tolist() == [0, 0, 1, 1, 0, 255]


def test_masks_of_categories_are_refused_for_detection(masks):
    with pytest.raises(InvalidFieldError, match="know no objects, which a detection head needs"):
        opened(masks, HeadKind.DETECTION)


def test_pixel_of_an_unknown_category_is_named(masks):
    Image.fromarray(np.full((6, 8), 9, dtype=np.uint8)).save(masks / "masks" / "a.png")
    with pytest.raises(InvalidFieldError, match=r"a\.png.*0 to 1, or 255.*sent: 9"):
        opened(masks)[0]


def test_mask_of_another_size_is_named(masks):
    Image.fromarray(np.zeros((3, 3), dtype=np.uint8)).save(masks / "masks" / "a.png")
    with pytest.raises(InvalidFieldError, match=r"not as large as its image; allowed: 8, 6"):
        opened(masks)[0]


def test_mask_of_colours_is_named(masks):
    Image.new("RGB", (8, 6)).save(masks / "masks" / "a.png")
    with pytest.raises(InvalidFieldError, match=r"one byte a pixel.*sent: RGB"):
        opened(masks)[0]


def test_mask_without_an_image_is_named(masks):
    (masks / "images" / "a.jpg").rename(masks / "images" / "b.jpg")
    with pytest.raises(InvalidFieldError, match=r"1 masks have no image.*a\.png"):
        opened(masks)


def test_name_of_no_data_is_answered_with_those_that_there_are():
    with pytest.raises(InvalidFieldError, match=r"detection head; allowed: coco:FILE"):
        open_truth(HeadKind.DETECTION, "boxes.jsonl", split=Split.TEST)


def test_masks_of_scenes_fit_their_boxes_and_are_apart():
    source = open_truth(HeadKind.DETECTION, "world:seed=3,n=6,world=tiny", split=Split.TEST)
    for image in source:
        taken = np.zeros((image.size.height_px, image.size.width_px), dtype=bool)
        for one in image.objects:
            rows, columns = np.nonzero(one.mask)
            assert abs(rows.min() - one.box.y0) <= 1.5
            assert abs(rows.max() + 1 - one.box.y1) <= 1.5
            assert abs(columns.min() - one.box.x0) <= 1.5
            assert abs(columns.max() + 1 - one.box.x1) <= 1.5
            assert not (taken & one.mask).any()
            taken |= one.mask


def test_pixels_of_scenes_are_those_of_its_objects():
    name = "world:seed=3,n=2,world=tiny"
    objects = open_truth(HeadKind.DETECTION, name, split=Split.TEST)
    pixels = open_truth(HeadKind.SEGMENTATION, name, split=Split.TEST)
    assert pixels.categories == ("background", *objects.categories)
    for image, labelled in zip(objects, pixels, strict=True):
        drawn = np.zeros_like(labelled.labels)
        for one in image.objects:
            drawn[one.mask] = one.category + 1
        assert (drawn == labelled.labels).all()
