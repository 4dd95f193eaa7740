"""How well each task goes, one number a task, measured quickly while a run goes on.

The full measurement with every figure is ``arno eval``; this one only has to say which task lags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from types import MappingProxyType
from typing import Final, TypeAlias

import torch
from transformers import Florence2ForConditionalGeneration, Florence2Processor

from arno.tasks import (
    AnswerValue,
    Decoded,
    GroundingAnswer,
    Region,
    Task,
    TextAnswer,
    build_prompt,
    parse,
)
from arno.training.data.sample import Sample
from arno.training.data.world_samples import samples
from arno.training.evaluation.metrics.caption_objects import object_tally
from arno.training.evaluation.metrics.characters import error_rate, read_text
from arno.training.evaluation.metrics.descriptions import word_f1
from arno.training.evaluation.metrics.detection import SeenImage, coco_detection
from arno.training.evaluation.metrics.exact import is_right
from arno.training.evaluation.metrics.grounding import phrase_hits
from arno.training.evaluation.metrics.masks import mask_overlap
from arno.training.evaluation.metrics.matching import Tally, any_label, match, same_label, total
from arno.training.evaluation.metrics.read_regions import read_regions
from arno.training.evaluation.quick import vocabulary_of
from arno.training.world import CATEGORIES, Split

TARGETS: Final[Mapping[Task, float]] = MappingProxyType(
    {
        Task.CAPTION: 0.9,
        Task.DETAILED_CAPTION: 0.9,
        Task.MORE_DETAILED_CAPTION: 0.85,
        Task.OCR: 0.92,
        Task.OCR_WITH_REGION: 0.8,
        Task.OD: 0.85,
        Task.DENSE_REGION_CAPTION: 0.8,
        Task.REGION_PROPOSAL: 0.9,
        Task.CAPTION_TO_PHRASE_GROUNDING: 0.85,
        Task.REFERRING_EXPRESSION_SEGMENTATION: 0.65,
        Task.REGION_TO_SEGMENTATION: 0.7,
        Task.OPEN_VOCABULARY_DETECTION: 0.8,
        Task.REGION_TO_CATEGORY: 0.9,
        Task.REGION_TO_DESCRIPTION: 0.85,
        Task.REGION_TO_OCR: 0.92,
        Task.PROMPT: 0.8,
    }
)
"""What each task's number shall reach."""

_BATCH: Final = 40
_TOKENS_MAX: Final = 110
_NOUNS: Final = {
    noun: category.label for category in CATEGORIES for noun in (category.label, category.plural)
}


@dataclass(frozen=True, slots=True)
class Told:
    """A sample and what the model said to it."""

    sample: Sample
    said: AnswerValue


def score_tasks(
    model: Florence2ForConditionalGeneration,
    processor: Florence2Processor,
    tasks: Sequence[Task],
    scenes: range,
    *,
    split: Split = Split.VALIDATION,
    beams: int = 1,
) -> dict[Task, float]:
    """Return the number of each task on some scenes of a split; 0..1, higher is better."""
    scores = {}
    for task in tasks:
        asked = [one for index in scenes for one in samples(split, index, tasks=(task,))]
        told = answer(model, processor, asked, beams=beams)
        scores[task] = _SCORERS[task](told) if told else 0.0
    return scores


@torch.inference_mode()
def answer(
    model: Florence2ForConditionalGeneration,
    processor: Florence2Processor,
    asked: Sequence[Sample],
    *,
    beams: int,
) -> list[Told]:
    """Let the model answer samples, in batches of questions of like length."""
    vocabulary = vocabulary_of(processor)
    tokenizer = processor.tokenizer
    told = []
    for start in range(0, len(asked), _BATCH):
        part = asked[start : start + _BATCH]
        pixels = processor.image_processor(
            [one.open_image() for one in part], return_tensors="pt"
        ).pixel_values
        prompts = [
            processor.image_token * processor.num_image_tokens
            + tokenizer.bos_token
            + build_prompt(
                one.spec.task,
                text=one.spec.text,
                classes=one.spec.classes,
                region=one.spec.region,
                size=one.size,
            )
            + tokenizer.eos_token
            for one in part
        ]
        inputs = tokenizer(prompts, add_special_tokens=False, padding=True, return_tensors="pt")
        ids = model.generate(  # type: ignore[misc]  # its own class fails its self type
            input_ids=inputs.input_ids,
            attention_mask=inputs.attention_mask,
            pixel_values=pixels,
            num_beams=beams,
            max_new_tokens=_TOKENS_MAX,
        )
        for sample, row in zip(part, ids[:, 1:].tolist(), strict=True):
            length = row.index(2) + 1 if 2 in row else len(row)
            value = parse(
                sample.spec.task,
                Decoded(row[:length]),
                vocabulary,
                sample.size,
                region=sample.spec.region,
                classes=sample.spec.classes,
            ).value
            told.append(Told(sample, value))
    return told


def _map_50(told: Sequence[Told]) -> float:
    images = [
        SeenImage(one.sample.size, _regions(one.sample.answer), _scored(_regions(one.said)))
        for one in told
    ]
    return coco_detection(images).map_50


def _places(told: Sequence[Told]) -> float:
    return total(
        _tally(_regions(one.said), _regions(one.sample.answer), labelled=False) for one in told
    ).f1


def _labelled_places(told: Sequence[Told]) -> float:
    return total(
        _tally(_regions(one.said), _regions(one.sample.answer), labelled=True) for one in told
    ).f1


def _phrases(told: Sequence[Told]) -> float:
    hits = []
    for one in told:
        if isinstance(one.said, GroundingAnswer) and isinstance(one.sample.answer, GroundingAnswer):
            hits.append(phrase_hits(one.said.phrases, one.sample.answer.phrases))
    return total(hits).recall


def _masks(told: Sequence[Told]) -> float:
    return mean(
        mask_overlap(_regions(one.said), _regions(one.sample.answer), one.sample.size).iou
        for one in told
    )


def _characters(told: Sequence[Told]) -> float:
    return max(0.0, 1 - error_rate([read_text(*_texts(one)) for one in told]))


def _read_places(told: Sequence[Told]) -> float:
    return total(
        read_regions(_regions(one.said), _regions(one.sample.answer), one.sample.size)
        for one in told
    ).f1


def _objects(told: Sequence[Told]) -> float:
    return total(object_tally(*_texts(one), _NOUNS) for one in told).f1


def _words(told: Sequence[Told]) -> float:
    return mean(word_f1(*_texts(one)) for one in told)


def _right(told: Sequence[Told]) -> float:
    return mean(is_right(_texts(one)[0], [_texts(one)[1]]) for one in told)


def _texts(told: Told) -> tuple[str, str]:
    if not isinstance(told.said, TextAnswer) or not isinstance(told.sample.answer, TextAnswer):
        raise TypeError(f"{told.sample.sample_id} has no text for an answer")
    return told.said.text, told.sample.answer.text


def _regions(value: AnswerValue) -> Sequence[Region]:
    if isinstance(value, GroundingAnswer):
        return [region for phrase in value.phrases for region in phrase.regions]
    return value.regions


def _scored(regions: Sequence[Region]) -> list[Region]:
    return [Region(region.label, region.shape, score=0.5) for region in regions]


def _tally(found: Sequence[Region], true: Sequence[Region], *, labelled: bool) -> Tally:
    pairs = match(found, true, may_match=same_label if labelled else any_label)
    return Tally(len(found), len(true), len(pairs))


_Scorer: TypeAlias = Callable[[Sequence[Told]], float]

_SCORERS: Final[Mapping[Task, _Scorer]] = MappingProxyType(
    {
        Task.CAPTION: _objects,
        Task.DETAILED_CAPTION: _words,
        Task.MORE_DETAILED_CAPTION: _words,
        Task.OCR: _characters,
        Task.OCR_WITH_REGION: _read_places,
        Task.OD: _map_50,
        Task.DENSE_REGION_CAPTION: _labelled_places,
        Task.REGION_PROPOSAL: _places,
        Task.CAPTION_TO_PHRASE_GROUNDING: _phrases,
        Task.REFERRING_EXPRESSION_SEGMENTATION: _masks,
        Task.REGION_TO_SEGMENTATION: _masks,
        Task.OPEN_VOCABULARY_DETECTION: _labelled_places,
        Task.REGION_TO_CATEGORY: _right,
        Task.REGION_TO_DESCRIPTION: _words,
        Task.REGION_TO_OCR: _characters,
        Task.PROMPT: _right,
    }
)
