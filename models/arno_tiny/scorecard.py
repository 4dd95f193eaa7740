"""How well each task goes, one number a task, measured quickly while a run goes on.

It uses the figures of ``arno eval``, on few scenes and through transformers' own ``generate``; the
measurement that counts is ``arno eval`` itself. This one only has to say which task lags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from types import MappingProxyType
from typing import Final

import torch
from arno.training.data.sample import Sample
from arno.training.data.world_samples import samples
from arno.training.evaluation.cases import Case
from arno.training.evaluation.figures import TaskFigures, figures_of
from arno.training.evaluation.nouns import nouns_of
from arno.training.evaluation.questions import Question
from arno.training.world import Split
from arno.vocabulary import Answer, Decoded, Task, TokenTable, build_prompt, parse
from transformers import Florence2ForConditionalGeneration, Florence2Processor

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
_NOUNS: Final = nouns_of("world:")
# Of these, naming the right objects is the lesser half.
_BY_WORDS: Final = frozenset(
    {Task.DETAILED_CAPTION, Task.MORE_DETAILED_CAPTION, Task.REGION_TO_DESCRIPTION}
)
_ERROR: Final = "character_error"


def score_tasks(
    model: Florence2ForConditionalGeneration,
    processor: Florence2Processor,
    tasks: Sequence[Task],
    scenes: range,
    *,
    tokens_max: int,
    split: Split = Split.VALIDATION,
) -> dict[Task, float]:
    """Return the number of each task on some scenes of a split; 0..1, higher is better."""
    scores = {}
    for task in tasks:
        asked = [one for index in scenes for one in samples(split, index, tasks=(task,))]
        said = answer(model, processor, asked, tokens_max=tokens_max)
        cases = [
            Case(question_of(sample), one.value) for sample, one in zip(asked, said, strict=True)
        ]
        scores[task] = _score(task, figures_of(task, cases, _NOUNS)) if cases else 0.0
    return scores


def token_table_of(processor: Florence2Processor) -> TokenTable:
    """Return what the parsers need to know of the processor's tokenizer."""
    tokenizer = processor.tokenizer
    return TokenTable.from_byte_level(
        tokenizer.get_vocab(), added_tokens=tokenizer.get_added_vocab(), special_ids=(0, 1, 2)
    )


@torch.inference_mode()
def answer(
    model: Florence2ForConditionalGeneration,
    processor: Florence2Processor,
    asked: Sequence[Sample],
    *,
    tokens_max: int,
    beams: int = 1,
) -> list[Answer]:
    """Let the model answer samples, in their order."""
    token_table = token_table_of(processor)
    answers = []
    for start in range(0, len(asked), _BATCH):
        part = asked[start : start + _BATCH]
        said_ids = _generate(model, processor, part, beams=beams, tokens_max=tokens_max)
        for sample, ids in zip(part, said_ids, strict=True):
            spec = sample.spec
            answers.append(
                parse(
                    spec.task,
                    Decoded(ids),
                    token_table,
                    sample.size,
                    region=spec.region,
                    classes=spec.classes,
                )
            )
    return answers


def _generate(
    model: Florence2ForConditionalGeneration,
    processor: Florence2Processor,
    asked: Sequence[Sample],
    *,
    beams: int,
    tokens_max: int,
) -> list[list[int]]:
    images = [sample.open_image() for sample in asked]
    prompts = [_prompt(sample) for sample in asked]
    # The processor knows prompts only by their task tokens: its parts are used one by one.
    image = processor.image_token * processor.num_image_tokens
    inputs = processor.tokenizer(
        [f"{image}<s>{prompt}</s>" for prompt in prompts],
        add_special_tokens=False,
        padding=True,
        return_tensors="pt",
    )
    pixels = processor.image_processor(images, return_tensors="pt").pixel_values
    ids = model.generate(  # type: ignore[misc]  # its own class fails its self type
        input_ids=inputs.input_ids,
        attention_mask=inputs.attention_mask,
        pixel_values=pixels,
        num_beams=beams,
        max_new_tokens=tokens_max,
    )
    rows: list[list[int]] = ids[:, 1:].tolist()
    return [row[: row.index(2) + 1] if 2 in row else row for row in rows]


def _prompt(sample: Sample) -> str:
    spec = sample.spec
    return build_prompt(
        spec.task, text=spec.text, classes=spec.classes, region=spec.region, size=sample.size
    )


def question_of(sample: Sample) -> Question:
    """Return a sample as `arno eval` asks it."""
    return Question(
        question_id=sample.sample_id,
        image_id=sample.image_id,
        open_image=sample.open_image,
        size=sample.size,
        spec=sample.spec,
        truths=(sample.answer,),
    )


def _score(task: Task, figures: TaskFigures) -> float:
    if task in _BY_WORDS:
        return mean(figures.goodness)
    name, value = next(iter(figures.values.items()))
    return max(0.0, 1 - value) if name == _ERROR else value
