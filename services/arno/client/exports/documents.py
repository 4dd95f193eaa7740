"""FiftyOne's samples and Label Studio's predictions, as the JSON that both import.

Neither package is needed. Sources: FiftyOne, user guide "Loading data", `FiftyOneDataset`, and
`fiftyone.core.labels`; Label Studio, guide "Import pre-annotations".
"""

from __future__ import annotations

from typing import Any

from arno.client.exports.selection import Found, found_in, outlines, size_of, tasks_of
from arno.vocabulary import Answer, ImageSize, Polygon, QuadBox, TextAnswer
from arno.vocabulary.results import InferResult, TaskResult


def to_fiftyone(
    result: InferResult, task: int | str | None = None, *, filepath: str = ""
) -> dict[str, Any]:
    """Return a sample of a `FiftyOneDataset`: a field of labels for each task.

    A field has the task's id as its name, or the task's name where the call gave no id.

    Boxes are `Detections`, outlines and quad boxes `Polylines`, texts `Classification`s. A field
    can be read by `fiftyone.Detections.from_dict` and its like.

    Args:
        result: The result.
        task: A task of it; None takes all.
        filepath: Path of the image; empty takes that of the file that was sent.

    Raises:
        KeyError: There is no such task.
        ArnoError: The named task has no answer, or the size of the image is not known.
    """
    size = size_of(result)
    sample: dict[str, Any] = {
        "filepath": filepath or result.file_name,
        "metadata": {"_cls": "ImageMetadata", "width": size.width_px, "height": size.height_px},
    }
    for outcome in tasks_of(result, task):
        name = _name_of(outcome)
        if name in sample:
            name = f"{name}_{outcome.id}"
        sample[name.replace(".", "_")] = _fiftyone_labels(result, outcome, size)
    return sample


def _name_of(outcome: TaskResult) -> str:
    """Return the id that the caller gave to a task, or the task's name.

    Without one the server counts the tasks, and no field or control is named by a number.
    """
    counted = outcome.id.partition(".")[0].isdecimal()
    return outcome.task.lower() if counted or not outcome.id else outcome.id


def _fiftyone_labels(result: InferResult, outcome: TaskResult, size: ImageSize) -> dict[str, Any]:
    answer = outcome.answer
    if isinstance(answer.value, TextAnswer):
        return _scored({"_cls": "Classification", "label": answer.value.text}, answer.score)
    found = [one for one in found_in(result, outcome.id or None) if one.outcome is outcome]
    if any(outlines(one.region.shape) for one in found):
        lines = [_polyline(one, size) for one in found]
        return {"_cls": "Polylines", "polylines": lines}
    return {"_cls": "Detections", "detections": [_detection(one, size) for one in found]}


def _detection(one: Found, size: ImageSize) -> dict[str, Any]:
    box = one.box
    sides = [
        box.x0 / size.width_px,
        box.y0 / size.height_px,
        (box.x1 - box.x0) / size.width_px,
        (box.y1 - box.y0) / size.height_px,
    ]
    label = {"_cls": "Detection", "label": one.region.label, "bounding_box": sides}
    return _scored(label, one.region.score)


def _polyline(one: Found, size: ImageSize) -> dict[str, Any]:
    box = one.box
    parts = outlines(one.region.shape) or (_corners(box.x0, box.y0, box.x1, box.y1),)
    points = [
        [[point.x / size.width_px, point.y / size.height_px] for point in part.points]
        for part in parts
    ]
    label = {"_cls": "Polyline", "label": one.region.label, "points": points}
    return _scored(label | {"closed": True, "filled": True}, one.region.score)


def _scored(label: dict[str, Any], score: float | None) -> dict[str, Any]:
    return label if score is None else label | {"confidence": score}


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
        shared = {"id": f"region-{number}", "to_name": to_name, **_canvas(size)}
        entries += _label_studio_region(one, size, shared, from_name)
    for outcome in tasks_of(result, task):
        value = outcome.answer.value
        if isinstance(value, TextAnswer) and not any(region.shape for region in value.regions):
            entries.append(_textarea(outcome, value.text, to_name))
    prediction: dict[str, Any] = {"result": entries, "score": _mean_score(result, task)}
    if result.model is not None:
        prediction["model_version"] = result.model.version
    return {"data": {"image": image_url or result.file_name}, "predictions": [prediction]}


def _canvas(size: ImageSize) -> dict[str, Any]:
    return {
        "original_width": size.width_px,
        "original_height": size.height_px,
        "image_rotation": 0,
    }


def _label_studio_region(
    one: Found, size: ImageSize, shared: dict[str, Any], from_name: str
) -> list[dict[str, Any]]:
    region, label = one.region, one.region.label
    scored = shared if region.score is None else shared | {"score": region.score}
    parts = outlines(region.shape)
    if isinstance(region.shape, QuadBox):
        # One region: its place, and what is written there.
        points = _percent(parts[0], size)
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
                    "points": _percent(part, size),
                    "closed": True,
                    "polygonlabels": [label],
                },
            }
            for number, part in enumerate(parts)
        ]
    box = one.box
    value = {
        "x": 100 * box.x0 / size.width_px,
        "y": 100 * box.y0 / size.height_px,
        "width": 100 * (box.x1 - box.x0) / size.width_px,
        "height": 100 * (box.y1 - box.y0) / size.height_px,
        "rotation": 0,
        "rectanglelabels": [label],
    }
    return [scored | {"type": "rectanglelabels", "from_name": from_name, "value": value}]


def _textarea(outcome: TaskResult, text: str, to_name: str) -> dict[str, Any]:
    name = _name_of(outcome)
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


def _percent(part: Polygon, size: ImageSize) -> list[list[float]]:
    return [
        [100 * point.x / size.width_px, 100 * point.y / size.height_px] for point in part.points
    ]


def _corners(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    from arno.vocabulary import Point

    return Polygon((Point(x0, y0), Point(x1, y0), Point(x1, y1), Point(x0, y1)))
