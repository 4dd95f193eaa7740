"""Apply all rules to a batch of records."""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np

from arno.dataset.filters.place_rules import (
    KEPT,
    PLACE_RULES,
    Codes,
    Places,
    judge_places,
)
from arno.dataset.filters.settings import FilterSettings
from arno.dataset.filters.text_rules import (
    PHRASE_RULES,
    TEXT_RULES,
    compare_texts,
    judge_phrases,
    judge_texts,
)
from arno.dataset.records import ImageRecord, Place, Provenance, RegionText, Text, Triplet
from arno.dataset.text_analysis import TextAnalyser

Item: TypeAlias = Text | RegionText | Triplet
PlaceT = TypeVar("PlaceT", bound=Place)


@dataclass(frozen=True, slots=True)
class Dropped:
    """An annotation that a rule dropped.

    Attributes:
        kind: ``texts``, ``regions`` or ``triplets``.
        rule: Which rule.
        record: The whole record that it was in, as it was before.
        item: The annotation.
    """

    kind: str
    rule: str
    record: ImageRecord
    item: Item


@dataclass(slots=True)
class Filtered:
    """What came of a batch.

    Attributes:
        records: What is left, in order.
        dropped: Each annotation that is not, with the rule.
        kept: Annotations that are left, by kind.
        clipped_count: Places that were cut at the edge of their image.
        empty_count: Images that were left out because nothing was left of them.
    """

    records: list[ImageRecord] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)
    clipped_count: int = 0
    empty_count: int = 0


class Filter:
    """All rules with their settings. Makes no use of images."""

    def __init__(self, settings: FilterSettings, analyser: TextAnalyser | None) -> None:
        """Take the settings.

        Args:
            settings: What is kept.
            analyser: Computes the figures of texts; None leaves out the rules that need them.
        """
        self._settings = settings
        self._analyser = analyser

    def apply(self, records: Sequence[ImageRecord]) -> Filtered:
        """Return what is left of a batch, and what is not."""
        texts = self._judge_texts(records)
        regions = judge_places(_places(records, "regions", _region_name), self._settings)
        kept_texts = [
            {text.id for text, bad in zip(record.texts, fallen, strict=True) if not bad}
            for record, fallen in zip(records, _split(texts, records, "texts"), strict=True)
        ]
        triplets = self._judge_triplets(records, kept_texts)
        result = Filtered()
        verdicts = (
            ("texts", TEXT_RULES, texts),
            ("regions", PLACE_RULES, regions),
            ("triplets", TRIPLET_RULES, triplets),
        )
        for kind, rules, codes in verdicts:
            result.kept[kind] = int((codes == KEPT).sum())
            _note(result, records, kind, rules, codes)
        parts = [_split(codes, records, kind) for kind, _, codes in verdicts]
        for record, *fallen in zip(records, *parts, strict=True):
            self._add(result, record, fallen)
        return result

    def _judge_texts(self, records: Sequence[ImageRecord]) -> Codes:
        texts = [text for record in records for text in record.texts]
        owners = [number for number, record in enumerate(records) for _ in record.texts]
        if self._analyser is None:
            codes = np.full(len(texts), KEPT, dtype=np.int8)
        else:
            codes = judge_texts(texts, owners, self._settings, self._analyser)
        compare_texts(texts, owners, codes, self._settings)
        return codes

    def _judge_triplets(
        self, records: Sequence[ImageRecord], kept_texts: Sequence[set[str]]
    ) -> Codes:
        """Judge phrases, then the places of those that are left: a dropped one beats no other."""
        codes = judge_phrases(records, kept_texts, self._settings)
        places = _places(records, "triplets", _triplet_name)
        left = np.flatnonzero(codes == KEPT)
        columns = (getattr(places, name)[left] for name in Places.__slots__)
        judged = judge_places(Places(*columns), self._settings)
        codes[left] = np.where(judged == KEPT, KEPT, judged + len(PHRASE_RULES))
        return codes

    def _add(self, result: Filtered, record: ImageRecord, fallen: list[list[bool]]) -> None:
        changes: dict[str, Any] = {}
        for kind, verdict in zip(("texts", "regions", "triplets"), fallen, strict=True):
            items: tuple[Any, ...] = getattr(record, kind)
            kept = items
            if any(verdict):
                kept = tuple(one for one, bad in zip(items, verdict, strict=True) if not bad)
            if kind != "texts":
                inside = tuple(_inside(one, record) for one in kept)
                result.clipped_count += sum(
                    new is not old for new, old in zip(inside, kept, strict=True)
                )
                kept = inside
            changes[kind] = kept
        if not any(changes.values()) and not self._settings.keep_empty:
            result.empty_count += 1
            return
        result.records.append(record.model_copy(update=changes))


TRIPLET_RULES: Final = (*PHRASE_RULES, *PLACE_RULES)


def _note(
    result: Filtered,
    records: Sequence[ImageRecord],
    kind: str,
    rules: Sequence[str],
    codes: Codes,
) -> None:
    if (codes == KEPT).all():
        return
    ends = list(itertools.accumulate(len(getattr(record, kind)) for record in records))
    for number in np.flatnonzero(codes != KEPT).tolist():
        owner = bisect.bisect_right(ends, number)
        record = records[owner]
        item = getattr(record, kind)[number - ends[owner]]  # counted from the end
        result.dropped.append(Dropped(kind, rules[codes[number]], record, item))


def _split(codes: Codes, records: Sequence[ImageRecord], kind: str) -> list[list[bool]]:
    """Return for each record which of its annotations are dropped."""
    flat = (codes != KEPT).tolist()
    ends = itertools.accumulate((len(getattr(record, kind)) for record in records), initial=0)
    return [flat[start:end] for start, end in itertools.pairwise(ends)]


def _places(
    records: Sequence[ImageRecord], kind: str, name_of: Callable[[Any], Hashable]
) -> Places:
    """Return the columns of the places of a batch."""
    numbers: dict[Hashable, int] = {}
    items = [item for record in records for item in getattr(record, kind)]
    provenances = [item.provenance for item in items]
    count = len(items)
    counts = [len(getattr(record, kind)) for record in records]
    owners = np.repeat(np.arange(len(records)), counts)
    sizes = np.array([(record.width_px, record.height_px) for record in records], np.float64)
    return Places(
        images=owners,
        boxes=np.array([item.box or item.bounds for item in items], np.float64).reshape(count, 4),
        sizes=sizes[owners] if count else np.zeros((0, 2)),
        scores=np.array(
            [None if _is_agreed(one) else one.score for one in provenances], np.float64
        ),
        agreements=np.array([one.agreement for one in provenances], np.float64),
        names=np.fromiter(
            (numbers.setdefault(name_of(item), len(numbers)) for item in items), np.int64, count
        ),
    )


def _is_agreed(provenance: Provenance) -> bool:
    """Whether all annotators, two or more, say so: that needs no score.

    The score of a merged annotation is that of its supporters who gave one. A label that a model
    supports would fall with the doubts of the model, while the label alone would stay.
    """
    return len(provenance.merged) > 1 and provenance.agreement == 1.0


def _region_name(region: RegionText) -> tuple[str, str, bool]:
    # A box says nothing against the outline of the same thing.
    return region.kind, region.text.casefold(), region.polygons is None


def _triplet_name(triplet: Triplet) -> tuple[str, int, int]:
    return triplet.text_id, triplet.start, triplet.end


def _inside(place: PlaceT, record: ImageRecord) -> PlaceT:
    """Return a place with its corners moved into the image; the same object where they are."""
    x0, y0, x1, y1 = place.box or place.bounds
    if x0 >= 0 and y0 >= 0 and x1 <= record.width_px and y1 <= record.height_px:
        return place
    limits = (float(record.width_px), float(record.height_px))

    def moved(numbers: Sequence[float]) -> tuple[float, ...]:
        return tuple(min(max(one, 0.0), limits[at % 2]) for at, one in enumerate(numbers))

    changes: dict[str, Any] = {}
    if place.box is not None:
        changes["box"] = moved(place.box)
    elif place.quad_box is not None:
        changes["quad_box"] = moved(place.quad_box)
    else:
        changes["polygons"] = tuple(moved(outline) for outline in place.polygons or ())
    return place.model_copy(update=changes)
