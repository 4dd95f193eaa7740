"""Measure every task quickly during a run, one number per task, and ask lagging tasks more often.

The figures are those of ``arno eval``, on few scenes and through transformers' own ``generate``.
Only ``arno eval`` counts as a measurement of the model; these numbers steer the curriculum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from types import MappingProxyType
from typing import Final

import torch
from arno.training.data.source import Sample
from arno.training.data.world import samples
from arno.training.evaluation.cases import Case
from arno.training.evaluation.figures import TaskFigures, figures_of, nouns_of
from arno.training.evaluation.questions import Question
from arno.training.trainer.average import AverageWeights
from arno.training.trainer.process_group import ProcessGroup
from arno.training.world import Split
from arno.vocabulary import Answer, Decoded, Task, TokenTable, build_prompt, parse
from transformers import Florence2ForConditionalGeneration, Florence2Processor

from models.arno_tiny.scene_batches import TASKS

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
"""The number that each task is to reach."""

TASK_WEIGHTS: Final[Mapping[Task, float]] = MappingProxyType(
    {
        # Tasks that others build on, and reading, for which only some of the scenes have words.
        Task.OD: 2.0,
        Task.OCR: 2.0,
        Task.REGION_TO_OCR: 1.5,
        Task.OCR_WITH_REGION: 2.0,
        Task.CAPTION_TO_PHRASE_GROUNDING: 1.5,
        Task.OPEN_VOCABULARY_DETECTION: 1.5,
        Task.REFERRING_EXPRESSION_SEGMENTATION: 1.5,
    }
)
"""Frequency of a task relative to the others; 1 where none is given."""

_BATCH: Final = {"cpu": 40, "cuda": 1024}
"""Questions that are answered at once. A GPU takes as long for many as for few."""
_NOUNS: Final = nouns_of("world:")
# Tasks for which naming the right objects is the lesser half.
_BY_WORDS: Final = frozenset(
    {Task.DETAILED_CAPTION, Task.MORE_DETAILED_CAPTION, Task.REGION_TO_DESCRIPTION}
)
_ERROR: Final = "character_error"


@dataclass(frozen=True, slots=True)
class MeasuringPlan:
    """How often and how the tasks are measured.

    Attributes:
        every_steps: Steps between two measurements.
        scenes: Validation scenes to measure on.
        tokens_max: Limit on the tokens of an answer.
        world: The world of the scenes, by its name in ``WORLDS``.
        steers: Whether the numbers decide how often each task is asked.
    """

    every_steps: int
    scenes: int
    tokens_max: int
    world: str
    steers: bool


class Scorecard:
    """The present number of each task; every process measures a part of the tasks."""

    def __init__(
        self,
        model: Florence2ForConditionalGeneration,
        processor: Florence2Processor,
        average: AverageWeights,
        group: ProcessGroup,
        plan: MeasuringPlan,
    ) -> None:
        """Take the model, its average weights, and how to measure them."""
        self._model, self._processor = model, processor
        self._average, self._group = average, group
        self._plan = plan
        self.every_steps, self.changes_data = plan.every_steps, plan.steers
        self._scores: dict[Task, float] = {}

    def measure(self) -> dict[str, float]:
        """Measure the average weights; return every task's number as ``score/TASK``."""
        self._model.train(mode=False)
        with self._average.in_place():
            own = score_tasks(
                self._model,
                self._processor,
                TASKS[self._group.rank :: self._group.size],
                range(self._plan.scenes),
                tokens_max=self._plan.tokens_max,
                world=self._plan.world,
            )
        self._model.train()
        for scores in self._group.all_gather(own):
            self._scores.update(scores)
        return {f"score/{task}": self._scores[task] for task in TASKS}

    def task_weights(self) -> dict[Task, float]:
        """Return the frequency of each task: higher for tasks that are far from their target."""
        lag = {task: max(0.0, 1 - self._scores.get(task, 0.0) / TARGETS[task]) for task in TASKS}
        return {task: TASK_WEIGHTS.get(task, 1.0) * (0.4 + lag[task]) for task in TASKS}

    def state_dict(self) -> dict[str, float]:
        """Return the number of each task by its name."""
        return {str(task): score for task, score in self._scores.items()}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take the numbers from a checkpoint."""
        self._scores = {Task(name): score for name, score in state.items()}


def score_tasks(
    model: Florence2ForConditionalGeneration,
    processor: Florence2Processor,
    tasks: Sequence[Task],
    scenes: range,
    *,
    tokens_max: int,
    world: str,
) -> dict[Task, float]:
    """Return the number of each task on validation scenes; 0..1, higher is better."""
    asked = [
        one
        for index in scenes
        for one in samples(Split.VALIDATION, index, tasks=tasks, world=world)
    ]
    # Answers of a task are about as long as each other, and a batch runs until its longest ends.
    asked.sort(key=lambda sample: TASKS.index(sample.spec.task))
    cases: dict[Task, list[Case]] = {task: [] for task in tasks}
    said = answer(model, processor, asked, tokens_max=tokens_max)
    for sample, one in zip(asked, said, strict=True):
        cases[sample.spec.task].append(Case(question_of(sample), one.value))
    return {
        task: _score(task, figures_of(task, of_task, _NOUNS)) if of_task else 0.0
        for task, of_task in cases.items()
    }


def token_table_of(processor: Florence2Processor) -> TokenTable:
    """Return the processor's tokenizer as the parsers take it."""
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
    """Return the model's answers to samples, in their order."""
    token_table = token_table_of(processor)
    answers = []
    batch = _BATCH[model.device.type]
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
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
    # The questions about an image share it.
    openers = {sample.image_id: sample.open_image for sample in asked}
    places = {image_id: place for place, image_id in enumerate(openers)}
    images = [open_image() for open_image in openers.values()]
    prompts = [_prompt(sample) for sample in asked]
    # The processor takes prompts only as task tokens, so its parts are used one by one.
    image = processor.image_token * processor.num_image_tokens
    inputs = processor.tokenizer(
        [f"{image}<s>{prompt}</s>" for prompt in prompts],
        add_special_tokens=False,
        padding=True,
        return_tensors="pt",
    ).to(model.device)
    pixels = processor.image_processor(images, return_tensors="pt").pixel_values
    pixels = pixels[[places[sample.image_id] for sample in asked]].to(model.device)
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
    """Return a sample as a question of `arno eval`."""
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
