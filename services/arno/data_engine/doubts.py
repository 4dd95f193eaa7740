"""Labels that are likely wrong, by what a model says of the same images: a work list for people.

The scores are those of ObjectLab (Tkachenko, Thyagarajan and Mueller 2023, arXiv:2309.00832), by
cleanlab: a box that the model is sure of and that no label is near (overlooked), a label whose
place the model sees as another class (swapped), a label that the model sees beside it (badly
placed). The lower a score, the likelier the error. They need scores of the model that are high
where it is right: docs/scores.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from arno.data_engine.selection import select
from arno.dataset import Dataset, ImageRecord, RegionKind, RegionText
from arno.errors import InvalidFieldError, MissingExtraError
from arno.ops.atomic_file import write_atomically

DOUBTS_FILE: Final = "doubts.jsonl"
OVERLOOKED, SWAPPED, BADLY_PLACED = "overlooked", "swapped", "badly placed"
_SIDES: Final = 4


@dataclass(frozen=True, slots=True)
class Doubt:
    """A label, or a place without one, that a person should look at.

    Attributes:
        image_id: The image.
        kind: What may be wrong: overlooked, swapped, badly placed.
        score: 0..1; the lower, the likelier.
        text: The label, or what the model says is overlooked.
        box: Where: x0, y0, x1, y1 in pixels.
    """

    image_id: str
    kind: str
    score: float
    text: str
    box: tuple[float, float, float, float]


def find_doubts(labels: Dataset, predictions: Dataset, *, sure: float) -> list[Doubt]:
    """Return the doubts about category regions, the likeliest first.

    Args:
        labels: What is doubted.
        predictions: What a model says of the same images, matched by image id. Regions without a
            score are none of a model: labels that were kept beside its own.
        sure: The score from which the model counts as sure.

    Raises:
        InvalidFieldError: The two have no image in common, or no prediction has a score.
    """
    said = {record.image_id: number for number, record in enumerate(predictions)}
    names: dict[str, int] = {}
    pairs = [
        (record, predictions[said[record.image_id]]) for record in labels if record.image_id in said
    ]
    if not pairs:
        problem = "has no image in common with the labels"
        raise InvalidFieldError(field=str(predictions.folder), problem=problem)
    if not any(_predicted(record) for _, record in pairs):
        problem = "no category region has a score; annotate with a model that says one"
        raise InvalidFieldError(field=str(predictions.folder), problem=problem)
    for record in (one for pair in pairs for one in pair):
        for region in _categories(record):
            names.setdefault(region.text.casefold(), len(names))
    doubts = [doubt for doubt in _doubts(pairs, names, sure) if not np.isnan(doubt.score)]
    return sorted(doubts, key=lambda one: (one.score, one.image_id))


def write_doubts(labels: Dataset, doubts: Sequence[Doubt], out: Path, *, images_max: int) -> int:
    """Write a data set of the images with the likeliest doubts, and these; return its size."""
    worst = list(dict.fromkeys(doubt.image_id for doubt in doubts))[:images_max]
    chosen = frozenset(worst)
    step = {"step": "doubts", "images_max": images_max}
    count = select(labels, out, step, lambda number, record: record.image_id in chosen)
    with (
        write_atomically(out / DOUBTS_FILE) as written,
        written.open("w", encoding="utf-8") as file,
    ):
        for doubt in doubts:
            if doubt.image_id in chosen:
                file.write(json.dumps(asdict(doubt), ensure_ascii=False) + "\n")
    return count


def doubts_by_image(folder: Path) -> dict[str, list[Doubt]]:
    """Return the doubts that are noted in the folder of a data set, by image; none without."""
    path = folder / DOUBTS_FILE
    found: dict[str, list[Doubt]] = {}
    if path.exists():
        with path.open(encoding="utf-8") as file:
            for line in file:
                facts = json.loads(line)
                doubt = Doubt(**{**facts, "box": tuple(facts["box"])})
                found.setdefault(doubt.image_id, []).append(doubt)
    return found


def _doubts(
    pairs: Sequence[tuple[ImageRecord, ImageRecord]], names: Mapping[str, int], sure: float
) -> Iterator[Doubt]:
    try:
        from cleanlab.object_detection import rank
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"doubts about labels need {error.name}: pip install 'arno[data]'", extra="data"
        ) from error
    given: dict[str, Any] = {
        "labels": [_label(record, names) for record, _ in pairs],
        "predictions": [_prediction(record, names) for _, record in pairs],
    }
    overlooked = rank.compute_overlooked_box_scores(**given, high_probability_threshold=sure)
    swapped = rank.compute_swap_box_scores(**given, high_probability_threshold=sure)
    placed = rank.compute_badloc_box_scores(**given)
    for at, (record, predicted) in enumerate(pairs):
        # cleanlab numbers predictions class by class.
        ordered = sorted(_predicted(predicted), key=lambda one: names[one.text.casefold()])
        yield from _named(record, OVERLOOKED, ordered, overlooked[at])
        yield from _named(record, SWAPPED, _categories(record), swapped[at])
        yield from _named(record, BADLY_PLACED, _categories(record), placed[at])


def _named(
    record: ImageRecord, kind: str, regions: Sequence[RegionText], scores: Any
) -> Iterator[Doubt]:
    for region, score in zip(regions, scores, strict=True):
        yield Doubt(record.image_id, kind, float(score), region.text, region.bounds)


def _label(record: ImageRecord, names: Mapping[str, int]) -> dict[str, Any]:
    regions = _categories(record)
    boxes = np.array([one.bounds for one in regions], np.float64).reshape(-1, _SIDES)
    classes = np.array([names[one.text.casefold()] for one in regions], np.int64)
    return {"bboxes": boxes, "labels": classes}


def _prediction(record: ImageRecord, names: Mapping[str, int]) -> Any:
    """Return for each class an array of boxes with scores, as cleanlab takes them."""
    rows: list[list[tuple[float, ...]]] = [[] for _ in names]
    for one in _predicted(record):
        rows[names[one.text.casefold()]].append((*one.bounds, one.provenance.score or 0.0))
    found = np.empty(len(names), dtype=object)
    for number, row in enumerate(rows):
        found[number] = np.array(row, np.float64).reshape(-1, _SIDES + 1)
    return found


def _categories(record: ImageRecord) -> list[RegionText]:
    return [one for one in record.regions if one.kind is RegionKind.CATEGORY]


def _predicted(record: ImageRecord) -> list[RegionText]:
    return [one for one in _categories(record) if one.provenance.score is not None]
