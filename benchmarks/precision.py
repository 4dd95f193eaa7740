"""Measure how far bfloat16's answers are from float32's: boxes by their overlap, words by edits.

On the bundled model, since random weights have no opinion: their first two choices are so close
that any rounding changes everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import arno
from arno.vocabulary import Answer, Task, bounding_box, iou
from rapidfuzz.distance import Levenshtein

from benchmarks.ask import Serving
from benchmarks.machine import describe
from benchmarks.pictures import picture

TASKS = (Task.OD, Task.CAPTION)
"""The tasks that the bundled model knows best."""

_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Precision:
    """How much is asked.

    Attributes:
        name: Of the result.
        images: Each with all of `TASKS`.
        dtype: The number format that is compared with float32.
    """

    name: str
    images: int = 100
    dtype: str = "bfloat16"


def measure_precision(work: Precision, serving: Serving) -> dict[str, Any]:
    """Return the differences, ready for JSON."""
    exact, rounded = (_answers(work, serving, dtype) for dtype in ("float32", work.dtype))
    return {
        "kind": "precision",
        "name": work.name,
        "machine": describe(serving.device),
        "dtype": work.dtype,
        "images": work.images,
        "tasks": {task: difference(exact[task], rounded[task]) for task in TASKS},
    }


def difference(exact: Sequence[Answer], rounded: Sequence[Answer]) -> dict[str, float]:
    """Return how far answers are from those that they should be.

    Boxes are compared in the answer's order where both have as many, and count as 0 where one has
    more; edits are those of the raw text, over its length.
    """
    pairs = list(zip(exact, rounded, strict=True))
    overlaps = [overlap for one, other in pairs for overlap in _overlaps(one, other)]
    edits = [
        Levenshtein.distance(one.raw_text, other.raw_text)
        / max(1, len(one.raw_text), len(other.raw_text))
        for one, other in pairs
    ]
    found = {
        "answers": float(len(pairs)),
        "equal_part": mean(one.raw_text == other.raw_text for one, other in pairs),
        "edit_distance_mean": mean(edits),
        "label_equal_part": mean(_labels(one) == _labels(other) for one, other in pairs),
    }
    if overlaps:
        found |= {
            "boxes": float(len(overlaps)),
            "iou_mean": mean(overlaps),
            "iou_90_part": mean(overlap >= 0.9 for overlap in overlaps),
        }
    return found


def _overlaps(one: Answer, other: Answer) -> Iterable[float]:
    mine = [bounding_box(region.shape) for region in one.regions]
    theirs = [bounding_box(region.shape) for region in other.regions]
    yield from (iou(a, b) for a, b in zip(mine, theirs, strict=False))
    yield from [0.0] * abs(len(mine) - len(theirs))


def _labels(answer: Answer) -> list[str]:
    return [region.label for region in answer.regions]


def _answers(work: Precision, serving: Serving, dtype: str) -> dict[Task, list[Answer]]:
    with arno.load(serving.model, device=serving.device, dtype=dtype) as florence:
        images = (picture(number) for number in range(work.images))
        results = list(florence.ask_many(images, *TASKS, max_new_tokens=_TOKENS))
    return {task: [result[task].answer for result in results] for task in TASKS}
