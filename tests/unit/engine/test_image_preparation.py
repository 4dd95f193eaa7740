from __future__ import annotations

import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from arno.engine.checkpoints.config import read_recipe
from arno.engine.encoding.image_preparation import ImagePreparer, make_pixels
from arno.engine.settings import EngineSettings
from arno.errors import InvalidImageError, LimitExceededError, ModelError
from arno.images.decode import OpenedImage
from arno.vocabulary import ImageSize
from PIL import Image
from support import images
from support.random_florence import PREPROCESSOR
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

SETTINGS = EngineSettings(image_bytes_max=1_000_000, image_pixels_max=1_000_000)


@pytest.fixture
def recipe(tmp_path):
    return read_recipe(write(tmp_path, {}))


@pytest.fixture
def preparer(recipe):
    return ImagePreparer(recipe, SETTINGS)


@pytest.fixture
def decoded(monkeypatch):
    """Returns the sizes of the pictures that were decoded so far."""
    sizes = []
    decode = OpenedImage.decode

    def noted(image, **options):
        picture = decode(image, **options)
        sizes.append(picture.size)
        return picture

    monkeypatch.setattr(OpenedImage, "decode", noted)
    return sizes


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


def test_a_prepared_image_knows_its_content_and_its_size(preparer):
    content = images.png(30, 20)
    prepared = preparer.prepare(content)
    assert prepared.sha256 == hashlib.sha256(content).hexdigest()
    assert (prepared.size, prepared.mime_type) == (ImageSize(30, 20), "image/png")
    assert prepared.pixels is not None
    assert (tuple(prepared.pixels.shape), prepared.pixels.dtype) == ((3, 64, 64), torch.uint8)


def test_many_threads_prepare_the_same_pixels(preparer):
    contents = [images.jpeg(100, 80, colour) for colour in ("red", "blue")] * 16
    with ThreadPoolExecutor(8) as pool:
        prepared = list(pool.map(preparer.prepare, contents))
    for each, content in zip(prepared, contents, strict=True):
        assert torch.equal(each.pixels, prepared[contents.index(content)].pixels)


def test_an_image_that_is_encoded_is_not_decoded_again(recipe, decoded):
    features = torch.zeros(2, 3)
    content = images.png(30, 20)
    known = {hashlib.sha256(content).hexdigest(): features}
    preparer = ImagePreparer(recipe, SETTINGS, encoded=known.get)
    prepared = preparer.prepare(content)
    assert prepared.features is features
    assert (prepared.pixels, prepared.size) == (None, ImageSize(30, 20))
    assert preparer.prepare(images.png(31, 20)).features is None
    assert decoded == [(31, 20)]


def test_an_image_that_is_encoded_is_still_held_to_the_limits(recipe):
    preparer = ImagePreparer(recipe, SETTINGS, encoded=lambda _: torch.zeros(2, 3))
    with pytest.raises(LimitExceededError):
        preparer.prepare(images.png(1001, 1000))


def test_pixels_are_shared_for_as_long_as_a_job_holds_them(preparer, decoded):
    content = images.png(30, 20)
    first = preparer.prepare(content)
    assert preparer.prepare(content).pixels is first.pixels
    assert len(decoded) == 1
    del first
    assert preparer.prepare(content).pixels is not None
    assert len(decoded) == 2


def test_callers_at_the_same_moment_wait_for_the_first_who_decodes(preparer, monkeypatch):
    begun, go_on, count = threading.Event(), threading.Event(), []
    decode = OpenedImage.decode

    def slow(image, **options):
        count.append(1)
        begun.set()
        assert go_on.wait(30)
        return decode(image, **options)

    monkeypatch.setattr(OpenedImage, "decode", slow)
    waiting = threading.Semaphore(0)
    wait = threading.Event.wait

    def noted(event, *arguments):
        waiting.release()
        return wait(event, *arguments)

    content = images.png(30, 20)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(preparer.prepare, content)
        assert begun.wait(30)
        monkeypatch.setattr(threading.Event, "wait", noted)
        others = [pool.submit(preparer.prepare, content) for _ in range(2)]
        for _ in others:
            assert waiting.acquire(timeout=30)
        go_on.set()
        found = [each.result().pixels for each in (first, *others)]
    assert len(count) == 1
    assert found[1] is found[0]
    assert found[2] is found[0]


def test_a_caller_whose_forerunner_failed_decodes_by_itself(preparer):
    broken = images.jpeg(100, 80)[:-200]
    for _ in range(2):
        with pytest.raises(InvalidImageError):
            preparer.prepare(broken)
    assert preparer.prepare(images.jpeg(100, 80)).pixels is not None


@pytest.mark.parametrize(
    ("size", "expected"),
    [((191, 300), (191, 300)), ((192, 600), (96, 300)), ((1030, 600), (258, 150))],
)
def test_a_large_jpeg_is_decoded_at_a_part_of_its_size_only_if_asked_for(
    recipe, decoded, size, expected
):
    gradient = Image.linear_gradient("L").resize(size)
    content = images.encoded(gradient, "JPEG", quality=95)
    exact = ImagePreparer(recipe, SETTINGS).prepare(content)
    scaled = ImagePreparer(recipe, SETTINGS.model_copy(update={"scaled_decoding": True})).prepare(
        content
    )
    assert decoded == [size, expected]
    assert scaled.size == exact.size == ImageSize(*size)
    deviation = (scaled.pixels.float() - exact.pixels.float()).abs()
    assert float(deviation.mean()) <= 1.0


def test_other_files_are_never_decoded_at_a_part_of_their_size(recipe, decoded):
    settings = SETTINGS.model_copy(update={"scaled_decoding": True})
    ImagePreparer(recipe, settings).prepare(images.png(600, 600))
    assert decoded == [(600, 600)]


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
