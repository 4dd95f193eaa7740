"""Judge places by columns of numbers: threshold, outside, degenerate, too many, suppressed.

Shapes: N places, over the images of a batch. Nothing here loops over places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from arno.dataset.filters.settings import FilterSettings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]

KEPT: Final = -1
PLACE_RULES: Final = (
    "agreement",
    "threshold",
    "outside",
    "degenerate",
    "too many",
    "suppressed",
)
"""In the order in which they judge; a place is counted for the first that drops it."""
_PAIRS_MAX: Final = 1 << 21
"""Pairs of places that are compared at a time: bounds the memory."""


@dataclass(frozen=True, slots=True)
class Places:
    """Columns of N places.

    Attributes:
        images: The number of the image in the batch, not falling. [N]
        boxes: x0, y0, x1, y1 in pixels. [N, 4]
        sizes: Width and height of the image in pixels. [N, 2]
        scores: NaN where there is none. [N]
        agreements: NaN where there is none. [N]
        names: Equal for places of one kind and text; others do not suppress each other. [N]
    """

    images: Ints
    boxes: Floats
    sizes: Floats
    scores: Floats
    agreements: Floats
    names: Ints

    def __len__(self) -> int:
        return len(self.images)


def judge_places(places: Places, settings: FilterSettings) -> Codes:
    """Return for each place the rule that drops it, or `KEPT`. [N]."""
    codes = np.full(len(places), KEPT, dtype=np.int8)
    if not len(places):
        return codes

    def drop(rule: str, which: Any) -> None:
        codes[(codes == KEPT) & which] = PLACE_RULES.index(rule)

    drop("agreement", places.agreements < settings.agreement_min)
    drop("threshold", places.scores < settings.score_min)
    inside = clip(places.boxes, places.sizes)
    area, left = _area(places.boxes), _area(inside)
    # A place without an area is not outside, but degenerate.
    drop("outside", left < area * (1 - settings.outside_max))
    sides = inside[:, 2:] - inside[:, :2]
    drop("degenerate", ((sides < settings.side_px_min) | (sides <= 0)).any(axis=1))
    # What has no score was said by a person, or as sure as that.
    scores = np.where(np.isnan(places.scores), 1.0, places.scores)
    alive = np.flatnonzero(codes == KEPT)
    rank = _ranks(places.images[alive], scores[alive])
    drop("too many", _marked(len(places), alive[rank >= settings.regions_max]))
    alive = np.flatnonzero(codes == KEPT)
    groups = places.images[alive] * (places.names.max(initial=0) + 1) + places.names[alive]
    beaten = suppressed(inside[alive], scores[alive], groups, settings.nms_iou)
    drop("suppressed", _marked(len(places), alive[beaten]))
    return codes


def clip(boxes: Floats, sizes: Floats) -> Floats:
    """Return the parts of boxes that are inside their images. [N, 4]."""
    return np.clip(boxes, 0.0, np.concatenate([sizes, sizes], axis=1))


def suppressed(
    boxes: Floats, scores: Floats, groups: Ints, overlap_max: float
) -> npt.NDArray[np.bool_]:
    """Return which boxes non-maximum suppression drops: those that a better one of its group hits.

    Args:
        boxes: x0, y0, x1, y1. [N, 4]
        scores: Of equal scores, the earlier box is the better. [N]
        groups: Boxes of different groups do not meet. [N]
        overlap_max: The intersection over union from which the worse is dropped.
    """
    dropped = np.zeros(len(boxes), dtype=np.bool_)
    for index, there in padded_groups(scores, groups, size_min=2):
        alive = _survivors(boxes[index], there, overlap_max)
        dropped[index[there & ~alive]] = True
    return dropped


def padded_groups(
    scores: Floats, groups: Ints, *, size_min: int = 1
) -> Iterator[tuple[Ints, Bools]]:
    """Yield groups of about one size together, padded to the next power of two.

    Args:
        scores: Each group is in falling order of these. [N]
        groups: The group of each place. [N]
        size_min: Smaller groups are left out.

    Yields:
        Indices of the places of B groups, [B, K], and which of them are no padding, [B, K]. B is
        bounded, so that comparing all pairs of a group takes bounded memory.
    """
    order = np.lexsort((-scores, groups))
    starts, counts = runs(groups[order])
    padded = 1 << np.ceil(np.log2(np.maximum(counts, 1))).astype(np.int64)
    for width in np.unique(padded[counts >= size_min]):
        members = np.flatnonzero((padded == width) & (counts >= size_min))
        step = max(1, _PAIRS_MAX // int(width * width))
        columns = np.arange(width)
        for first in range(0, len(members), step):
            some = members[first : first + step]
            index = order[np.minimum(starts[some, None] + columns, len(order) - 1)]
            yield index, columns < counts[some, None]


def overlaps(one: Floats, other: Floats) -> Floats:
    """Return the intersection over union of boxes, broadcast over all but their last axis."""
    low = np.maximum(one[..., :2], other[..., :2])
    high = np.minimum(one[..., 2:], other[..., 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=-1)
    union = _area(one) + _area(other) - shared
    result: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


def _survivors(boxes: Floats, there: npt.NDArray[np.bool_], limit: float) -> npt.NDArray[np.bool_]:
    """Return which boxes are left of groups in falling order of score. [B, K, 4] to [B, K]."""
    alive = there.copy()
    for column in range(boxes.shape[1] - 1):
        hit = (
            overlaps(boxes[:, column, None], boxes[:, column + 1 :]) > limit
        )  # [B, K - column - 1]
        alive[:, column + 1 :] &= ~(hit & alive[:, column, None])
    return alive


def _ranks(images: Ints, scores: Floats) -> Ints:
    """Return the rank of each place among those of its image, 0 for the best. [N]."""
    order = np.lexsort((-scores, images))
    starts, counts = runs(images[order])
    ranks = np.empty(len(images), dtype=np.int64)
    ranks[order] = np.arange(len(images)) - np.repeat(starts, counts)
    return ranks


def runs(values: Ints) -> tuple[Ints, Ints]:
    """Return where each run of equal values begins, and how long it is."""
    if not len(values):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1])
    return starts, np.diff(np.concatenate([starts, [len(values)]]))


def _area(boxes: Floats) -> Floats:
    area: Floats = np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1)
    return area


def _marked(length: int, places: Ints) -> npt.NDArray[np.bool_]:
    marked = np.zeros(length, dtype=np.bool_)
    marked[places] = True
    return marked
