"""Pair found regions with true ones: one to one, the best overlap first.

Definition: all pairs that may match are taken in falling order of overlap, and each side is used
once. Unlike COCO's matching it needs no scores, so the result depends on the places alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from arno.vocabulary import Region, bounding_box, iou

IOU_MIN = 0.5
"""The overlap from which a place counts as right: Pascal VOC's."""


@dataclass(frozen=True, slots=True)
class Match:
    """One pair, by the positions in both lists."""

    found: int
    true: int
    overlap: float


@dataclass(frozen=True, slots=True)
class Tally:
    """Numbers of found, true and agreeing things; they add up over images.

    Attributes:
        found_count: Number of things that the model found.
        true_count: Number of things in the truth.
        right_count: Number of pairs of both.
    """

    found_count: int
    true_count: int
    right_count: int

    @property
    def precision(self) -> float:
        """The part of the found things that is right; 0 where nothing was found."""
        return self.right_count / self.found_count if self.found_count else 0.0

    @property
    def recall(self) -> float:
        """The part of the true things that was found; 0 where the truth is empty."""
        return self.right_count / self.true_count if self.true_count else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 1 where truth and findings are empty."""
        count = self.found_count + self.true_count
        return 2 * self.right_count / count if count else 1.0


def match(
    found: Sequence[Region],
    true: Sequence[Region],
    *,
    may_match: Callable[[Region, Region], bool],
    overlap: Callable[[Region, Region], float] | None = None,
    overlap_min: float = IOU_MIN,
) -> list[Match]:
    """Return the pairs, best first.

    Args:
        found: The regions that the model found.
        true: The regions of the truth.
        may_match: Whether the labels of a found and a true region allow a pair.
        overlap: Overlap of two regions, 0..1; None is the IoU of the upright boxes around them.
        overlap_min: Overlap from which a pair counts.
    """
    measure = overlap or box_overlap
    pairs = [
        Match(found_at, true_at, value)
        for true_at, there in enumerate(true)
        for found_at, given in enumerate(found)
        if may_match(given, there) and (value := measure(given, there)) >= overlap_min
    ]
    # Ties fall to the earlier region, so that the result is always the same.
    pairs.sort(key=lambda pair: (-pair.overlap, pair.true, pair.found))
    taken: list[Match] = []
    used_found: set[int] = set()
    used_true: set[int] = set()
    for pair in pairs:
        if pair.found not in used_found and pair.true not in used_true:
            used_found.add(pair.found)
            used_true.add(pair.true)
            taken.append(pair)
    return taken


def box_overlap(one: Region, other: Region) -> float:
    """Return the IoU of the upright boxes around two regions; 0 where one has no shape."""
    if not one.shape or not other.shape:
        return 0.0
    return iou(bounding_box(one.shape), bounding_box(other.shape))


def same_label(one: Region, other: Region) -> bool:
    """Whether two labels are equal, but for case and surrounding space."""
    return plain(one.label) == plain(other.label)


def any_label(one: Region, other: Region) -> bool:
    """Whether two regions may match whatever their labels: always."""
    return True


def plain(label: str) -> str:
    """Return a label for comparison: lower case, single spaces."""
    return " ".join(label.casefold().split())


def total(tallies: Iterable[Tally]) -> Tally:
    """Return the counts of several images together."""
    found = true = right = 0
    for tally in tallies:
        found += tally.found_count
        true += tally.true_count
        right += tally.right_count
    return Tally(found, true, right)
