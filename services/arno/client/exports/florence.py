"""The dictionary that transformers' Florence-2 processor makes of an answer.

Code written for `processor.post_process_generation(...)`, such as `sv.Detections.from_vlm`, takes
it. Source of the keys: transformers, `Florence2Processor.post_process_generation`.

Stands alone: one foreign format a file.
"""

from __future__ import annotations

from typing import Any, Final

from arno.client.exports.selection import tasks_of
from arno.vocabulary import (
    CATALOGUE,
    Answer,
    AnswerKind,
    Box,
    Polygon,
    QuadBox,
    Region,
    Task,
)
from arno.vocabulary.regions import corners
from arno.vocabulary.results import InferResult

_MARKERS: Final = ("<s>", "</s>", "<pad>")


def to_florence_dict(result: InferResult, task: int | str | None = None) -> dict[str, Any]:
    """Return the answers as `{"<OD>": {"bboxes": ..., "labels": ...}}`, a key a task.

    Of several answers to one task the first is taken. Places are Arno's, in floating-point pixels;
    docs/parsing-differences.md says where they differ from the reference's.

    Raises:
        KeyError: There is no such task.
        ArnoError: The named task has no answer; this is why.
    """
    made: dict[str, Any] = {}
    for outcome in tasks_of(result, task):
        made.setdefault(f"<{outcome.task}>", _content(outcome.task, outcome.answer))
    return made


def _content(task: Task, answer: Answer) -> str | dict[str, Any]:
    regions = answer.regions
    if task is Task.OPEN_VOCABULARY_DETECTION:
        boxed = [region for region in regions if isinstance(region.shape, Box)]
        outlined = [region for region in regions if isinstance(region.shape, tuple)]
        return {
            "bboxes": list(map(_numbers, boxed)),
            "bboxes_labels": [region.label for region in boxed],
            "polygons": list(map(_polygons, outlined)),
            "polygons_labels": [region.label for region in outlined],
        }
    labels = [region.label for region in regions]
    match CATALOGUE[task].answer_kind:
        case AnswerKind.TEXT:
            return _text(answer)
        case AnswerKind.SEGMENTATION:
            return {"polygons": list(map(_polygons, regions)), "labels": labels}
        case AnswerKind.OCR:
            return {"quad_boxes": list(map(_numbers, regions)), "labels": labels}
        case _:
            return {"bboxes": list(map(_numbers, regions)), "labels": labels}


def _text(answer: Answer) -> str:
    # With its location tokens, as the reference leaves them in.
    text = answer.raw_text
    for marker in _MARKERS:
        text = text.replace(marker, "")
    return text.strip()


def _numbers(region: Region) -> list[float]:
    match region.shape:
        case Box(x0, y0, x1, y1):
            return [x0, y0, x1, y1]
        case _:
            return [number for point in corners(region.shape) for number in (point.x, point.y)]


def _polygons(region: Region) -> list[list[float]]:
    parts = region.shape if isinstance(region.shape, tuple) else _as_outline(region.shape)
    return [[number for point in part.points for number in (point.x, point.y)] for part in parts]


def _as_outline(shape: Box | QuadBox) -> tuple[Polygon, ...]:
    return (Polygon(corners(shape)),)
