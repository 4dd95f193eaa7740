"""Write the page of the worst cases: one HTML file with its pictures inside."""

from __future__ import annotations

import heapq
import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from arno.cli.eval.figures_table import NAMES
from arno.data_engine.page import figure, write_page
from arno.errors import ArnoError
from arno.training.evaluation.cases import Case, regions_of
from arno.training.evaluation.run import Evaluation, Judged
from arno.vocabulary import Region, Task, TaskSpec

WORST_FILE: Final = "worst.html"
_CASES_MAX: Final = 6


def write_worst_page(path: Path, evaluation: Evaluation, data: str) -> None:
    """Write, for each task, the cases in which the answer is furthest from the truth."""
    model = evaluation.model
    title = f"{model.name} on {data}: the worst cases"
    about = html.escape(f"model {model.fingerprint[:12]} {model.where}")
    sections = "\n".join(_section(task, judged) for task, judged in evaluation.tasks.items())
    write_page(path, title, f"<p class='figures'>{about}</p>\n{sections}")


def _section(task: Task, judged: Judged) -> str:
    figures = ", ".join(
        f"{NAMES[name]} {value:.3f}" for name, value in judged.figures.values.items()
    )
    goodness = judged.figures.goodness
    places = heapq.nsmallest(_CASES_MAX, range(len(goodness)), key=goodness.__getitem__)
    articles = "\n".join(_article(judged.cases[place], goodness[place]) for place in places)
    return (
        f"<h2>{task}</h2>\n<p class='figures'>{len(goodness)} questions: {figures}</p>\n"
        f"<div class='cases'>\n{articles}\n</div>"
    )


def _article(case: Case, goodness: float) -> str:
    question = case.question
    rows = "".join(
        f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in _rows(case) if text
    )
    return (
        f"<article>{_pictures(case)}<dl>{rows}</dl>"
        f"<p class='id'>{html.escape(question.question_id)}: {goodness:.2f} of 1</p></article>"
    )


def _pictures(case: Case) -> str:
    try:
        image = case.question.open_image()
    except ArnoError as error:
        return f"<p>{html.escape(error.message)}</p>"
    asked = case.question.spec.region
    about = () if asked is None else (Region("asked about", asked),)
    said, true = case.regions, regions_of(case.question.truths[0])
    if not said and not true:
        return figure(image, about, "")
    return (
        f"<div class='pair'>{figure(image, (*about, *said), 'the model')}"
        f"{figure(image, (*about, *true), 'the truth')}</div>"
    )


def _rows(case: Case) -> Iterator[tuple[str, str]]:
    yield "asked", _asked(case.question.spec)
    if case.said is None:
        yield "said", "(the model failed)"
    elif any(case.true_texts):
        yield "said", case.text or "(nothing)"
        yield "true", " / ".join(case.true_texts)
    else:
        yield "said", _labels(case.regions)
        yield "true", _labels(case.true_regions)


def _asked(spec: TaskSpec) -> str:
    return spec.text or ", ".join(spec.classes)


def _labels(regions: Sequence[Region]) -> str:
    return ", ".join(region.label or "(a place)" for region in regions) or "(nothing)"
