"""The card of a data set: a page of Markdown with its figures beside the paper's, and plots."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from arno.data_engine.blocks import ONE_PROCESS, Workers, over_records
from arno.dataset import Dataset, Granularity, ImageRecord
from arno.dataset.statistics import (
    PAPER,
    PAPER_REGIONS_PER_IMAGE,
    PAPER_TRIPLETS_PER_IMAGE,
    TEXT_COLUMNS,
    Statistics,
)
from arno.dataset.text_analysis import TextAnalyser

CARD_FILE: Final = "README.md"
FIGURES_FILE: Final = "statistics.json"
PLOT_FILE: Final = "statistics.png"
_LABELS_SHOWN: Final = 20
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_DIGEST_SHOWN: Final = 16
_ABSOLUTE: Final = re.compile(r"(?<![^ =:,;])/(?:[^,;:=]*/)?([^/,;:=]+)")
"""An absolute path, also as a part of ``coco:/photos/boxes.json,images=/photos``."""
_NO_CODE: Final = re.compile(r"[<*`|]")
"""What Markdown would take for more than a character."""
_REGIONS_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class _Measuring:
    """Measures records; texts are analysed by a model of spaCy, or counted alone without one."""

    spacy_model: str | None

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[list[ImageRecord]], Statistics]]:
        analyser = None if self.spacy_model is None else TextAnalyser(self.spacy_model)

        def measure(records: list[ImageRecord]) -> Statistics:
            found = Statistics()
            found.add(records, analyser)
            return found

        yield measure


def statistics_of(
    dataset: Dataset,
    spacy_model: str | None,
    *,
    workers: Workers = ONE_PROCESS,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Statistics:
    """Return the figures of a data set; without a model of spaCy, texts are counted alone.

    Raises:
        MissingExtraError: spaCy, its model or Ray is not installed.
    """
    found = Statistics()
    for part in over_records(_Measuring(spacy_model), dataset, workers):
        found.merge(part)
        on_progress(found.image_count, len(dataset))
    return found


def write_card(folder: Path, dataset: Dataset, found: Statistics) -> None:
    """Write the card, its plots, and the figures as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    document = json.dumps(found.document(), indent=2, ensure_ascii=False)
    (folder / FIGURES_FILE).write_text(f"{document}\n", encoding="utf-8")
    (folder / CARD_FILE).write_text(_card(dataset, found), encoding="utf-8")
    _plot(folder / PLOT_FILE, found)


def figure_rows(found: Statistics) -> Iterator[tuple[str, str, str]]:
    """Yield name, figure and the paper's figure, which is empty where it gives none."""
    yield "images", f"{found.image_count:,}", "126 M"
    for grain in Granularity:
        name = grain.replace("_", " ")
        yield f"{name} texts", f"{found.texts[grain]:,}", ""
        means = found.text_means(grain)
        for column, mean, theirs in zip(TEXT_COLUMNS, means, PAPER[grain], strict=False):
            shown = "" if theirs is None else f"{theirs:.2f}"
            yield f"{name}: {column.replace('_', ' ')} a text", f"{mean:.2f}", shown
    for kind, count in sorted(found.kinds.items()):
        yield f"{kind} regions", f"{count:,}", ""
    per_image = f"{found.per_image(found.kinds.total()):.2f}"
    yield "regions an image", per_image, f"{PAPER_REGIONS_PER_IMAGE:.2f}"
    for grain in Granularity:
        per_image = f"{found.per_image(found.triplets[grain]):.2f}"
        paper = f"{PAPER_TRIPLETS_PER_IMAGE[grain]:.2f}"
        yield f"triplets of {grain.replace('_', ' ')} texts an image", per_image, paper
    yield "different category labels", f"{len(found.labels):,}", ""


def _card(dataset: Dataset, found: Statistics) -> str:
    steps = "\n".join(_step(number, step) for number, step in enumerate(dataset.manifest.steps, 1))
    labels = ", ".join(
        f"{_plain(label)} ({count:,})" for label, count in found.labels.most_common(_LABELS_SHOWN)
    )
    annotators = _table(
        ("annotator", "annotations"),
        [(name, f"{count:,}") for name, count in found.annotators.most_common()],
    )
    figures = _table(("", "this data set", "FLD-5B"), list(figure_rows(found)))
    return (
        f"# {_plain(dataset.name)}\n\n"
        f"{found.image_count:,} images annotated in the form of Arno's data sets, version "
        f"{dataset.manifest.version}; digest `{dataset.digest[:_DIGEST_SHOWN]}`.\n\n"
        f"## How it was made\n\n{steps or 'Not noted.'}\n\n"
        f"## Figures\n\nBeside those of Florence-2's FLD-5B (arXiv:2311.06242).\n\n{figures}\n"
        f"![distributions]({PLOT_FILE})\n\n"
        f"Most frequent labels: {labels or 'none'}.\n\n"
        f"## Annotators\n\n{annotators}"
    )


def _step(number: int, step: Mapping[str, Any]) -> str:
    """Return a step as an item of a list: its plain facts in one line, each other in its own."""
    facts = {
        name.replace("_", " "): value
        for name, value in step.items()
        if name not in {"step", "source", "blocked_words"}
    }
    plain = {name: value for name, value in facts.items() if not isinstance(value, Mapping)}
    shown = [step.get("step", "")]
    if "source" in step:
        shown.append(f"of {_source(str(step['source']))}")
    lines = [f"{number}. {' '.join(shown)}{': ' if plain else ''}{_words(plain)}"]
    lines += [
        f"   - {name}: {_words(value) or 'none'}"
        for name, value in facts.items()
        if isinstance(value, Mapping)
    ]
    return _NO_CODE.sub(r"\\\g<0>", "\n".join(lines))


def _source(name: str) -> str:
    """Return the name of a source without the folders that its files are in."""
    return _ABSOLUTE.sub(r"\1", _words(name))


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(
            f"{name} ({_words(one)})" if isinstance(one, Mapping) else f"{name} {_words(one)}"
            for name, one in value.items()
        )
    if isinstance(value, list | tuple):
        return " and ".join(map(_words, value))
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return value[:_DIGEST_SHOWN]
    return f"{value:,}" if isinstance(value, int) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(map(_plain, line))} |\n" for line in lines)


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is in a cell."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _plot(path: Path, found: Statistics) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        page = Figure(figsize=(11, 6), layout="constrained")
        axes = page.subplots(2, 2).flat
        counts = [found.regions_per_image[number] for number in range(_REGIONS_SHOWN + 1)]
        _bars(next(axes), range(len(counts)), counts, "regions of an image", "images")
        _bars(next(axes), _bins(found.scores), found.scores.tolist(), "score", "annotations")
        _bars(next(axes), _bins(found.areas), found.areas.tolist(), "part of the image", "places")
        labels = found.labels.most_common(_LABELS_SHOWN)
        last = next(axes)
        last.barh([label[:24] for label, _ in labels][::-1], [n for _, n in labels][::-1])
        last.set_xlabel("regions of the most frequent labels")
        page.savefig(path, dpi=110)


def _bins(counts: Any) -> list[float]:
    return [(at + 0.5) / len(counts) for at in range(len(counts))]


def _bars(axes: Any, places: Sequence[float], heights: Sequence[int], name: str, unit: str) -> None:
    width = places[1] - places[0] if len(places) > 1 else 1
    axes.bar(places, heights, width=width * 0.9)
    axes.set_xlabel(name)
    axes.set_ylabel(unit)
