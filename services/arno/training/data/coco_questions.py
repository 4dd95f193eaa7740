"""What is asked about a COCO image: for each task, which annotations make one sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from arno.tasks import Task
from arno.training.data.coco_index import CocoImage, CocoIndex

CAPTION_TASKS: Final = (Task.CAPTION, Task.DETAILED_CAPTION, Task.MORE_DETAILED_CAPTION)
_WHOLE_IMAGE: Final = (Task.OD, Task.REGION_PROPOSAL, Task.CAPTION_TO_PHRASE_GROUNDING)
_EACH_CATEGORY: Final = (Task.OPEN_VOCABULARY_DETECTION, Task.REFERRING_EXPRESSION_SEGMENTATION)
_EACH_OBJECT: Final = (Task.REGION_TO_CATEGORY, Task.REGION_TO_SEGMENTATION)
INSTANCE_TASKS: Final = (*_WHOLE_IMAGE, *_EACH_CATEGORY, *_EACH_OBJECT)


@dataclass(frozen=True, slots=True)
class Question:
    """One sample to be made.

    Attributes:
        task: What is asked.
        image: The place of the image in the file; -1 for an annotation without one.
        annotations: The places of the annotations that answer it.
    """

    task: Task
    image: int
    annotations: tuple[int, ...]


def questions(index: CocoIndex, tasks: Sequence[Task]) -> Iterator[Question]:
    """Yield the questions, image by image; last the annotations without one, to be refused."""
    for image in index.images:
        objects = tuple(
            place for place in image.annotations if not _is_crowd(index.annotations[place])
        )
        for task in tasks:
            yield from _about(index, image, task, objects)
    for place in index.strays:
        yield Question(tasks[0], -1, (place,))


def _about(
    index: CocoIndex, image: CocoImage, task: Task, objects: tuple[int, ...]
) -> Iterator[Question]:
    if task in _EACH_OBJECT or task in CAPTION_TASKS:
        for place in objects:
            yield Question(task, image.number, (place,))
    elif task in _EACH_CATEGORY:
        groups: dict[Any, list[int]] = {}
        for place in objects:
            groups.setdefault(index.annotations[place].get("category_id"), []).append(place)
        for places in groups.values():
            yield Question(task, image.number, tuple(places))
    elif objects or task is not Task.CAPTION_TO_PHRASE_GROUNDING:
        # An image without objects has an answer too: none.
        yield Question(task, image.number, objects)


def _is_crowd(annotation: dict[str, Any]) -> bool:
    return bool(annotation.get("iscrowd"))
