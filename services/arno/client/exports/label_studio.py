"""Label Studio: results as tasks with predictions, and the places that all its forms share.

Source: Label Studio, guide "Import pre-annotations". Places are in per cent of the image's sides.
"""

from __future__ import annotations

from typing import Any

from arno.client.exports.selection import Found, found_in, name_of, outlines, size_of, tasks_of
from arno.vocabulary import Answer, Box, ImageSize, Polygon, QuadBox, TextAnswer
from arno.vocabulary.results import InferResult, TaskResult


def to_label_studio(
    result: InferResult,
    task: int | str | None = None,
    *,
    image_url: str = "",
    from_name: str = "label",
    to_name: str = "image",
) -> dict[str, Any]:
    """Return a task of Label Studio with one prediction, ready to be imported.

    Boxes are `rectanglelabels`, outlines `polygonlabels`, quad boxes a polygon with its text, and
    texts of the whole image a `textarea` named by the task.

    Args:
        result: The result.
        task: A task of it; None takes all.
        image_url: What `$image` of the label config gets; empty takes the file that was sent.
        from_name: Name of the control with the labels.
        to_name: Name of the image's tag.

    Raises:
        KeyError: There is no such task.
        ArnoError: The named task has no answer, or the size of the image is not known.
    """
    size = size_of(result)
    entries: list[dict[str, Any]] = []
    for number, one in enumerate(found_in(result, task)):
        shared = {"id": f"region-{number}", "to_name": to_name, **canvas(size)}
        entries += _label_studio_region(one, size, shared, from_name)
    for outcome in tasks_of(result, task):
        value = outcome.answer.value
        if isinstance(value, TextAnswer) and not any(region.shape for region in value.regions):
            entries.append(_textarea(outcome, value.text, to_name))
    prediction: dict[str, Any] = {"result": entries, "score": _mean_score(result, task)}
    if result.model is not None:
        prediction["model_version"] = result.model.version
    return {"data": {"image": image_url or result.file_name}, "predictions": [prediction]}


def _label_studio_region(
    one: Found, size: ImageSize, shared: dict[str, Any], from_name: str
) -> list[dict[str, Any]]:
    region, label = one.region, one.region.label
    scored = shared if region.score is None else shared | {"score": region.score}
    parts = outlines(region.shape)
    if isinstance(region.shape, QuadBox):
        # One region: its place, and what is written there.
        points = points_of(parts[0], size)
        place = {"points": points, "closed": True}
        return [
            scored | {"type": "polygon", "from_name": "place", "value": place},
            scored
            | {
                "type": "textarea",
                "from_name": "transcription",
                "value": {**place, "text": [label]},
            },
        ]
    if parts:
        return [
            scored
            | {
                "id": f"{shared['id']}-{number}" if number else shared["id"],
                "type": "polygonlabels",
                "from_name": from_name,
                "value": {
                    "points": points_of(part, size),
                    "closed": True,
                    "polygonlabels": [label],
                },
            }
            for number, part in enumerate(parts)
        ]
    value = {**rectangle_of(one.box, size), "rectanglelabels": [label]}
    return [scored | {"type": "rectanglelabels", "from_name": from_name, "value": value}]


def _textarea(outcome: TaskResult, text: str, to_name: str) -> dict[str, Any]:
    name = name_of(outcome)
    return {
        "id": f"text-{outcome.id or name}",
        "type": "textarea",
        "from_name": name,
        "to_name": to_name,
        "value": {"text": [text]},
    }


def _mean_score(result: InferResult, task: int | str | None) -> float:
    """Return what Label Studio sorts its tasks by: the mean of the answers' scores, 0 without."""
    answers: list[Answer] = [outcome.answer for outcome in tasks_of(result, task)]
    scores = [answer.score for answer in answers if answer.score is not None]
    return sum(scores) / len(scores) if scores else 0.0


def canvas(size: ImageSize) -> dict[str, Any]:
    """Return what each entry says of its image."""
    return {
        "original_width": size.width_px,
        "original_height": size.height_px,
        "image_rotation": 0,
    }


def rectangle_of(box: Box, size: ImageSize) -> dict[str, Any]:
    """Return the place of an upright box."""
    x0, x1 = _percent(box.x0, size.width_px), _percent(box.x1, size.width_px)
    y0, y1 = _percent(box.y0, size.height_px), _percent(box.y1, size.height_px)
    return {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "rotation": 0}


def points_of(outline: Polygon, size: ImageSize) -> list[list[float]]:
    """Return the corners of an outline."""
    return [
        [_percent(point.x, size.width_px), _percent(point.y, size.height_px)]
        for point in outline.points
    ]


def _percent(place_px: float, length_px: int) -> float:
    # Bins end at the image's edge, and a rounding beyond it would be refused.
    return min(max(100.0 * place_px / length_px, 0.0), 100.0)
