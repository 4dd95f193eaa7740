"""Pictures of a result: `draw`, and what notebooks show of it by themselves."""

from __future__ import annotations

import base64
import html
import io
from typing import Final

from PIL import Image

from arno.client.drawing import draw
from arno.errors import ArnoError, InvalidFieldError
from arno.images.input import ImageLike
from arno.vocabulary import TextAnswer
from arno.vocabulary.results import InferResult, TaskResult

_SHOWN_SIDE_PX: Final = 800
"""Longest side of a picture in a notebook: its file keeps every picture of every cell."""
_ROWS_MAX: Final = 50


def draw_result(result: InferResult, image: ImageLike | None = None) -> Image.Image:
    """Return the image with every region on it.

    Args:
        result: The result.
        image: The image; None takes the one that was sent.

    Raises:
        InvalidFieldError: The result does not know its image.
        InvalidImageError: The image cannot be decoded here.
    """
    source = result.source if image is None else image
    if source is None:
        problem = "the result does not know its image; give it: result.draw(image)"
        raise InvalidFieldError(field="image", problem=problem)
    return draw(source, result)


def to_png(result: InferResult) -> bytes | None:
    """Return the drawn image as PNG, not larger than a notebook shows it; None without an image."""
    if result.source is None:
        return None
    try:
        picture = draw_result(result)
    except ArnoError:
        # The file has gone meanwhile; a notebook then shows the text.
        return None
    picture.thumbnail((_SHOWN_SIDE_PX, _SHOWN_SIDE_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def to_html(result: InferResult) -> str:
    """Return the drawn image and a table of the answers; labels are escaped."""
    content = to_png(result)
    picture = ""
    if content is not None:
        data = base64.b64encode(content).decode()
        picture = f'<img alt="the image with its regions" src="data:image/png;base64,{data}">'
    rows = [row for outcome in result for row in _rows(outcome)]
    more = f"<p>and {len(rows) - _ROWS_MAX} more</p>" if len(rows) > _ROWS_MAX else ""
    head = "<tr><th>task</th><th>answer</th><th>score</th></tr>"
    return f"<div>{picture}<table>{head}{''.join(rows[:_ROWS_MAX])}</table>{more}</div>"


def _rows(outcome: TaskResult) -> list[str]:
    if outcome.error is not None:
        return [_row(outcome, f"{outcome.error.reason}: {outcome.error.message}", None)]
    answer = outcome.answer
    if isinstance(answer.value, TextAnswer):
        return [_row(outcome, answer.value.text, answer.score)]
    return [_row(outcome, region.label, region.score) for region in outcome.regions]


def _row(outcome: TaskResult, text: str, score: float | None) -> str:
    shown = "" if score is None else f"{score:.2f}"
    cells = (html.escape(cell) for cell in (str(outcome.task), text, shown))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
