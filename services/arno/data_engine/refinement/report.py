"""The reports of a refinement: a table of all rounds, and a page of each with pictures."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from arno.data_engine.annotators.annotator import LIMITS
from arno.data_engine.filtering import FILTER_PAGE
from arno.data_engine.page import figure, table, write_page
from arno.data_engine.refinement.rounds import KEPT, MERGED, Materials
from arno.data_engine.refinement.state import Round, State
from arno.dataset import Dataset, ImageRecord, RegionKind
from arno.errors import ArnoError
from arno.images.decode import decode_image
from arno.vocabulary import Region

TABLE_FILE: Final = "README.md"
PAGE_FILE: Final = "report.html"
_PICTURES_MAX: Final = 24


def write_reports(materials: Materials, state: State) -> None:
    """Write the table of the rounds, and the page of the last."""
    (materials.settings.out / TABLE_FILE).write_text(_document(materials, state), encoding="utf-8")
    last = state.rounds[-1]
    folder = materials.folder(last.number)
    folder.mkdir(exist_ok=True)  # round 0 without filters has no other file
    write_page(
        folder / PAGE_FILE,
        f"Round {last.number} of {Path(materials.settings.data).name}",
        _page(materials, state, last),
    )


def round_rows(state: State) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of all rounds."""
    measured = [(task, name) for task, name in _main_figures(state)]
    agreed = list(state.rounds[0].agreement)
    head = ["round", "images", "texts", "regions", "held-out"]
    head += [f"{task} {name}" for task, name in measured]
    head += [f"data: {name.replace('_', ' ')}" for name in agreed]
    rows = []
    for one in state.rounds:
        row = [str(one.number), *(f"{one.data[name]:,}" for name in ("images", "texts", "regions"))]
        row.append("" if one.held_out is None else f"{one.held_out:.3f}")
        found = (one.figures.get(task, {}).get(name) for task, name in measured)
        row += ["" if value is None else f"{value:.3f}" for value in found]
        row += [f"{one.agreement[name]:.3f}" for name in agreed]
        rows.append(row)
    return head, rows


def _main_figures(state: State) -> Iterator[tuple[str, str]]:
    """Yield each task with the name of its main figure."""
    for task, values in state.rounds[-1].figures.items():
        yield task, next(iter(values))


def _document(materials: Materials, state: State) -> str:
    head, rows = round_rows(state)
    lines = [head, ["---:"] * len(head), *rows]
    shown = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    best = state.best
    ended = f"Ended: {state.ended}.\n\n" if state.ended else ""
    kept = "" if best is None else f"The best round is {best.number}: `best` links to it.\n\n"
    data = Path(materials.settings.data).name
    return (
        f"# Rounds of {data}\n\n{kept}{ended}{shown}\n"
        "Round 0 is the data set before any training. `held-out` is the mean over tasks of how "
        "good each answer to held-out questions is, 0 to 1; it decides which round is the best. "
        "Figures of `data` compare what is trained on next with the truth.\n\n"
        f"Each round has its own page: `round-N/{PAGE_FILE}`.\n"
    )


def _page(materials: Materials, state: State, last: Round) -> str:
    facts = f"{last.seconds:,.0f} s"
    if (materials.folder(last.number) / KEPT / FILTER_PAGE).exists():
        facts += f" · <a href='{KEPT}/{FILTER_PAGE}'>what the filter dropped</a>"
    parts = [f"<p class='figures'>{facts}</p>\n", table(*round_rows(state))]
    if last.figures:
        named = (
            (f"{task}: {name}", f"{value:.3f}")
            for task, values in last.figures.items()
            for name, value in values.items()
        )
        parts += ["<h2>Held-out questions</h2>\n", table(("figure", "value"), named)]
    parts.append(_changes(materials, last))
    return "".join(parts)


def _changes(materials: Materials, last: Round) -> str:
    """Show images whose annotations are not those of the labels any more, side by side."""
    folder = materials.folder(last.number)
    source = folder / KEPT if materials.settings.filters else folder / MERGED
    if last.number == 0 or not source.exists():
        return ""
    now = Dataset(source)
    places = {record.image_id: number for number, record in enumerate(now)}
    shown: list[str] = []
    for record in materials.labels:
        number = places.get(record.image_id)
        after = None if number is None else now[number]
        if after is not None and _said(record) != _said(after):
            shown.append(_pair(materials.labels, record, after))
        if len(shown) == _PICTURES_MAX:
            break
    head = "<h2>Changed</h2>\n<p class='figures'>The labels, and what is trained on next.</p>\n"
    return f"{head}<div class='cases'>{''.join(shown)}</div>\n" if shown else ""


def _pair(labels: Dataset, before: ImageRecord, after: ImageRecord) -> str:
    path = labels.image_path(before)
    try:
        image: Image.Image = decode_image(path.read_bytes(), LIMITS, field=str(path)).picture
    except (ArnoError, OSError) as error:
        return f"<article><p>{html.escape(str(error))}</p></article>"
    pictures = figure(image, _regions(before), "labels") + figure(image, _regions(after), "now")
    texts = "".join(
        f"<dt>{name}</dt><dd>{html.escape(' / '.join(text.text for text in record.texts))}</dd>"
        for name, record in (("labels", before), ("now", after))
    )
    return (
        f"<article><div class='pair'>{pictures}</div><dl>{texts}</dl>"
        f"<p class='id'>{html.escape(before.image_id)}</p></article>"
    )


def _regions(record: ImageRecord) -> Sequence[Region]:
    return [
        Region(one.text, one.shape) for one in record.regions if one.kind is RegionKind.CATEGORY
    ]


def _said(record: ImageRecord) -> tuple[list[str], list[str]]:
    regions = sorted(one.text for one in record.regions if one.kind is RegionKind.CATEGORY)
    return regions, sorted(text.text for text in record.texts)
