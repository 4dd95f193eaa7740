"""Figures of a data set, beside those that the paper of Florence-2 gives for FLD-5B."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from arno.dataset.records import Granularity, ImageRecord
from arno.dataset.text_analysis import TextAnalyser

TEXT_COLUMNS: Final = (
    "tokens",
    "objects",
    "attributes",
    "actions",
    "proper_nouns",
    "object_complexity",
    "action_complexity",
)
PAPER: Final = MappingProxyType(
    {
        Granularity.BRIEF: (7.95, 3.23, 2.80, 0.58, None, 2.80, 1.14),
        Granularity.DETAILED: (31.65, 13.31, 7.27, 4.21, None, 4.00, 3.63),
        Granularity.MORE_DETAILED: (70.53, 28.06, 16.25, 8.76, None, 4.02, 4.38),
    }
)
"""Of FLD-5B, in the order of `TEXT_COLUMNS`. Source: arXiv:2311.06242, section 4; how it counts
tokens is not said there, and here punctuation is none."""
PAPER_REGIONS_PER_IMAGE: Final = 5.42
PAPER_TRIPLETS_PER_IMAGE: Final = MappingProxyType(
    {Granularity.BRIEF: 4.27, Granularity.DETAILED: 10.25, Granularity.MORE_DETAILED: 10.17}
)
_TOP_MAX: Final = 20
_BINS: Final = 20


@dataclass(slots=True)
class Statistics:
    """Figures of the records that were added.

    Attributes:
        image_count: Records.
        texts: Texts by granularity.
        figures: Sums of `TEXT_COLUMNS` by granularity; empty where texts are not analysed.
        kinds: Regions by kind.
        triplets: Triplets by the granularity of their text.
        labels: Texts of category regions.
        annotators: Annotations by annotator.
        regions_per_image: Images by their number of regions.
        scores: Annotations by score, in 20 equal bins from 0 to 1.
        areas: Places by the part of the image that they cover, in 20 equal bins.
    """

    image_count: int = 0
    texts: Counter[Granularity] = field(default_factory=Counter)
    figures: dict[Granularity, np.ndarray[Any, Any]] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    triplets: Counter[Granularity] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    annotators: Counter[str] = field(default_factory=Counter)
    regions_per_image: Counter[int] = field(default_factory=Counter)
    scores: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    areas: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    def add(self, records: Sequence[ImageRecord], analyser: TextAnalyser | None) -> None:
        """Add records; without an analyser, texts are counted alone."""
        for record in records:
            self._add(record)
        if analyser is not None:
            self._analyse(records, analyser)

    def merge(self, other: Statistics) -> None:
        """Add the figures of records that come after these."""
        self.image_count += other.image_count
        for name in ("texts", "kinds", "triplets", "labels", "annotators", "regions_per_image"):
            getattr(self, name).update(getattr(other, name))
        for grain, sums in other.figures.items():
            self.figures[grain] = self.figures.get(grain, 0.0) + sums
        self.scores += other.scores
        self.areas += other.areas

    def text_means(self, granularity: Granularity) -> list[float]:
        """Return the means of `TEXT_COLUMNS`; empty where there are none."""
        sums = self.figures.get(granularity)
        return [] if sums is None else (sums / self.texts[granularity]).tolist()

    def per_image(self, count: int) -> float:
        """Return a count per image."""
        return count / self.image_count if self.image_count else 0.0

    def document(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        means = {grain: self.text_means(grain) for grain in Granularity}
        return {
            "images": self.image_count,
            "texts": {str(grain): self.texts[grain] for grain in Granularity},
            "text_means": {
                str(grain): dict(zip(TEXT_COLUMNS, found, strict=True))
                for grain, found in means.items()
                if found
            },
            "regions": dict(sorted(self.kinds.items())),
            "regions_per_image": self.per_image(self.kinds.total()),
            "triplets": {str(grain): self.triplets[grain] for grain in Granularity},
            "labels": dict(self.labels.most_common(_TOP_MAX)),
            "label_count": len(self.labels),
            "annotators": dict(self.annotators.most_common()),
            "scores": self.scores.tolist(),
            "areas": self.areas.tolist(),
        }

    def _add(self, record: ImageRecord) -> None:
        self.image_count += 1
        self.texts.update(text.granularity for text in record.texts)
        self.kinds.update(str(region.kind) for region in record.regions)
        self.labels.update(one.text for one in record.regions if one.kind == "category")
        self.regions_per_image[len(record.regions)] += 1
        grains = {text.id: text.granularity for text in record.texts}
        self.triplets.update(grains[one.text_id] for one in record.triplets)
        items: tuple[Any, ...] = (*record.texts, *record.regions, *record.triplets)
        said = [one.provenance for one in items]
        self.annotators.update(one.annotator for one in said)
        self.scores += _histogram(one.score for one in said if one.score is not None)
        area = record.width_px * record.height_px
        bounds = (one.bounds for one in (*record.regions, *record.triplets))
        self.areas += _histogram(
            max(0.0, x1 - x0) * max(0.0, y1 - y0) / area for x0, y0, x1, y1 in bounds
        )

    def _analyse(self, records: Sequence[ImageRecord], analyser: TextAnalyser) -> None:
        for grain in Granularity:
            texts = [
                text.text
                for record in records
                for text in record.texts
                if text.granularity is grain
            ]
            if texts:
                found = analyser.analyse(texts)
                sums = np.array([getattr(found, name).sum() for name in TEXT_COLUMNS], np.float64)
                self.figures[grain] = self.figures.get(grain, 0.0) + sums


def _histogram(values: Iterable[float]) -> np.ndarray[Any, Any]:
    places = [min(_BINS - 1, max(0, int(value * _BINS))) for value in values]
    return np.bincount(np.array(places, np.int64), minlength=_BINS)
