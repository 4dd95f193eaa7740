"""The example images are what the generator draws, and their truth fits what a viewer shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from arno.training.examples import EXAMPLES, draw_examples
from PIL import Image, ImageOps

FOLDER = Path(__file__).parents[3] / "examples" / "images"
TRUTH = json.loads((FOLDER / "truth.json").read_text())["images"]


def test_truth_and_files_are_what_the_generator_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arno.training.examples.EXAMPLES", EXAMPLES[3:5])
    draw_examples(tmp_path)
    drawn = json.loads((tmp_path / "truth.json").read_text())["images"]
    assert [one["file"] for one in drawn] == [one["file"] for one in TRUTH[3:5]]


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
