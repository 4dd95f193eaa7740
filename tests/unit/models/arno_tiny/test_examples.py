"""The example images are what the generator draws, and their truth fits what a viewer shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from models.arno_tiny.examples import EXAMPLES, picture_of, truth_of

FOLDER = Path(__file__).parents[4] / "examples" / "images"
TRUTH = json.loads((FOLDER / "truth.json").read_text())["images"]


@pytest.mark.parametrize("index", [3, 4])
def test_the_truth_is_what_the_generator_knows(index: int) -> None:
    assert truth_of(picture_of(index), EXAMPLES[index]) == TRUTH[index]


def test_a_lossless_example_is_what_the_generator_draws() -> None:
    with Image.open(FOLDER / "small.bmp") as image:
        assert image.tobytes() == picture_of(4).image.tobytes()


@pytest.mark.parametrize("truth", TRUTH, ids=lambda truth: truth["file"])
def test_truth_is_in_pixels_of_the_image_as_shown(truth: dict) -> None:
    with Image.open(FOLDER / truth["file"]) as image:
        shown = ImageOps.exif_transpose(image)
        assert shown.size == (truth["width_px"], truth["height_px"])
    for seen in truth["objects"]:
        x0, y0, x1, y1 = seen["box"]
        assert 0 <= x0 < x1 <= truth["width_px"]
        assert 0 <= y0 < y1 <= truth["height_px"]


def test_examples_come_in_many_formats_and_one_is_turned_by_exif() -> None:
    formats = set()
    turned = 0
    for truth in TRUTH:
        with Image.open(FOLDER / truth["file"]) as image:
            formats.add(image.format)
            turned += image.getexif().get(0x0112, 1) != 1
    assert formats == {"JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"}
    assert turned == 1
