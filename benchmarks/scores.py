"""Measure whether the scores of regions say how right the regions are.

python -m benchmarks.scores --data world:seed=7,n=200

A region is compared with the true one of the same label that it overlaps best, one to one; without
one its overlap (IoU) is 0. For each formula: COCO's AP, by which it ranks; the calibration error,
which is the mean distance of score and overlap over ten bins of scores; and the median scores of
good and bad regions. Formulas: `published`, the geometric mean of the label's score and that of the
published processors for the place; `label` alone; `score`, what answers carry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

import click
from arno.training.data import open_data
from arno.training.evaluation.answering import DecodingChoice
from arno.training.evaluation.cases import Case
from arno.training.evaluation.figures import nouns_of
from arno.training.evaluation.local import open_model
from arno.training.evaluation.metrics.detection import SeenImage, coco_detection
from arno.training.evaluation.metrics.matching import match, same_label
from arno.training.evaluation.questions import questions_of
from arno.training.evaluation.run import evaluate
from arno.vocabulary import Region, Task

from benchmarks.machine import describe

_DATA: Final = "world:seed=7,n=200"
_TASKS: Final = (
    Task.OD,
    Task.DENSE_REGION_CAPTION,
    Task.OPEN_VOCABULARY_DETECTION,
    Task.CAPTION_TO_PHRASE_GROUNDING,
    Task.OCR_WITH_REGION,
)
_BIN_COUNT: Final = 10
_GOOD: Final = 0.8
_BAD: Final = 0.5
_ANY_OVERLAP: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one formula on one task.

    Attributes:
        region_count: Regions of all answers.
        map_50_95: COCO's average precision, ranked by the formula.
        calibration_error: Mean distance of score and overlap over the bins of scores.
        good, bad: Median score where the overlap is at least 0.8, and below 0.5; None without any.
        bad_count: Regions with an overlap below 0.5.
    """

    task: str
    formula: str
    region_count: int
    map_50_95: float
    calibration_error: float
    good: float | None
    bad: float | None
    bad_count: int


def _published(region: Region) -> float:
    place = region.official_location_score or 0.0
    return place if region.label_score is None else (region.label_score * place) ** 0.5


_FORMULAS: Final[dict[str, Callable[[Region], float]]] = {
    "published": _published,
    "label": lambda region: region.label_score or 0.0,
    "score": lambda region: region.score or 0.0,
}


def overlaps(found: Sequence[Region], true: Sequence[Region]) -> list[float]:
    """Return the overlap of every found region with its own true one, or 0."""
    pairs = match(found, true, may_match=same_label, overlap_min=_ANY_OVERLAP)
    by_place = {pair.found: pair.overlap for pair in pairs}
    return [by_place.get(place, 0.0) for place in range(len(found))]


def calibration_error(scored: Sequence[tuple[float, float]]) -> float:
    """Return the mean distance of score and overlap over bins of scores, weighted by their size."""
    bins: dict[int, list[tuple[float, float]]] = {}
    for score, overlap in scored:
        bins.setdefault(min(int(score * _BIN_COUNT), _BIN_COUNT - 1), []).append((score, overlap))
    distances = (abs(sum(score - overlap for score, overlap in held)) for held in bins.values())
    return sum(distances) / len(scored) if scored else 0.0


def rows_of(task: Task, cases: Sequence[Case]) -> Iterator[Row]:
    """Yield the figures of every formula on a task's cases."""
    truth = [overlaps(case.regions, case.true_regions) for case in cases]
    for name, formula in _FORMULAS.items():
        images = [
            SeenImage(
                case.question.size,
                case.true_regions,
                [replace(region, score=formula(region)) for region in case.regions],
            )
            for case in cases
        ]
        scored = [
            (region.score or 0.0, overlap)
            for image, found in zip(images, truth, strict=True)
            for region, overlap in zip(image.found, found, strict=True)
        ]
        good = [score for score, overlap in scored if overlap >= _GOOD]
        bad = [score for score, overlap in scored if overlap < _BAD]
        yield Row(
            task=str(task),
            formula=name,
            region_count=len(scored),
            map_50_95=coco_detection(images).map_50_95,
            calibration_error=calibration_error(scored),
            good=median(good) if good else None,
            bad=median(bad) if bad else None,
            bad_count=len(bad),
        )


def measure(data: str, model: str) -> list[Row]:
    """Return the figures of a model of this process on data of `arno eval`."""
    choice = DecodingChoice()
    asked = questions_of(open_data(data, tasks=_TASKS), tasks=_TASKS)
    answerer = open_model(model, choice, device="cpu")
    try:
        evaluation = evaluate(answerer, asked, decoding=choice, nouns=nouns_of(data))
    finally:
        answerer.close()
    return [row for task, judged in evaluation.tasks.items() for row in rows_of(task, judged.cases)]


@click.command()
@click.option("--data", default=_DATA, show_default=True, help="Data as for `arno eval`.")
@click.option("--model", default="tiny", show_default=True, help="A model as for `arno eval`.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.json")
def main(data: str, model: str, out: Path | None) -> None:
    """Measure, print the table of docs/scores.md, and write the figures."""
    rows = measure(data, model)
    for row in rows:
        good, bad = ("-" if one is None else f"{one:.2f}" for one in (row.good, row.bad))
        click.echo(
            f"| {row.task} | {row.formula} | {row.region_count} | {row.map_50_95:.3f} "
            f"| {row.calibration_error:.3f} | {good} | {bad} ({row.bad_count}) |"
        )
    if out is not None:
        figures = {
            "machine": describe("cpu"),
            "data": data,
            "model": model,
            "rows": [asdict(row) for row in rows],
        }
        out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
