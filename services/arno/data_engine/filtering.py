"""Filter a whole data set, count what each rule dropped, and show examples on a page."""

from __future__ import annotations

import contextlib
import html
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from PIL import Image

from arno.data_engine.blocks import EngineName, Workers, over_records
from arno.data_engine.page import figure, table, write_page
from arno.dataset import Dataset, DatasetWriter, ImageRecord
from arno.dataset.filters.judge import Dropped, Filter, Filtered
from arno.dataset.filters.settings import FilterSettings
from arno.dataset.records import Place, RegionText, Text, Triplet
from arno.dataset.text_analysis import TextAnalyser, find_spacy_model
from arno.errors import ArnoError
from arno.images.decode import ImageLimits, decode_image
from arno.vocabulary import Region

FILTER_PAGE: Final = "filter.html"
KINDS: Final = ("texts", "regions", "triplets")
_EXAMPLES_MAX: Final = 6
_TEXT_SHOWN_MAX: Final = 300
_LIMITS: Final = ImageLimits(bytes_max=1 << 30, pixels_max=400_000_000)


@dataclass(slots=True)
class FilterReport:
    """What each rule dropped of a data set.

    Attributes:
        image_count: Images that were read.
        empty_count: Of those, the ones of which nothing was left.
        clipped_count: Places that were cut at the edge of their image.
        kept: Annotations that are left, by kind.
        dropped: Annotations that are not, by kind and rule.
        examples: Some of them, chosen evenly at random, by kind and rule.
    """

    image_count: int = 0
    empty_count: int = 0
    clipped_count: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], list[Dropped]] = field(default_factory=dict)
    _chance: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311

    def add(self, image_count: int, result: Filtered) -> None:
        """Count what came of some images."""
        self.image_count += image_count
        self.empty_count += result.empty_count
        self.clipped_count += result.clipped_count
        self.kept.update(result.kept)
        for one in result.dropped:
            key = (one.kind, one.rule)
            self.dropped[key] += 1
            some = self.examples.setdefault(key, [])
            # Each has the same chance to be shown, however many there are.
            if len(some) < _EXAMPLES_MAX:
                some.append(one)
            elif (place := self._chance.randrange(self.dropped[key])) < _EXAMPLES_MAX:
                some[place] = one

    def rows(self) -> Iterator[tuple[str, str, int, float]]:
        """Yield kind, rule, count and share of the kind, what is kept first."""
        for kind in KINDS:
            fallen = {rule: n for (of, rule), n in self.dropped.items() if of == kind}
            total = self.kept[kind] + sum(fallen.values())
            for rule, count in {"kept": self.kept[kind], **fallen}.items():
                yield kind, rule, count, count / total if total else 0.0

    def counts(self) -> dict[str, Any]:
        """Return all counts as plain values."""
        return {
            "images": self.image_count,
            "images without anything left": self.empty_count,
            "places cut at the edge": self.clipped_count,
            **{f"{kind}: {rule}": count for kind, rule, count, _ in self.rows()},
        }


@dataclass(frozen=True, slots=True)
class _FilterWork:
    """Judges records, and says how many they were."""

    settings: FilterSettings

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[list[ImageRecord]], tuple[int, Filtered]]]:
        analyser = TextAnalyser(self.settings.spacy_model) if self.settings.text_rules else None
        rules = Filter(self.settings, analyser)
        yield lambda records: (len(records), rules.apply(records))


def filter_dataset(
    source: Dataset,
    out: Path,
    settings: FilterSettings,
    *,
    engine: EngineName = EngineName.LOCAL,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> FilterReport:
    """Write what is left of a data set, and the page of what is not.

    A run that a kill has cut short judges all again, so that its counts are whole, and writes what
    is missing.

    Raises:
        MissingExtraError: spaCy, its model or Ray is not installed.
        ConfigurationError: The folder holds another data set.
    """
    if settings.text_rules:
        find_spacy_model(settings.spacy_model)  # it is asked for before a folder is begun
    report = FilterReport()
    step = {
        "step": "filter",
        "source": source.name,
        "digest": source.digest,
        **settings.model_dump(mode="json", exclude={"processes"}),
    }
    manifest = source.manifest.model_copy(
        update={
            "complete": False,
            "images": source.images_from(out),
            "steps": (*source.manifest.steps, step),
        }
    )
    with DatasetWriter(out, manifest) as writer:
        begun_at = writer.next_position
        workers = Workers(engine, settings.processes)
        for count, result in over_records(_FilterWork(settings), source, workers):
            report.add(count, result)
            for record in result.records:
                if record.position >= begun_at:
                    writer.write(record)
            on_progress(report.image_count, len(source))
        writer.close(step_counts=report.counts())
    _write_page(out / FILTER_PAGE, report, source)
    return report


def _write_page(path: Path, report: FilterReport, source: Dataset) -> None:
    rows = (
        (f"{kind}: {rule}", f"{count:,}", f"{share:.1%}")
        for kind, rule, count, share in report.rows()
    )
    sections = "".join(
        f"<h2>{html.escape(f'{kind}: {rule}')}</h2>\n"
        f"<p class='figures'>{report.dropped[kind, rule]:,} dropped</p>\n"
        f"<div class='cases'>{''.join(_article(one, source) for one in some)}</div>\n"
        for (kind, rule), some in sorted(report.examples.items())
    )
    about = (
        f"{report.image_count:,} images, {report.empty_count:,} of them left out because nothing "
        f"was left; {report.clipped_count:,} places cut at the edge"
    )
    counts = table(("rule", "count", "share"), rows)
    body = f"<p class='figures'>{html.escape(about)}</p>\n{counts}{sections}"
    write_page(path, f"What the filters dropped of {source.folder.name}", body)


def _article(dropped: Dropped, source: Dataset) -> str:
    item, record = dropped.item, dropped.record
    score = item.provenance.score
    facts = f"{record.image_id} · {item.provenance.annotator}"
    facts += "" if score is None else f" · score {score:.2f}"
    facts += "" if not isinstance(item, Place) else f" · at {_sides(item)}"
    return (
        f"<article>{_picture(dropped, source)}<dl><dt>{dropped.rule}</dt>"
        f"<dd>{html.escape(_words(item, record)[:_TEXT_SHOWN_MAX])}</dd></dl>"
        f"<p class='id'>{html.escape(facts)}</p></article>"
    )


def _picture(dropped: Dropped, source: Dataset) -> str:
    path = source.image_path(dropped.record)
    try:
        image: Image.Image = decode_image(path.read_bytes(), _LIMITS, field=str(path)).picture
    except (ArnoError, OSError) as error:
        return f"<p>{html.escape(str(error))}</p>"
    item = dropped.item
    regions = [Region(_words(item, dropped.record), item.shape)] if isinstance(item, Place) else []
    return figure(image, regions, "")


def _words(item: Text | RegionText | Triplet, record: ImageRecord) -> str:
    return record.phrase(item) if isinstance(item, Triplet) else item.text


def _sides(place: Place) -> str:
    return ", ".join(f"{side:.0f}" for side in place.bounds)
