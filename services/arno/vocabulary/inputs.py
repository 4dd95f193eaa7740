"""Decide whether a task's inputs make sense together, before anything is queued.

One pure function for the gateway, the client and the worker's cascades. Limits on length and count
belong to the gateway's configuration and are not known here.
"""

import math
from collections.abc import Sequence
from typing import Final, NoReturn

from arno.errors import InvalidFieldError
from arno.vocabulary.catalogue import CATALOGUE, ExtraInput
from arno.vocabulary.prompts import CLASS_SEPARATOR
from arno.vocabulary.regions import Box, ImageSize
from arno.vocabulary.task import Task

_LOCATION_START: Final = "<loc_"
_SENT_CHARS_MAX: Final = 80
"""How much of a refused text is quoted: enough to recognise it, too little to fill a log."""

_TEXT_TAKERS: Final = frozenset({ExtraInput.TEXT, ExtraInput.TEXT_OR_CLASSES, ExtraInput.PROMPT})


def check_inputs(
    task: Task,
    *,
    text: str = "",
    classes: Sequence[str] = (),
    region: Box | None = None,
    size: ImageSize | None = None,
) -> None:
    """Refuse inputs that the task cannot use, or lacks.

    Args:
        task: What is asked.
        text: The caption, phrase or whole prompt; blank counts as missing.
        classes: Category names, each without the separator and location tokens.
        region: The box asked about, in pixels.
        size: The size of the image, if it is known yet; else the box may lie anywhere.

    Raises:
        InvalidFieldError: Naming the first field at fault. Not retryable.
    """
    extra_input = CATALOGUE[task].extra_input
    _check_text(task, extra_input, text, classes)
    _check_classes(task, extra_input, text, classes)
    _check_region(task, extra_input, region)
    if region is not None:
        _check_box(region)
        if size is not None:
            _check_inside(region, size)


def _check_text(task: Task, extra_input: ExtraInput, text: str, classes: Sequence[str]) -> None:
    if extra_input not in _TEXT_TAKERS:
        if text:
            _refuse("text", f"{task} takes no text", limit="empty", sent=quoted(text))
        return
    if not text.strip():
        if extra_input is ExtraInput.TEXT_OR_CLASSES and classes:
            return
        wanted = "text or classes" if extra_input is ExtraInput.TEXT_OR_CLASSES else "text"
        _refuse("text", f"{task} needs {wanted}", limit="not blank", sent=quoted(text))
    if extra_input is not ExtraInput.PROMPT and _LOCATION_START in text:
        _refuse("text", "only PROMPT takes location tokens in its text", sent=quoted(text))


def _check_classes(task: Task, extra_input: ExtraInput, text: str, classes: Sequence[str]) -> None:
    if not classes:
        return
    if extra_input is not ExtraInput.TEXT_OR_CLASSES:
        _refuse(
            "classes", f"{task} takes no classes", limit="empty", sent=quoted(", ".join(classes))
        )
    if text.strip():
        _refuse("classes", "give text or classes, not both", sent=quoted(", ".join(classes)))
    for index, name in enumerate(classes):
        field = f"classes[{index}]"
        if not name.strip():
            _refuse(field, "a class must not be blank", limit="not blank", sent=quoted(name))
        if CLASS_SEPARATOR in name or _LOCATION_START in name:
            problem = f"a class must not hold {CLASS_SEPARATOR} or location tokens"
            _refuse(field, problem, sent=quoted(name))


def _check_region(task: Task, extra_input: ExtraInput, region: Box | None) -> None:
    if extra_input is ExtraInput.REGION and region is None:
        _refuse("region", f"{task} asks about one region", limit="one box")
    if extra_input is not ExtraInput.REGION and region is not None:
        _refuse("region", f"{task} takes no region", limit="none", sent=_show(region))


def _check_box(box: Box) -> None:
    if not all(math.isfinite(side) for side in (box.x0, box.y0, box.x1, box.y1)):
        _refuse("region", "every coordinate must be a finite number", sent=_show(box))
    if box.x1 < box.x0 or box.y1 < box.y0:
        _refuse("region", "inverted: x1 or y1 is below x0 or y0", sent=_show(box))
    if box.x1 == box.x0 or box.y1 == box.y0:
        _refuse("region", "empty: it has no width or no height", sent=_show(box))


def _check_inside(box: Box, size: ImageSize) -> None:
    if min(box.x0, box.y0) < 0 or box.x1 > size.width_px or box.y1 > size.height_px:
        limit = f"0, 0, {size.width_px}, {size.height_px}"
        _refuse("region", "not wholly inside the image", limit=limit, sent=_show(box))


def _show(box: Box) -> str:
    return f"{box.x0:g}, {box.y0:g}, {box.x1:g}, {box.y1:g}"


def quoted(text: str) -> str:
    """Return the start of what was sent: enough to recognise it, too little to fill a log."""
    return text if len(text) <= _SENT_CHARS_MAX else f"{text[:_SENT_CHARS_MAX]}..."


def _refuse(
    field: str, problem: str, *, limit: str | None = None, sent: str | None = None
) -> NoReturn:
    raise InvalidFieldError(field=field, problem=problem, limit=limit, sent=sent)
