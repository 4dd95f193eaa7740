"""FiftyOne: a sample of a `FiftyOneDataset`, as its JSON, without its package.

Sources: FiftyOne, user guide "Loading data", `FiftyOneDataset`, and `fiftyone.core.labels`.
"""

from __future__ import annotations

from typing import Any

from arno.client.exports.selection import Found, found_in, name_of, outlines, size_of, tasks_of
from arno.vocabulary import ImageSize, Polygon, TextAnswer
from arno.vocabulary.regions import corners
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
        name = name_of(outcome)
        if name in sample:
            name = f"{name}_{outcome.id}"
        sample[name.replace(".", "_")] = _fiftyone_labels(result, outcome, size)
    return sample


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
    parts = outlines(one.region.shape) or (Polygon(corners(one.box)),)
    points = [
        [[point.x / size.width_px, point.y / size.height_px] for point in part.points]
        for part in parts
    ]
    label = {"_cls": "Polyline", "label": one.region.label, "points": points}
    return _scored(label | {"closed": True, "filled": True}, one.region.score)


def _scored(label: dict[str, Any], score: float | None) -> dict[str, Any]:
    return label if score is None else label | {"confidence": score}
