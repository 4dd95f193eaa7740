"""Turn the answers of one task into the inputs of a task that follows it.

Pure. A task that takes text follows a text; a task that takes a region follows each region in turn,
best score first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from arno.errors import InputUnavailableError, InvalidFieldError
from arno.vocabulary.answers import Answer, TextAnswer
from arno.vocabulary.catalogue import CATALOGUE, ExtraInput
from arno.vocabulary.regions import Box, ImageSize, Region, area, bounding_box
from arno.vocabulary.spec import TaskSpec

FAN_OUT_DEFAULT: Final = 16
FAN_OUT_LIMIT: Final = 64
"""The most results that one task of a request may have."""


def with_inputs(spec: TaskSpec, answers: Sequence[Answer], size: ImageSize) -> tuple[TaskSpec, ...]:
    """Return the task once for each of its inputs, at least once.

    Of a task that follows several inputs, the n-th has the id ``ID.n``.

    Args:
        spec: The task; it is returned as it is where it follows none.
        answers: The answers of the task that it follows, in the order of their results.
        size: The image, to which regions are cut.

    Raises:
        InputUnavailableError: There is no answer, or the answers hold nothing that this task takes.
        InvalidFieldError: The task takes no input at all.
    """
    if not spec.input_from:
        return (spec,)
    if not answers:
        raise InputUnavailableError(
            f"input_from: task {spec.input_from!r} gave no answer", input_from=spec.input_from
        )
    extra_input = CATALOGUE[spec.task].extra_input
    if extra_input is ExtraInput.NONE:
        raise InvalidFieldError(
            field="input_from", problem=f"{spec.task} takes no input", sent=spec.input_from
        )
    if extra_input is ExtraInput.REGION:
        return _with_regions(spec, answers, size)
    return _with_texts(spec, answers)


def _with_regions(
    spec: TaskSpec, answers: Sequence[Answer], size: ImageSize
) -> tuple[TaskSpec, ...]:
    regions = [region for answer in answers for region in answer.regions]
    boxes = [_cut(bounding_box(region.shape), size) for region in sorted(regions, key=_rank)]
    usable = [box for box in boxes if area(box) > 0]
    if not usable:
        raise _unavailable(spec, "has no regions to follow")
    return tuple(
        _with_input(spec, f"{spec.id}.{n}", region=box)
        for n, box in enumerate(usable[: _limit(spec)])
    )


def _with_texts(spec: TaskSpec, answers: Sequence[Answer]) -> tuple[TaskSpec, ...]:
    texts = [answer.value.text for answer in answers if isinstance(answer.value, TextAnswer)]
    usable = [text for text in texts if text.strip()]
    if not usable:
        raise _unavailable(spec, "has no text to follow")
    if len(answers) == 1:
        return (_with_input(spec, spec.id, text=usable[0]),)
    return tuple(
        _with_input(spec, f"{spec.id}.{n}", text=text)
        for n, text in enumerate(usable[: _limit(spec)])
    )


def _with_input(
    spec: TaskSpec, result_id: str, *, text: str = "", region: Box | None = None
) -> TaskSpec:
    return replace(spec, id=result_id, text=text, classes=(), region=region)


def _rank(region: Region) -> float:
    # Regions without a score come last; sorting is stable, so equals keep the model's order.
    return math.inf if region.score is None else -region.score


def _cut(box: Box, size: ImageSize) -> Box:
    return Box(
        max(0.0, box.x0),
        max(0.0, box.y0),
        min(float(size.width_px), box.x1),
        min(float(size.height_px), box.y1),
    )


def _limit(spec: TaskSpec) -> int:
    return min(spec.fan_out_max or FAN_OUT_DEFAULT, FAN_OUT_LIMIT)


def _unavailable(spec: TaskSpec, problem: str) -> InputUnavailableError:
    return InputUnavailableError(
        f"input_from: the answer of task {spec.input_from!r} {problem}", input_from=spec.input_from
    )
