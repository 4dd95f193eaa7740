"""Merge the annotations of several annotators by agreement.

Regions of one kind that lie in one place are one region: its box is the weighted fusion of theirs,
its text the one that most of them support, and its agreement the part of the annotators that
support that text. An annotator that finds regions of a kind anywhere counts everywhere: finding
nothing in an image is an answer. Triplets of one phrase are merged in the same way, by the
annotators that grounded its text. Texts stay, and get the part of the annotators that say about the
same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

import numpy as np
from rapidfuzz import fuzz

from arno.dataset.fusion import Clusters, fuse
from arno.dataset.records import (
    Granularity,
    ImageRecord,
    Provenance,
    RegionKind,
    RegionText,
    Text,
    Triplet,
)

FUSION: Final = "fusion"
"""The annotator of what was merged of several."""
_EXACT: Final = frozenset({RegionKind.CATEGORY, RegionKind.PROPOSAL})
"""Kinds whose texts are equal or different; of others, texts are more or less alike."""
_PERCENT: Final = 100.0


@dataclass(frozen=True, slots=True)
class MergeSettings:
    """When annotations are the same.

    Attributes:
        overlap_min: Intersection over union above which places are one.
        similarity_min: Similarity of two texts, 0..1, from which they support each other.
        unscored: What an annotation without a score counts, 0..1. At 1, what a person said beats
            every model; labels that are often wrong should count less than a sure model.
    """

    overlap_min: float = 0.55
    similarity_min: float = 0.6
    unscored: float = 1.0


def voters_of(records: Iterable[ImageRecord]) -> dict[RegionKind, frozenset[str]]:
    """Return which annotators find regions, by kind."""
    voters: dict[RegionKind, set[str]] = {}
    for record in records:
        for region in record.regions:
            voters.setdefault(region.kind, set()).update(_sayers(region))
    return {kind: frozenset(names) for kind, names in voters.items()}


def merge(
    records: Sequence[ImageRecord],
    voters: Mapping[RegionKind, frozenset[str]],
    settings: MergeSettings,
) -> list[ImageRecord]:
    """Return the records with their annotations merged.

    Args:
        records: Of different images.
        voters: The annotators of the whole data set that find regions, by kind.
        settings: When annotations are the same.
    """
    regions = _merge_places(
        records, "regions", lambda one: one.kind, lambda at, one: voters[one.kind], settings
    )
    grounders = _grounders(records)
    triplets = _merge_places(
        records,
        "triplets",
        lambda one: (one.text_id, one.start, one.end),
        lambda at, one: grounders[at, one.text_id],
        settings,
    )
    return [
        record.model_copy(
            update={
                "texts": _agreed(record.texts, settings),
                "regions": tuple(regions[number]),
                "triplets": tuple(triplets[number]),
            }
        )
        for number, record in enumerate(records)
    ]


def join(records: Sequence[ImageRecord]) -> ImageRecord:
    """Return all annotations of one image as one record; equal texts become one.

    Raises:
        ValueError: The records are of images of different sizes.
    """
    first = records[0]
    if any(record.size != first.size for record in records):
        sizes = ", ".join(f"{record.width_px} x {record.height_px}" for record in records)
        raise ValueError(f"image {first.image_id} has different sizes: {sizes}")
    texts: dict[tuple[Granularity, str, str], Text] = {}
    triplets: list[Triplet] = []
    for record in records:
        names = {}
        for text in record.texts:
            key = (text.granularity, text.text, text.provenance.annotator)
            kept = texts.setdefault(key, text.model_copy(update={"id": f"t{len(texts)}"}))
            names[text.id] = kept.id
        triplets += (
            one.model_copy(update={"text_id": names[one.text_id]}) for one in record.triplets
        )
    return first.model_copy(
        update={
            "texts": tuple(texts.values()),
            "regions": tuple(region for record in records for region in record.regions),
            "triplets": tuple(triplets),
        }
    )


def similarity(one: str, other: str) -> float:
    """Return how much two texts are alike, 0..1: by their words, in any order, twice counted."""
    return float(fuzz.token_sort_ratio(one.casefold(), other.casefold())) / _PERCENT


def _merge_places(
    records: Sequence[ImageRecord],
    name: str,
    kind_of: Callable[[Any], Hashable],
    voters_of_item: Callable[[int, Any], Collection[str]],
    settings: MergeSettings,
) -> list[list[Any]]:
    """Return the merged places of each record, best first as they came."""
    items: list[Any] = [item for record in records for item in getattr(record, name)]
    owners = [number for number, record in enumerate(records) for _ in getattr(record, name)]
    numbers: dict[Hashable, int] = {}
    # Outlines and boxes are different things, even of one object.
    keys = [(at, kind_of(one), one.polygons is None) for at, one in zip(owners, items, strict=True)]
    groups = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
    boxes = np.array([item.bounds for item in items], np.float64).reshape(len(items), 4)
    scores = np.array([_score(item, settings) for item in items], np.float64)
    clusters = fuse(boxes, scores, groups, settings.overlap_min)
    merged: list[list[Any]] = [[] for _ in records]
    for number, members in _members(clusters):
        some, owner = [items[at] for at in members], owners[members[0]]
        fused = tuple(clusters.boxes[number].tolist())
        merged[owner].append(_merged(some, fused, voters_of_item(owner, some[0]), settings))
    return merged


def _grounders(records: Sequence[ImageRecord]) -> dict[tuple[int, str], set[str]]:
    """Return which annotators grounded a text, by the number of its record and its id."""
    found: dict[tuple[int, str], set[str]] = {}
    for at, record in enumerate(records):
        for one in record.triplets:
            found.setdefault((at, one.text_id), set()).update(_sayers(one))
    return found


def _members(clusters: Clusters) -> Iterable[tuple[int, list[int]]]:
    """Return the boxes of each cluster, clusters in the order of their first box."""
    members: dict[int, list[int]] = {}
    for at, cluster in enumerate(clusters.of.tolist()):
        members.setdefault(cluster, []).append(at)
    return members.items()


def _merged(
    items: Sequence[Any],
    fused: tuple[float, ...],
    voters: Collection[str],
    settings: MergeSettings,
) -> Any:
    """Return one place for several: the best supported item, with the fused box."""
    likeness = _likeness(items)
    scores = [_score(one, settings) for one in items]
    support = [
        sum(score * likeness(one, other) for other, score in zip(items, scores, strict=True))
        for one in items
    ]
    # Of equal support, the surer; of equally sure, the first.
    best = max(range(len(items)), key=lambda at: (support[at], scores[at]))
    chosen = items[best]
    backers = [one for one in items if likeness(chosen, one) >= settings.similarity_min]
    provenance = _provenance(chosen, backers, voters)
    changes: dict[str, Any] = {"provenance": provenance}
    if chosen.box is not None and len(items) > 1:
        changes["box"] = fused
    return chosen.model_copy(update=changes)


def _likeness(items: Sequence[Any]) -> Callable[[Any, Any], float]:
    first = items[0]
    if isinstance(first, Triplet):
        return lambda one, other: 1.0
    if first.kind in _EXACT:
        return lambda one, other: float(one.text.casefold() == other.text.casefold())
    return lambda one, other: similarity(one.text, other.text)


def _provenance(
    chosen: RegionText | Triplet, backers: Sequence[RegionText | Triplet], voters: Collection[str]
) -> Provenance:
    said_by = sorted({name for one in backers for name in _sayers(one)})
    facts: dict[str, Any] = {"agreement": len(said_by) / len(voters)}
    if len(said_by) > 1:
        scores = [one.provenance.score for one in backers if one.provenance.score is not None]
        facts |= {
            "annotator": FUSION,
            "merged": tuple(said_by),
            "score": fmean(scores) if scores else None,
            "calibrated": bool(scores) and all(one.provenance.calibrated for one in backers),
            "round": max(one.provenance.round for one in backers),
        }
    return chosen.provenance.model_copy(update=facts)


def _agreed(texts: Sequence[Text], settings: MergeSettings) -> tuple[Text, ...]:
    """Return texts with the part of the other annotators that say about the same."""
    by_grain: Mapping[Granularity, list[Text]] = {
        grain: [text for text in texts if text.granularity is grain] for grain in Granularity
    }
    return tuple(
        text.model_copy(
            update={
                "provenance": text.provenance.model_copy(
                    update={
                        "agreement": _text_agreement(text, by_grain[text.granularity], settings)
                    }
                )
            }
        )
        for text in texts
    )


def _text_agreement(text: Text, peers: Sequence[Text], settings: MergeSettings) -> float:
    voters = {name for peer in peers for name in _sayers(peer)}
    backers = {
        name
        for peer in peers
        if similarity(text.text, peer.text) >= settings.similarity_min
        for name in _sayers(peer)
    }
    return len(backers) / len(voters)


def _sayers(item: Text | RegionText | Triplet) -> tuple[str, ...]:
    return item.provenance.merged or (item.provenance.annotator,)


def _score(item: RegionText | Triplet, settings: MergeSettings) -> float:
    score = item.provenance.score
    return settings.unscored if score is None else score
