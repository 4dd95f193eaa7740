"""Say what each task asks the model, what it needs from the caller, and what comes back.

This table is the one place to read about a task and, with `task`, the table in `parse` and the API
enum, one of the four to touch when a task is added.

Source: the training prompts of Florence-2 as kept by transformers' `Florence2Processor`. They must
reach the model exactly so: it was trained on no others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from arno.vocabulary.task import Task


class ExtraInput(StrEnum):
    """What the caller must give besides the image."""

    NONE = "NONE"
    TEXT = "TEXT"
    """A phrase."""
    TEXT_OR_CLASSES = "TEXT_OR_CLASSES"
    """Either a caption or phrase, or a list of classes."""
    REGION = "REGION"
    """One box."""
    PROMPT = "PROMPT"
    """The whole prompt, sent to the model as it is."""


class AnswerKind(StrEnum):
    """Which of the typed answers the model's tokens become."""

    TEXT = "TEXT"
    DETECTION = "DETECTION"
    GROUNDING = "GROUNDING"
    SEGMENTATION = "SEGMENTATION"
    OCR = "OCR"


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """One row of the catalogue.

    Attributes:
        task: The task described.
        prompt: The training prompt; `{input}` stands for the text, the classes or the box.
        extra_input: What fills `{input}`.
        answer_kind: What comes back.
    """

    task: Task
    prompt: str
    extra_input: ExtraInput
    answer_kind: AnswerKind


_ROWS: Final = (
    TaskDefinition(
        Task.CAPTION,
        "What does the image describe?",
        ExtraInput.NONE,
        AnswerKind.TEXT,
    ),
    TaskDefinition(
        Task.DETAILED_CAPTION,
        "Describe in detail what is shown in the image.",
        ExtraInput.NONE,
        AnswerKind.TEXT,
    ),
    TaskDefinition(
        Task.MORE_DETAILED_CAPTION,
        "Describe with a paragraph what is shown in the image.",
        ExtraInput.NONE,
        AnswerKind.TEXT,
    ),
    TaskDefinition(
        Task.OCR,
        "What is the text in the image?",
        ExtraInput.NONE,
        AnswerKind.TEXT,
    ),
    TaskDefinition(
        Task.OCR_WITH_REGION,
        "What is the text in the image, with regions?",
        ExtraInput.NONE,
        AnswerKind.OCR,
    ),
    TaskDefinition(
        Task.OD,
        "Locate the objects with category name in the image.",
        ExtraInput.NONE,
        AnswerKind.DETECTION,
    ),
    TaskDefinition(
        Task.DENSE_REGION_CAPTION,
        "Locate the objects in the image, with their descriptions.",
        ExtraInput.NONE,
        AnswerKind.DETECTION,
    ),
    TaskDefinition(
        Task.REGION_PROPOSAL,
        "Locate the region proposals in the image.",
        ExtraInput.NONE,
        AnswerKind.DETECTION,
    ),
    TaskDefinition(
        Task.CAPTION_TO_PHRASE_GROUNDING,
        "Locate the phrases in the caption: {input}",
        ExtraInput.TEXT_OR_CLASSES,
        AnswerKind.GROUNDING,
    ),
    TaskDefinition(
        Task.REFERRING_EXPRESSION_SEGMENTATION,
        "Locate {input} in the image with mask",
        ExtraInput.TEXT,
        AnswerKind.SEGMENTATION,
    ),
    TaskDefinition(
        Task.REGION_TO_SEGMENTATION,
        "What is the polygon mask of region {input}",
        ExtraInput.REGION,
        AnswerKind.SEGMENTATION,
    ),
    TaskDefinition(
        Task.OPEN_VOCABULARY_DETECTION,
        "Locate {input} in the image.",
        ExtraInput.TEXT_OR_CLASSES,
        AnswerKind.DETECTION,
    ),
    TaskDefinition(
        Task.REGION_TO_CATEGORY,
        "What is the region {input}?",
        ExtraInput.REGION,
        AnswerKind.TEXT,
    ),
    TaskDefinition(
        Task.REGION_TO_DESCRIPTION,
        "What does the region {input} describe?",
        ExtraInput.REGION,
        AnswerKind.TEXT,
    ),
    TaskDefinition(
        Task.REGION_TO_OCR,
        "What text is in the region {input}?",
        ExtraInput.REGION,
        AnswerKind.TEXT,
    ),
    TaskDefinition(
        Task.PROMPT,
        "{input}",
        ExtraInput.PROMPT,
        AnswerKind.TEXT,
    ),
)

CATALOGUE: Final[Mapping[Task, TaskDefinition]] = MappingProxyType({row.task: row for row in _ROWS})
"""Every task, in the order of `Task`."""
