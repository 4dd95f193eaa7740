"""Measure a model on scenes that it never saw, through transformers' own ``generate``.

Boxes are scored by the tokens' probabilities and counted the way COCO does.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from faster_coco_eval import COCO, COCOeval_faster
from PIL.Image import Image
from transformers import Florence2ForConditionalGeneration, Florence2Processor

from arno.tasks import (
    Box,
    Decoded,
    DetectionAnswer,
    ImageSize,
    Region,
    Task,
    Vocabulary,
    area,
    iou,
    parse,
)
from arno.training.world import CATEGORIES, Picture, Split, caption, imagine, render

_LONG_SIDE_PX = 320
_BATCH = 50
_TOKENS_MAX = 64
_IOU_MIN = 0.5
_CATEGORY_IDS = {category.label: index + 1 for index, category in enumerate(CATEGORIES)}


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured; every value is between 0 and 1 but the count.

    Attributes:
        scenes: How many scenes it was measured on. map_50: Mean average precision at IoU 0.5.
        map_50_95: The same, averaged over IoU 0.5 to 0.95. precision, recall: Of all boxes with the
        right label at IoU 0.5, without any score threshold. mean_iou: Of the boxes found.
        caption_exact: Captions equal to the truth. caption_objects: Captions that name exactly the
        right objects and numbers, whatever the background.
    """

    scenes: int
    map_50: float
    map_50_95: float
    precision: float
    recall: float
    mean_iou: float
    caption_exact: float
    caption_objects: float

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name, rounded for logs."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def measure(
    model: Florence2ForConditionalGeneration,
    processor: Florence2Processor,
    split: Split,
    *,
    scenes: int,
    beams: int,
) -> Figures:
    """Return the model's figures on the first ``scenes`` scenes of ``split``."""
    pictures = [held_out(split, index) for index in range(scenes)]
    images = [picture.image for picture in pictures]
    vocabulary = vocabulary_of(processor)
    detections = [
        _regions(decoded, vocabulary, picture)
        for decoded, picture in zip(
            generate(model, processor, images, Task.OD, beams), pictures, strict=True
        )
    ]
    captions = [
        vocabulary.decode(i for i in decoded.token_ids if not vocabulary.is_special(i))
        for decoded in generate(model, processor, images, Task.CAPTION, beams)
    ]
    truths = [caption(picture.scene) for picture in pictures]
    found_ious = [
        _found(regions, picture) for regions, picture in zip(detections, pictures, strict=True)
    ]
    found = [value for ious in found_ious for value in ious]
    map_50, map_50_95 = _coco(detections, pictures)
    said = list(zip(captions, truths, strict=True))
    return Figures(
        scenes=scenes,
        map_50=map_50,
        map_50_95=map_50_95,
        precision=len(found) / max(1, sum(map(len, detections))),
        recall=len(found) / sum(len(picture.objects) for picture in pictures),
        mean_iou=sum(found) / max(1, len(found)),
        caption_exact=sum(one == other for one, other in said) / scenes,
        caption_objects=sum(_objects_of(one) == _objects_of(other) for one, other in said) / scenes,
    )


def held_out(split: Split, index: int) -> Picture:
    """Draw a scene at a natural size, larger than the model's: the processor is measured too."""
    scene = imagine(split.seed(index))
    width = _LONG_SIDE_PX if scene.aspect >= 1 else round(_LONG_SIDE_PX * scene.aspect)
    height = _LONG_SIDE_PX if scene.aspect < 1 else round(_LONG_SIDE_PX / scene.aspect)
    return render(scene, width, height)


def vocabulary_of(processor: Florence2Processor) -> Vocabulary:
    """Return what the parsers need to know of the processor's tokenizer."""
    tokenizer = processor.tokenizer
    return Vocabulary.from_byte_level(
        tokenizer.get_vocab(), added_tokens=tokenizer.get_added_vocab(), special_ids=(0, 1, 2)
    )


@torch.inference_mode()
def generate(
    model: Florence2ForConditionalGeneration,
    processor: Florence2Processor,
    images: Sequence[Image],
    task: Task,
    beams: int,
) -> list[Decoded]:
    """Return the tokens and their probabilities for one task on each image."""
    results = []
    for start in range(0, len(images), _BATCH):
        part = list(images[start : start + _BATCH])
        inputs = processor(text=[f"<{task}>"] * len(part), images=part, return_tensors="pt")
        ids = model.generate(  # type: ignore[misc]  # its own class fails its self type
            **inputs, num_beams=beams, no_repeat_ngram_size=3, max_new_tokens=_TOKENS_MAX
        )
        # The probabilities of beam search are of beams; one pass over the answer gives those of its
        # tokens.
        logits = model(**inputs, decoder_input_ids=ids[:, :-1]).logits
        chosen = logits.log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
        for row, logprobs in zip(ids[:, 1:].tolist(), chosen.tolist(), strict=True):
            length = row.index(2) + 1 if 2 in row else len(row)
            results.append(Decoded(row[:length], logprobs[:length]))
    return results


def _regions(decoded: Decoded, vocabulary: Vocabulary, picture: Picture) -> tuple[Region, ...]:
    answer = parse(Task.OD, decoded, vocabulary, ImageSize(*picture.image.size)).value
    if not isinstance(answer, DetectionAnswer):
        raise TypeError(f"OD gives detections, not {type(answer).__name__}")
    return answer.regions


def _found(regions: Sequence[Region], picture: Picture) -> list[float]:
    """Return the IoU of each object found: right label, IoU at least 0.5, one region an object."""
    left = list(regions)
    found = []
    for seen in picture.objects:
        fitting = [
            (iou(seen.box, region.shape), region)
            for region in left
            if region.label == seen.category.label and isinstance(region.shape, Box)
        ]
        best = max(fitting, key=lambda pair: pair[0], default=None)
        if best is not None and best[0] >= _IOU_MIN:
            found.append(best[0])
            left.remove(best[1])
    return found


def _coco(
    detections: Sequence[Sequence[Region]], pictures: Sequence[Picture]
) -> tuple[float, float]:
    """Return mAP at IoU 0.5 and averaged over 0.5 to 0.95."""
    annotations = [
        {
            "image_id": image_id,
            "category_id": _CATEGORY_IDS[seen.category.label],
            "bbox": _coco_box(seen.box),
            "area": area(seen.box),
            "iscrowd": 0,
        }
        for image_id, picture in enumerate(pictures, start=1)
        for seen in picture.objects
    ]
    results: list[dict[str, Any]] = [
        {
            "image_id": image_id,
            "category_id": _CATEGORY_IDS[region.label],
            "bbox": _coco_box(region.shape),
            "score": region.score or 0.0,
        }
        for image_id, regions in enumerate(detections, start=1)
        for region in regions
        if region.label in _CATEGORY_IDS and isinstance(region.shape, Box)
    ]
    if not results:
        return 0.0, 0.0
    truth = COCO(
        {
            "images": [
                {"id": image_id, "width": picture.image.width, "height": picture.image.height}
                for image_id, picture in enumerate(pictures, start=1)
            ],
            "annotations": [
                {"id": number, **one} for number, one in enumerate(annotations, start=1)
            ],
            "categories": [
                {"id": number, "name": label} for label, number in _CATEGORY_IDS.items()
            ],
        }
    )
    # The library prints its table; the figures are read from it instead.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval_faster(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[1]), float(evaluation.stats[0])


def _coco_box(box: Box) -> list[float]:
    return [box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0]


def _objects_of(text: str) -> str:
    return text.rpartition(" on ")[0].lower()
