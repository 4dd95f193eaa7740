"""Build the text that asks the model for a task, and tell which task a text asks for.

The inputs are taken to be valid: `inputs.check_inputs` refuses the others, long before, in the
gateway.
"""

from collections.abc import Iterable
from typing import Final

from arno.vocabulary.catalogue import CATALOGUE, ExtraInput
from arno.vocabulary.locations import render_bins, shape_bins
from arno.vocabulary.regions import Box, ImageSize
from arno.vocabulary.task import Task

CLASS_SEPARATOR: Final = "<and>"
"""What stands between classes. It is one token of the model; with commas it finds less."""


def phrase_of(label: str) -> str:
    """Return a label of an annotation tool, such as ``Traffic_light``, as the model writes it."""
    return " ".join(label.replace("_", " ").lower().split())


def parse_prompt(prompt: str) -> tuple[Task | None, str]:
    """Return the task of a training prompt and the input in it; None for a prompt of no task."""
    for task, definition in CATALOGUE.items():
        if prompt == definition.prompt:
            return task, ""
    for task, definition in CATALOGUE.items():
        start, _, end = definition.prompt.partition("{input}")
        if start and prompt.startswith(start) and prompt.endswith(end):
            return task, prompt[len(start) : len(prompt) - len(end)]
    return None, prompt


def build_prompt(
    task: Task,
    *,
    text: str = "",
    classes: Iterable[str] = (),
    region: Box | None = None,
    size: ImageSize,
) -> str:
    """Return the training prompt of a task with the caller's input in its place.

    Args:
        task: What is asked.
        text: The caption, phrase or whole prompt.
        classes: Category names; used where the task takes them and there is no text.
        region: The box asked about, in pixels.
        size: The size of the image, which turns the box into location tokens.

    Raises:
        ValueError: The task needs a region and there is none. `check_inputs` reports it better.
    """
    definition = CATALOGUE[task]
    match definition.extra_input:
        case ExtraInput.NONE:
            return definition.prompt
        case ExtraInput.PROMPT:
            return text
        case ExtraInput.REGION:
            if region is None:
                raise ValueError(f"{task} asks about a region")
            return definition.prompt.format(input=render_bins(shape_bins(region, size)))
        case ExtraInput.TEXT | ExtraInput.TEXT_OR_CLASSES:
            asked = text.strip() or CLASS_SEPARATOR.join(name.strip() for name in classes)
            return definition.prompt.format(input=asked)
