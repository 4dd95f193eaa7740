"""Measure whether the scores of regions say how right the regions are.

python -m benchmarks.scores --data world:seed=7,n=200

A region is compared with the true one of the same label that it overlaps best, one to one; without
one its overlap (IoU) is 0. For each formula: COCO's AP, by which it ranks; the calibration error,
which is the mean distance of score and overlap over ten bins of scores; and the median scores of
good and bad regions. Formulas: `published`, the geometric mean of the label's score and that of the
published processors for the place; `label alone`; `uncalibrated`, label times place; `calibrated`,
the same through the model's calibration, if it has one. A reliability diagram shows the last two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Final

import click
from arno.engine.checkpoints.calibration import read_calibration
from arno.engine.checkpoints.folders import find_model_folders
from arno.training.data import open_data
from arno.training.evaluation.answering import DecodingChoice
from arno.training.evaluation.calibration import bins_of, calibration_error, overlaps, raw_score
from arno.training.evaluation.cases import Case
from arno.training.evaluation.figures import nouns_of
from arno.training.evaluation.local import open_model
from arno.training.evaluation.metrics.detection import SeenImage, coco_detection
from arno.training.evaluation.questions import questions_of
from arno.training.evaluation.run import evaluate
from arno.vocabulary import Region, Task
from arno.vocabulary.calibration import ScoreMap

from benchmarks.machine import describe

_DATA: Final = "world:seed=7,n=200"
_TASKS: Final = (
    Task.OD,
    Task.DENSE_REGION_CAPTION,
    Task.OPEN_VOCABULARY_DETECTION,
    Task.CAPTION_TO_PHRASE_GROUNDING,
    Task.OCR_WITH_REGION,
)
_GOOD: Final = 0.8
_BAD: Final = 0.5
_ERROR_MAX: Final = 0.05
_GOOD_MEDIAN: Final = 0.8
_BAD_MEDIAN: Final = 0.35
_DRAWN_MIN: Final = 5
_DRAWN: Final = {"uncalibrated": "tab:orange", "calibrated": "tab:blue"}


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one formula on one task.

    Attributes:
        region_count: Regions of all answers.
        map_50_95: COCO's average precision, ranked by the formula.
        calibration_error: Mean distance of score and overlap over the bins of scores.
        good, bad: Median score where the overlap is at least 0.8, and below 0.5; None without any.
        bad_count: Regions with an overlap below 0.5.
        reliability: Mean score, mean overlap and number of the regions of every tenth of scores.
    """

    task: str
    formula: str
    region_count: int
    map_50_95: float
    calibration_error: float
    good: float | None
    bad: float | None
    bad_count: int
    reliability: list[tuple[float, float, int]]


def _published(region: Region) -> float:
    place = region.official_location_score or 0.0
    return place if region.label_score is None else (region.label_score * place) ** 0.5


def _formulas(score_map: ScoreMap | None) -> dict[str, Callable[[Region], float]]:
    formulas: dict[str, Callable[[Region], float]] = {
        "published": _published,
        "label alone": lambda region: region.label_score or 0.0,
        "uncalibrated": raw_score,
    }
    if score_map is not None:
        formulas["calibrated"] = lambda region: score_map(raw_score(region))
    return formulas


def rows_of(task: Task, cases: Sequence[Case], score_map: ScoreMap | None) -> Iterator[Row]:
    """Yield the figures of every formula on a task's cases."""
    truth = [overlaps(case.regions, case.true_regions) for case in cases]
    for name, formula in _formulas(score_map).items():
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
            reliability=[_tenth(held) for held in bins_of(scored).values()],
        )


def _tenth(held: Sequence[tuple[float, float]]) -> tuple[float, float, int]:
    scores, seen = zip(*held, strict=True)
    return fmean(scores), fmean(seen), len(held)


def measure(data: str, model: str, answers: Path | None) -> list[Row]:
    """Return the figures of a model of this process on data of `arno eval`.

    Args:
        data: As for `arno eval`.
        model: As for `arno eval`.
        answers: Folder that keeps the answers for the next call; None keeps none.
    """
    choice = DecodingChoice()
    asked = questions_of(open_data(data, tasks=_TASKS), tasks=_TASKS)
    answerer = open_model(model, choice, device="cpu")
    try:
        evaluation = evaluate(
            answerer, asked, decoding=choice, nouns=nouns_of(data), folder=answers
        )
    finally:
        answerer.close()
    folder = find_model_folders(model).all[-1]
    maps = read_calibration(folder, evaluation.model.fingerprint).maps
    return [
        row
        for task, judged in evaluation.tasks.items()
        for row in rows_of(task, judged.cases, maps.get(task))
    ]


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the table of docs/scores.md, with the aims and whether they are met."""
    yield (
        "| task, regions | formula | AP[.5:.95] | calibration error | median score, IoU >= 0.8 "
        "| median score, IoU < 0.5 (regions) |"
    )
    yield "| --- | --- | --- | --- | --- | --- |"
    label_only = {row.task: row.map_50_95 for row in rows if row.formula == "label alone"}
    for row in rows:
        judged = row.formula == "calibrated"
        ranks = row.map_50_95 >= label_only[row.task]
        low = (row.bad or 0.0) <= _BAD_MEDIAN
        yield (
            f"| `{row.task}`, {row.region_count} | {row.formula} "
            f"| {row.map_50_95:.3f}{_mark(judged, ranks)} "
            f"| {row.calibration_error:.3f}{_mark(judged, row.calibration_error <= _ERROR_MAX)} "
            f"| {_number(row.good)}{_mark(judged, (row.good or 1.0) >= _GOOD_MEDIAN)} "
            f"| {_number(row.bad)} ({row.bad_count}){_mark(judged, low)} |"
        )
    yield (
        f"| aims | calibrated | at least that of the label alone | <= {_ERROR_MAX} "
        f"| >= {_GOOD_MEDIAN} | <= {_BAD_MEDIAN} |"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _mark(judged: bool, met: bool) -> str:
    return "" if not judged or met else " (not met)"


def draw_reliability(rows: Sequence[Row], file: Path) -> None:
    """Draw the mean overlap of every tenth of scores over their mean score, by task.

    The area of a dot grows with its regions; tenths with fewer than 5 show chance and are left out.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    tasks = list(dict.fromkeys(row.task for row in rows))
    figure, places = pyplot.subplots(
        1, len(tasks), figsize=(3.2 * len(tasks), 3.4), sharey=True, squeeze=False
    )
    for task, place in zip(tasks, places[0], strict=True):
        place.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":")
        for row in rows:
            if row.task == task and row.formula in _DRAWN:
                kept = [tenth for tenth in row.reliability if tenth[2] >= _DRAWN_MIN]
                scores, seen, counts = zip(*kept, strict=True) if kept else ((), (), ())
                place.plot(scores, seen, color=_DRAWN[row.formula], label=row.formula, alpha=0.7)
                sizes = [8 + 120 * count / row.region_count for count in counts]
                place.scatter(scores, seen, s=sizes, color=_DRAWN[row.formula], alpha=0.7)
        place.set(title=task.replace("_", " ").lower(), xlabel="score", xlim=(0, 1), ylim=(0, 1))
        place.title.set_fontsize(8)
    places[0][0].set_ylabel("mean overlap with the truth")
    places[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


@click.command()
@click.option("--data", default=_DATA, show_default=True, help="Data as for `arno eval`.")
@click.option("--model", default="tiny", show_default=True, help="A model as for `arno eval`.")
@click.option(
    "--answers", type=click.Path(path_type=Path), metavar="DIR", help="Keep answers there."
)
@click.option("--diagram", type=click.Path(path_type=Path), metavar="FILE.png")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.json")
def main(
    data: str, model: str, answers: Path | None, diagram: Path | None, out: Path | None
) -> None:
    """Measure, print the table of docs/scores.md, and write figures and diagram."""
    rows = measure(data, model, answers)
    for line in table(rows):
        click.echo(line)
    if diagram is not None:
        draw_reliability(rows, diagram)
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
