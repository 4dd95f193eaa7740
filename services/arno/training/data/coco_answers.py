"""Write the answer to a question about a COCO image from its annotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from arno.errors import InvalidFieldError
from arno.training.data.checks import check_answer
from arno.training.data.coco_index import CocoIndex
from arno.training.data.coco_questions import CAPTION_TASKS, Question
from arno.training.data.outlines import outlines_of
from arno.vocabulary import (
    AnswerValue,
    Box,
    DetectionAnswer,
    GroundedPhrase,
    GroundingAnswer,
    ImageSize,
    Region,
    SegmentationAnswer,
    Task,
    TaskSpec,
    TextAnswer,
    check_inputs,
)

_SIDES = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """A question in the form of a task, and its answer."""

    spec: TaskSpec
    answer: AnswerValue


@dataclass(frozen=True, slots=True)
class _Object:
    """One annotation, by its place in the file."""

    place: int
    annotation: dict[str, Any]
    index: CocoIndex
    size: ImageSize

    @property
    def field(self) -> str:
        return f"annotations[{self.place}]"

    def label(self) -> str:
        number = self.annotation.get("category_id")
        label = self.index.labels.get(number, "") if isinstance(number, int) else ""
        if not label:
            raise InvalidFieldError(
                field=f"{self.field}.category_id", problem="no such category", sent=str(number)
            )
        return label

    def box(self) -> Box:
        sides = self.annotation.get("bbox")
        if (
            not isinstance(sides, list)
            or len(sides) != _SIDES
            or not all(isinstance(side, int | float) for side in sides)
        ):
            raise InvalidFieldError(
                field=f"{self.field}.bbox",
                problem="needs four numbers",
                limit="[x, y, width, height]",
                sent=str(sides),
            )
        x, y, width, height = sides
        box = Box(x, y, x + width, y + height)
        # Checked here, because the message needs the annotation.
        try:
            check_answer(Task.OD, DetectionAnswer((Region("box", box),)), self.size)
        except InvalidFieldError as error:
            raise InvalidFieldError(
                field=f"{self.field}.bbox",
                problem=error.problem,
                limit=error.metadata.get("limit"),
                sent=str(sides),
            ) from error
        return box

    def boxed(self) -> Region:
        return Region(self.label(), self.box())

    def masked(self) -> Region:
        field = f"{self.field}.segmentation"
        region = Region("", outlines_of(self.annotation.get("segmentation", []), self.size, field))
        try:
            check_answer(Task.REGION_TO_SEGMENTATION, SegmentationAnswer((region,)), self.size)
        except InvalidFieldError as error:
            raise error.renamed(field) from error
        return region


def answer_to(question: Question, index: CocoIndex, size: ImageSize) -> Asked:
    """Return the question and its answer; boxes from left to right, so that there is one order.

    Raises:
        InvalidFieldError: Naming the annotation at fault.
    """
    objects = [
        _Object(place, index.annotations[place], index, size) for place in question.annotations
    ]
    task = question.task
    if task in CAPTION_TASKS:
        asked = Asked(TaskSpec(task), TextAnswer(_caption(objects[0])))
    elif task in (Task.OD, Task.REGION_PROPOSAL):
        asked = Asked(TaskSpec(task), DetectionAnswer(_boxed(objects, named=task is Task.OD)))
    elif task is Task.CAPTION_TO_PHRASE_GROUNDING:
        asked = _grounded(objects)
    elif task in (Task.OPEN_VOCABULARY_DETECTION, Task.REFERRING_EXPRESSION_SEGMENTATION):
        asked = _named(task, objects)
    else:
        asked = _region_asked(task, objects[0])
    spec = asked.spec
    check_inputs(task, text=spec.text, classes=spec.classes, region=spec.region)
    check_answer(task, asked.answer, size)
    return asked


def crowds_in(question: Question, index: CocoIndex, size: ImageSize) -> tuple[Region, ...]:
    """Return the regions of the crowds that a question is about.

    Raises:
        InvalidFieldError: Naming the annotation at fault.
    """
    return tuple(
        _Object(place, index.annotations[place], index, size).boxed() for place in question.crowds
    )


def _caption(found: _Object) -> str:
    caption = found.annotation.get("caption")
    if not isinstance(caption, str) or not caption.strip():
        raise InvalidFieldError(field=f"{found.field}.caption", problem="must not be blank")
    return caption.strip()


def _boxed(objects: list[_Object], *, named: bool) -> tuple[Region, ...]:
    regions = [found.boxed() for found in objects]
    return tuple(
        region if named else Region("", region.shape)
        for region in sorted(regions, key=_reading_order)
    )


def _reading_order(region: Region) -> tuple[float, float]:
    if not isinstance(region.shape, Box):
        raise TypeError("only boxes are sorted")
    return region.shape.x0, region.shape.y0


def _grounded(objects: list[_Object]) -> Asked:
    phrases: dict[str, list[Region]] = {}
    for region in _boxed(objects, named=True):
        phrases.setdefault(region.label, []).append(region)
    spec = TaskSpec(Task.CAPTION_TO_PHRASE_GROUNDING, classes=tuple(phrases))
    grounded = (GroundedPhrase(name, tuple(found)) for name, found in phrases.items())
    return Asked(spec, GroundingAnswer(tuple(grounded)))


def _named(task: Task, objects: list[_Object]) -> Asked:
    name = objects[0].label()
    if task is Task.OPEN_VOCABULARY_DETECTION:
        return Asked(TaskSpec(task, text=name), DetectionAnswer(_boxed(objects, named=True)))
    masks = tuple(found.masked() for found in objects)
    return Asked(TaskSpec(task, text=name), SegmentationAnswer(masks))


def _region_asked(task: Task, found: _Object) -> Asked:
    spec = TaskSpec(task, region=found.box())
    if task is Task.REGION_TO_CATEGORY:
        return Asked(spec, TextAnswer(found.label()))
    return Asked(spec, SegmentationAnswer((found.masked(),)))
