"""Answer tasks with what a head found."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from arno.engine.heads.description import BACKGROUND, HeadDescription
from arno.engine.heads.findings import Finding, FoundObject, FoundPixels, outlines
from arno.errors import InvalidFieldError
from arno.vocabulary import (
    AnswerValue,
    DetectionAnswer,
    ImageSize,
    Region,
    SegmentationAnswer,
    Shape,
    Task,
)
from arno.vocabulary.prompts import CLASS_SEPARATOR, parse_prompt


def answer(
    prompt: str, finding: Finding, description: HeadDescription, size: ImageSize
) -> AnswerValue:
    """Return the answer to a prompt of one of the tasks.

    Raises:
        InvalidFieldError: The head does not answer this task, or knows no such category.
    """
    task, given = parse_prompt(prompt)
    if task not in description.tasks:
        raise InvalidFieldError(
            field="task",
            problem=f"this model is a {description.kind} head, which does not answer it",
            limit=", ".join(description.tasks),
            sent=task or "PROMPT",
        )
    if isinstance(finding, FoundPixels):
        regions = tuple(_areas(finding, _wanted(given, description), description, size))
        if task is Task.REFERRING_EXPRESSION_SEGMENTATION:
            return SegmentationAnswer(tuple(_unlabelled(one) for one in regions))
        return DetectionAnswer(regions)
    if task is Task.OPEN_VOCABULARY_DETECTION:
        wanted = _wanted(given, description)
        mine = (one for one in finding if one.category in wanted)
        return DetectionAnswer(tuple(_object(one, description, _shape(one, size)) for one in mine))
    regions = tuple(_object(one, description, one.box) for one in finding)
    if task is Task.REGION_PROPOSAL:
        return DetectionAnswer(tuple(_unlabelled(one) for one in regions))
    return DetectionAnswer(regions)


def _wanted(given: str, description: HeadDescription) -> list[int]:
    """Return the numbers of the categories that a text names."""
    places = {name.casefold(): place for place, name in enumerate(description.categories)}
    wanted = []
    for name in given.split(CLASS_SEPARATOR):
        place = places.get(name.strip().casefold())
        if place is None:
            raise InvalidFieldError(
                field="classes",
                problem="the model knows no such category",
                limit=", ".join(description.categories),
                sent=name,
            )
        wanted.append(place)
    return wanted


def _object(found: FoundObject, description: HeadDescription, shape: Shape) -> Region:
    return Region(description.categories[found.category], shape, score=found.score)


def _shape(found: FoundObject, size: ImageSize) -> Shape:
    """Return the outlines of an object; its box, where it has none."""
    return (() if found.mask is None else outlines(found.mask, size)) or found.box


def _areas(
    finding: FoundPixels, wanted: list[int], description: HeadDescription, size: ImageSize
) -> Iterator[Region]:
    """Yield the outlines of each wanted category that some pixels are of."""
    likeliest = finding.probabilities.argmax(axis=0)  # [S, S]
    for place in wanted:
        name = description.categories[place]
        mask = likeliest == place
        if name == BACKGROUND or not mask.any():
            continue
        score = float(np.mean(finding.probabilities[place][mask]))
        yield Region(name, outlines(mask, size), score=score)


def _unlabelled(region: Region) -> Region:
    return Region("", region.shape, score=region.score)
