"""Refuse answers that do not fit their task or their image."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from arno.errors import InvalidFieldError
from arno.vocabulary import (
    CATALOGUE,
    AnswerKind,
    AnswerValue,
    Box,
    DetectionAnswer,
    GroundingAnswer,
    ImageSize,
    OcrAnswer,
    QuadBox,
    Region,
    SegmentationAnswer,
    Task,
    TextAnswer,
    encode,
)
from arno.vocabulary.regions import corners

# Annotation tools round: a corner may lie this far outside, and counts as on the edge.
_SLACK_PX: Final = 1.0
_KINDS: Final[dict[AnswerKind, type[AnswerValue]]] = {
    AnswerKind.TEXT: TextAnswer,
    AnswerKind.DETECTION: DetectionAnswer,
    AnswerKind.GROUNDING: GroundingAnswer,
    AnswerKind.SEGMENTATION: SegmentationAnswer,
    AnswerKind.OCR: OcrAnswer,
}
_MAY_BE_EMPTY: Final = frozenset({Task.OCR, Task.REGION_TO_OCR})
_UNLABELLED: Final = frozenset(
    {
        Task.REGION_PROPOSAL,
        Task.REFERRING_EXPRESSION_SEGMENTATION,
        Task.REGION_TO_SEGMENTATION,
    }
)


def check_answer(task: Task, value: AnswerValue, size: ImageSize) -> None:
    """Refuse an answer of another task's kind, or one that does not fit the image.

    Raises:
        InvalidFieldError: The answer is invalid; the field is the first invalid part of it.
    """
    kind = CATALOGUE[task].answer_kind
    if not isinstance(value, _KINDS[kind]):
        sent = type(value).__name__
        raise InvalidFieldError(
            field="answer", problem=f"{task} needs another kind", limit=kind.lower(), sent=sent
        )
    if isinstance(value, TextAnswer):
        if not value.text.strip() and task not in _MAY_BE_EMPTY:
            raise InvalidFieldError(field="answer.text", problem="must not be blank")
        return
    if isinstance(value, GroundingAnswer):
        for index, phrase in enumerate(value.phrases):
            place = f"answer.grounding.phrases[{index}]"
            if not phrase.phrase.strip() or not phrase.regions:
                raise InvalidFieldError(field=place, problem="needs a phrase and a region")
            _check_regions(task, phrase.regions, size, place)
    else:
        _check_regions(task, value.regions, size, f"answer.{kind.lower()}")
    try:
        encode(value, size)
    except ValueError as fault:
        raise InvalidFieldError(field=f"answer.{kind.lower()}", problem=str(fault)) from fault


def _check_regions(task: Task, regions: Iterable[Region], size: ImageSize, place: str) -> None:
    for index, region in enumerate(regions):
        field = f"{place}.regions[{index}]"
        if task not in _UNLABELLED and not region.label.strip():
            raise InvalidFieldError(field=f"{field}.label", problem="must not be blank")
        _check_kind(task, region, field)
        _check_shape(region, size, field)


def _check_kind(task: Task, region: Region, field: str) -> None:
    kind = CATALOGUE[task].answer_kind
    outline_too = task is Task.OPEN_VOCABULARY_DETECTION
    fits = {
        AnswerKind.OCR: isinstance(region.shape, QuadBox),
        AnswerKind.SEGMENTATION: isinstance(region.shape, tuple),
    }.get(kind, isinstance(region.shape, Box) or (outline_too and isinstance(region.shape, tuple)))
    if not fits:
        wanted = {AnswerKind.OCR: "quad_box", AnswerKind.SEGMENTATION: "polygons"}.get(kind, "box")
        raise InvalidFieldError(field=field, problem=f"{task} needs another shape", limit=wanted)


def _check_shape(region: Region, size: ImageSize, field: str) -> None:
    shape = region.shape
    points = corners(shape)
    if not points or not all(math.isfinite(value) for p in points for value in (p.x, p.y)):
        raise InvalidFieldError(field=field, problem="needs points with finite coordinates")
    if isinstance(shape, Box) and (shape.x1 <= shape.x0 or shape.y1 <= shape.y0):
        sent = f"{shape.x0:g}, {shape.y0:g}, {shape.x1:g}, {shape.y1:g}"
        raise InvalidFieldError(field=field, problem="empty or inverted", sent=sent)
    if isinstance(shape, tuple) and any(len(polygon.points) < 3 for polygon in shape):
        raise InvalidFieldError(field=field, problem="an outline needs three points")
    for point in points:
        if not (
            -_SLACK_PX <= point.x <= size.width_px + _SLACK_PX
            and -_SLACK_PX <= point.y <= size.height_px + _SLACK_PX
        ):
            raise InvalidFieldError(
                field=field,
                problem="not inside the image",
                limit=f"0, 0, {size.width_px}, {size.height_px}",
                sent=f"{point.x:g}, {point.y:g}",
            )
