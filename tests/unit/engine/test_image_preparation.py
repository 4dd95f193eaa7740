from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from arno.engine.checkpoints.config import read_recipe
from arno.engine.image_preparation import make_pixels, prepare_image
from arno.errors import ModelError
from arno.ops.images import ImageLimits
from arno.vocabulary import ImageSize
from PIL import Image
from support import images
from support.random_florence import PREPROCESSOR
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

LIMITS = ImageLimits(1_000_000, 1_000_000)


@pytest.fixture
def recipe(tmp_path):
    return read_recipe(write(tmp_path, {}))


def write(folder, changes):
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR | changes))
    return folder


@pytest.mark.parametrize("size", [(64, 64), (63, 65), (200, 31), (7, 300), (1, 1)])
def test_pixels_equal_those_of_the_checkpoints_own_processor(recipe, size):
    noise = Image.effect_noise(size, 90)
    picture = Image.merge("RGB", (noise, noise.rotate(180), Image.new("L", size, 77)))
    facts = {key: value for key, value in PREPROCESSOR.items() if key != "image_processor_type"}
    theirs = CLIPImageProcessorPil(**facts)(picture, return_tensors="pt").pixel_values[0]
    assert torch.equal(make_pixels(picture, recipe), theirs)


def test_a_prepared_image_knows_its_content_and_its_size(recipe):
    content = images.png(30, 20)
    prepared = prepare_image(content, recipe, LIMITS)
    assert prepared.sha256 == hashlib.sha256(content).hexdigest()
    assert (prepared.size, prepared.mime_type) == (ImageSize(30, 20), "image/png")
    assert prepared.pixels is not None
    assert (tuple(prepared.pixels.shape), prepared.pixels.dtype) == ((3, 64, 64), torch.uint8)


def test_many_threads_prepare_the_same_pixels(recipe):
    content = images.jpeg(100, 80)
    with ThreadPoolExecutor(8) as pool:
        prepared = list(pool.map(lambda _: prepare_image(content, recipe, LIMITS), range(32)))
    assert all(torch.equal(each.pixels, prepared[0].pixels) for each in prepared)


def test_a_recipe_inside_a_processor_config_is_found(tmp_path):
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": PREPROCESSOR}))
    assert read_recipe(tmp_path).side_px == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"size": {"height": 64, "width": 32}},
        {"size": {"shortest_edge": 64}},
        {"size": None},
        {"do_center_crop": True},
        {"do_normalize": False},
        {"image_std": [1.0]},
        {"resample": 99},
    ],
)
def test_a_recipe_that_florence_2_does_not_have_is_refused(tmp_path, changes):
    with pytest.raises(ModelError):
        read_recipe(write(tmp_path, changes))


@pytest.mark.parametrize("text", ["[]", "{", '{"image_processor": null}', "\xff"])
def test_a_file_that_holds_no_recipe_is_refused(tmp_path, text):
    (tmp_path / "preprocessor_config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError):
        read_recipe(tmp_path)


def test_a_folder_without_a_recipe_is_refused(tmp_path):
    with pytest.raises(ModelError, match="how images are prepared"):
        read_recipe(tmp_path)
