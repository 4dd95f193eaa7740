"""The bundled model loads in plain transformers and sees what is in the example images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from arno.training.data import Sample
from arno.vocabulary import CATALOGUE, Box, DetectionAnswer, ImageSize, Task, TaskSpec, iou
from PIL import Image, ImageOps
from transformers import (
    AutoProcessor,
    CLIPImageProcessorPil,
    Florence2ForConditionalGeneration,
    Florence2Processor,
)

from models.arno_tiny.scorecard import answer

pytestmark = pytest.mark.model

ROOT = Path(__file__).parents[4]
MODEL = ROOT / "services" / "arno" / "engine" / "tiny"
EXAMPLES = ROOT / "examples" / "images"
TRUTH = json.loads((EXAMPLES / "truth.json").read_text())["images"]


@pytest.fixture(scope="module")
def model() -> Florence2ForConditionalGeneration:
    return Florence2ForConditionalGeneration.from_pretrained(MODEL, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def processor() -> Florence2Processor:
    found = AutoProcessor.from_pretrained(MODEL)
    # Where torchvision is installed, transformers would resize with it, and to other levels.
    found.image_processor = CLIPImageProcessorPil.from_pretrained(MODEL)
    return found


def _shown(name: str) -> Image.Image:
    with Image.open(EXAMPLES / name) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _asked(name: str) -> Sample:
    size = ImageSize(*_shown(name).size)
    spec = TaskSpec(Task.OD)
    return Sample(name, name, lambda: _shown(name), size, spec, DetectionAnswer(()))


def test_it_finds_a_labelled_object_in_most_examples(
    model: Florence2ForConditionalGeneration, processor: Florence2Processor
) -> None:
    said = answer(
        model, processor, [_asked(each["file"]) for each in TRUTH], beams=3, tokens_max=64
    )
    right = 0
    for one, truth in zip(said, TRUTH, strict=True):
        right += any(
            region.label == seen["label"] and iou(region.shape, Box(*seen["box"])) >= 0.5
            for region in one.value.regions
            for seen in truth["objects"]
        )
    assert right >= len(TRUTH) * 2 / 3


def test_the_processor_writes_the_prompts_of_the_catalogue(processor: Florence2Processor) -> None:
    image = _shown("small.bmp")
    for task in (Task.OD, Task.CAPTION):
        ids = processor(text=f"<{task}>", images=image, return_tensors="pt").input_ids[0]
        text = processor.tokenizer.decode(ids).replace("<image>", "")
        assert text == f"<s>{CATALOGUE[task].prompt}</s>"


def test_weights_are_small_and_half_precision() -> None:
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < 30_000_000
    assert json.loads((MODEL / "config.json").read_text())["dtype"] == "float16"
