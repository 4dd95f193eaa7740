"""Write the page of the worst cases: one HTML file with its pictures inside."""

from __future__ import annotations

import base64
import heapq
import html
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from arno.cli.figures_table import NAMES
from arno.client.drawing import draw_regions
from arno.errors import ArnoError
from arno.training.evaluation.cases import Case, regions_of
from arno.training.evaluation.run import Evaluation, Judged
from arno.vocabulary import Region, Task, TaskSpec

WORST_FILE: Final = "worst.html"
_CASES_MAX: Final = 6
_SIDE_PX_MAX: Final = 480
_JPEG_QUALITY: Final = 80
_STYLE: Final = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .3rem; }
p.figures, footer, .id { color: #777; margin: 0; } .id { font-size: .8rem; }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1.2rem;
  align-items: start; margin-top: .8rem; }
article { border: 1px solid #8884; border-radius: 8px; padding: .8rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; }
figure { margin: 0; } figcaption { font-size: .8rem; color: #777; }
img { width: 100%; border-radius: 4px; } dl { margin: .6rem 0 0; }
dt { font-size: .8rem; color: #777; } dd { margin: 0 0 .3rem; overflow-wrap: anywhere; }
"""


def write_worst_page(path: Path, evaluation: Evaluation, data: str) -> None:
    """Write, for each task, the cases in which the answer is furthest from the truth."""
    model = evaluation.model
    title = f"{model.name} on {data}: the worst cases"
    path.write_text(
        "<!doctype html>\n<html lang='en'><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style>\n<h1>{html.escape(title)}</h1>\n"
        f"<p class='figures'>model {model.fingerprint[:12]} {html.escape(model.where)}</p>\n"
        + "\n".join(_section(task, judged) for task, judged in evaluation.tasks.items())
        + "</html>\n",
        encoding="utf-8",
        errors="backslashreplace",
    )


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
        return _figure(image, about, "")
    return (
        f"<div class='pair'>{_figure(image, (*about, *said), 'the model')}"
        f"{_figure(image, (*about, *true), 'the truth')}</div>"
    )


def _figure(image: Image.Image, regions: Sequence[Region], name: str) -> str:
    drawn = draw_regions(image, [region for region in regions if region.shape])
    drawn.thumbnail((_SIDE_PX_MAX, _SIDE_PX_MAX))
    file = io.BytesIO()
    drawn.save(file, "JPEG", quality=_JPEG_QUALITY)
    content = base64.b64encode(file.getvalue()).decode()
    return (
        f"<figure><img alt='{name}' src='data:image/jpeg;base64,{content}'>"
        f"<figcaption>{name}</figcaption></figure>"
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
