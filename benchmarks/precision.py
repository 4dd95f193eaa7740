"""Measure how far a quicker number format's answers are from float32's: overlaps and edits.

On the bundled model, since random weights have no opinion: their first two choices are so close
that any rounding changes everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from arno.engine import EngineSettings
from arno.engine.agreement import IOU_MIN, TASKS, answers, labels, overlaps
from arno.vocabulary import Answer
from rapidfuzz.distance import Levenshtein

from benchmarks.ask import Serving
from benchmarks.machine import describe
from benchmarks.pictures import picture


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
    images = [picture(number) for number in range(work.images)]
    exact, rounded = (
        answers(
            EngineSettings.model_validate(
                {"model": serving.model, "device": serving.device, "dtype": dtype}
            ),
            images,
        )
        for dtype in ("float32", work.dtype)
    )
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
    shared = [overlap for one, other in pairs for overlap in overlaps(one, other)]
    edits = [
        Levenshtein.distance(one.raw_text, other.raw_text)
        / max(1, len(one.raw_text), len(other.raw_text))
        for one, other in pairs
    ]
    found = {
        "answers": float(len(pairs)),
        "equal_part": mean(one.raw_text == other.raw_text for one, other in pairs),
        "edit_distance_mean": mean(edits),
        "label_equal_part": mean(labels(one) == labels(other) for one, other in pairs),
    }
    if shared:
        found |= {
            "boxes": float(len(shared)),
            "iou_mean": mean(shared),
            "iou_90_part": mean(overlap >= IOU_MIN for overlap in shared),
        }
    return found
