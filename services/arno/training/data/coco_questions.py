"""The questions about COCO images: for each task, the annotations that make one sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from arno.training.data.coco_index import CocoImage, CocoIndex
from arno.vocabulary import Task

CAPTION_TASKS: Final = (Task.CAPTION, Task.DETAILED_CAPTION, Task.MORE_DETAILED_CAPTION)
_WHOLE_IMAGE: Final = (Task.OD, Task.REGION_PROPOSAL, Task.CAPTION_TO_PHRASE_GROUNDING)
_EACH_CATEGORY: Final = (Task.OPEN_VOCABULARY_DETECTION, Task.REFERRING_EXPRESSION_SEGMENTATION)
_EACH_OBJECT: Final = (Task.REGION_TO_CATEGORY, Task.REGION_TO_SEGMENTATION)
INSTANCE_TASKS: Final = (*_WHOLE_IMAGE, *_EACH_CATEGORY, *_EACH_OBJECT)


@dataclass(frozen=True, slots=True)
class Question:
    """One sample to be made.

    Attributes:
        task: The task.
        image: The place of the image in the file; -1 for an annotation without one.
        annotations: The places of the annotations that answer it.
        crowds: The places of annotations of the same kind that mark several objects.
    """

    task: Task
    image: int
    annotations: tuple[int, ...]
    crowds: tuple[int, ...] = ()


def questions(index: CocoIndex, tasks: Sequence[Task]) -> Iterator[Question]:
    """Yield the questions, image by image; last the annotations without one, to be refused."""
    for image in index.images:
        crowds = tuple(place for place in image.annotations if index.is_crowd(place))
        objects = tuple(place for place in image.annotations if place not in crowds)
        for task in tasks:
            yield from _about(index, image, task, objects, crowds)
    for place in index.strays:
        yield Question(tasks[0], -1, (place,))


def _about(
    index: CocoIndex,
    image: CocoImage,
    task: Task,
    objects: tuple[int, ...],
    crowds: tuple[int, ...],
) -> Iterator[Question]:
    if task in _EACH_OBJECT or task in CAPTION_TASKS:
        for place in objects:
            yield Question(task, image.number, (place,))
    elif task in _EACH_CATEGORY:
        crowded = _by_category(index, crowds)
        for category, places in _by_category(index, objects).items():
            yield Question(task, image.number, places, crowded.get(category, ()))
    elif objects or task is not Task.CAPTION_TO_PHRASE_GROUNDING:
        # An image without objects has an empty answer.
        yield Question(task, image.number, objects, crowds)


def _by_category(index: CocoIndex, places: Sequence[int]) -> dict[Any, tuple[int, ...]]:
    groups: dict[Any, tuple[int, ...]] = {}
    for place in places:
        category = index.annotations[place].get("category_id")
        groups[category] = (*groups.get(category, ()), place)
    return groups
