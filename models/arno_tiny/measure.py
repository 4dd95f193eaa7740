"""Measure whether a model holds up outside the backgrounds that it was trained on.

Families of backgrounds and distractors that training never draws (`arno.training.world.families`)
are measured beside the test split, with the aims beside the figures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Final

from arno.training.data.world import WorldScenes
from arno.training.evaluation.answering import Answerer, DecodingChoice
from arno.training.evaluation.cases import Case
from arno.training.evaluation.figures import nouns_of
from arno.training.evaluation.local import open_model
from arno.training.evaluation.questions import questions_of
from arno.training.evaluation.run import Judged, evaluate
from arno.training.origin import processor_name, source_commit
from arno.training.world import Split
from arno.vocabulary import Task

_SEED: Final = 0
_SURE_SCORE: Final = 0.3
"""A region with a higher score is taken for found."""
_OD, _OPEN, _GROUNDING = (
    Task.OD,
    Task.OPEN_VOCABULARY_DETECTION,
    Task.CAPTION_TO_PHRASE_GROUNDING,
)


@dataclass(frozen=True, slots=True)
class Row:
    """A figure with its aim.

    Attributes:
        scenes: What it is measured on.
        figure: What it tells.
        value: The figure.
        aim: The least or the largest value that is good enough; None where there is no aim.
        at_most: Whether smaller is better.
    """

    scenes: str
    figure: str
    value: float
    aim: float | None = None
    at_most: bool = False

    @property
    def is_good(self) -> bool:
        """Whether the aim is reached; true without one."""
        if self.aim is None:
            return True
        return self.value <= self.aim if self.at_most else self.value >= self.aim


def measure_held_out(folder: str, scenes: int) -> tuple[Row, ...]:
    """Measure a model, a folder or a name that Arno knows, on so many scenes of each kind."""
    decoding = DecodingChoice()
    answerer = open_model(folder, decoding, device="cpu")
    try:
        return (
            *_found(_asked(answerer, "tiny", scenes), "test split", aimed=False),
            *_found(_asked(answerer, "held-out", scenes), "held-out families", aimed=True),
            *_phantoms(_asked(answerer, "held-out-empty", scenes)),
            *_absent(_asked(answerer, "held-out-absent", scenes)),
        )
    finally:
        answerer.close()


def _asked(answerer: Answerer, world: str, scenes: int) -> Mapping[Task, Judged]:
    source = WorldScenes(
        seed=_SEED, count=scenes, split=Split.TEST, tasks=(_OD, _OPEN, _GROUNDING), world=world
    )
    decoding = DecodingChoice()
    return evaluate(
        answerer, questions_of(source), decoding=decoding, nouns=nouns_of("world:")
    ).tasks


def _found(judged: Mapping[Task, Judged], scenes: str, *, aimed: bool) -> tuple[Row, ...]:
    def row(task: Task, figure: str, aim: float) -> Row:
        value = judged[task].figures.values[figure]
        return Row(scenes, f"{task} {figure}", value, aim if aimed else None)

    return (
        row(_OD, "precision_50", 0.92),
        row(_OD, "recall_50", 0.92),
        row(_OPEN, "precision_50", 0.92),
        row(_OPEN, "recall_50", 0.92),
        row(_GROUNDING, "accuracy_50", 0.90),
        row(_GROUNDING, "box_f1", 0.90),
    )


def _phantoms(judged: Mapping[Task, Judged]) -> tuple[Row, ...]:
    count = mean(len(case.regions) for case in judged[_OD].cases)
    scenes = "held-out families, no object"
    return (Row(scenes, "OD phantoms a scene", count, 0.02, at_most=True),)


def _absent(judged: Mapping[Task, Judged]) -> tuple[Row, ...]:
    """Return what the model makes of phrases that are alone and not in the picture."""
    rows = []
    for task in (_OPEN, _GROUNDING):
        cases = [one for one in judged[task].cases if not one.true_regions]
        best = [_best(case) for case in cases]
        sure = mean(score > _SURE_SCORE for score in best)
        rows += [
            Row("absent phrases", f"{task} mean score", mean(best), _SURE_SCORE, at_most=True),
            Row("absent phrases", f"{task} part above {_SURE_SCORE}", sure),
        ]
    return tuple(rows)


def _best(case: Case) -> float:
    """Return the score of the surest region of an answer, 0 without any."""
    return max((1.0 if one.score is None else one.score for one in case.regions), default=0.0)


def as_table(rows: tuple[Row, ...]) -> str:
    """Return the figures as a table of Markdown."""
    lines = [f"| {row.scenes} | {row.figure} | {row.value:.3f} | {_aim(row)} |" for row in rows]
    return "\n".join(["| scenes | figure | measured | aim |", "| --- | --- | --- | --- |", *lines])


def _aim(row: Row) -> str:
    if row.aim is None:
        return ""
    missed = "" if row.is_good else ", missed"
    return f"{'at most' if row.at_most else 'at least'} {row.aim:g}{missed}"


def write(rows: tuple[Row, ...], file: Path, *, model: str, scenes: int) -> None:
    """Write the figures with what they were measured with, as JSON."""
    measured = {
        "model": model,
        "scenes": scenes,
        "commit": source_commit(),
        "processor": processor_name(),
        "figures": [asdict(row) | {"is_good": row.is_good} for row in rows],
    }
    file.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
