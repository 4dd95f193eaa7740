"""What all exports need of a result: its regions, the size of its image, numbers for its labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from arno.errors import InvalidFieldError
from arno.vocabulary import Box, ImageSize, Polygon, QuadBox, Region, Shape, bounding_box
from arno.vocabulary.results import InferResult, TaskResult


@dataclass(frozen=True, slots=True)
class Found:
    """A region with a place, and the task that found it."""

    outcome: TaskResult
    region: Region

    @property
    def box(self) -> Box:
        """The upright box around it; the model may write an inverted one."""
        box = bounding_box(self.region.shape)
        return Box(
            min(box.x0, box.x1), min(box.y0, box.y1), max(box.x0, box.x1), max(box.y0, box.y1)
        )


def tasks_of(result: InferResult, task: int | str | None) -> tuple[TaskResult, ...]:
    """Return the named task, or all that have an answer.

    Raises:
        KeyError: There is no such task.
        ArnoError: The named task has no answer; this is why.
    """
    if task is None:
        return tuple(outcome for outcome in result if outcome.ok)
    chosen = result[task]
    if chosen.error is not None:
        raise chosen.error
    return (chosen,)


def found_in(result: InferResult, task: int | str | None) -> list[Found]:
    """Return the regions that have a place, in the order of the tasks and of the model.

    Raises:
        KeyError: There is no such task.
        ArnoError: The named task has no answer; this is why.
    """
    return [
        Found(outcome, region)
        for outcome in tasks_of(result, task)
        for region in outcome.regions
        if region.shape
    ]


def size_of(result: InferResult) -> ImageSize:
    """Return the size of the image, in pixels.

    Raises:
        InvalidFieldError: The result does not say: no task came so far as to read the image.
    """
    if result.image is None:
        problem = "the result does not say how large its image is"
        raise InvalidFieldError(field="image", problem=problem)
    return ImageSize(result.image.width_px, result.image.height_px)


def name_of(outcome: TaskResult) -> str:
    """Return the id that the caller gave to a task, or the task's name.

    Without one the server counts the tasks, and no field or control is named by a number.
    """
    counted = outcome.id.partition(".")[0].isdecimal()
    return outcome.task.lower() if counted or not outcome.id else outcome.id


def outlines(shape: Shape) -> tuple[Polygon, ...]:
    """Return the outlines of a shape that is none of boxes; of those none."""
    match shape:
        case Box():
            return ()
        case QuadBox(points):
            return (Polygon(points),)
        case polygons:
            return tuple(polygon for polygon in polygons if len(polygon.points) > 2)


def flat(polygon: Polygon) -> list[float]:
    """Return the corners of an outline as x, y, x, y, ..."""
    return [number for point in polygon.points for number in (point.x, point.y)]


class ClassNames:
    """Numbers of labels: by a given list, or in the order of the alphabet."""

    def __init__(self, given: Sequence[str] | None, labels: Iterable[str]) -> None:
        """Take the given names, or else make them of the labels."""
        self.names = list(dict.fromkeys(given)) if given is not None else sorted(set(labels))
        self._numbers = {name: number for number, name in enumerate(self.names)}

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def number(self, label: str) -> int | None:
        """Return the number of a label from 0; None if it is not in the given list."""
        return self._numbers.get(label)
