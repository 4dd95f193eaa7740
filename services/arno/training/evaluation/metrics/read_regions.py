"""Words read in their places: F1 of text and region together.

Definition: a word found is right where its text equals a true word's (case counts, runs of white
space do not) and their quad boxes overlap with an IoU of at least 0.5, one to one; F1 is twice the
right ones over all found and all true ones. The end-to-end protocol of ICDAR 2015's robust reading
(task 4.4), without its list of words to disregard.

Source: by this definition; hand-computed cases in the tests.

Stands alone: one metric a file, with its definition and source.
"""

from __future__ import annotations

from collections.abc import Sequence

from arno.training.evaluation.metrics.characters import spaced
from arno.training.evaluation.metrics.masks import shape_overlap
from arno.training.evaluation.metrics.matching import Tally, box_overlap, match
from arno.vocabulary import ImageSize, Region


def read_regions(found: Sequence[Region], true: Sequence[Region], size: ImageSize) -> Tally:
    """Return how many words were read right and in the right place."""

    def overlap(one: Region, other: Region) -> float:
        # Rasterising is slow, and shapes whose upright boxes do not meet cannot either.
        if box_overlap(one, other) == 0:
            return 0.0
        return shape_overlap(one.shape, other.shape, size)

    pairs = match(found, true, may_match=_same_text, overlap=overlap)
    return Tally(len(found), len(true), len(pairs))


def _same_text(one: Region, other: Region) -> bool:
    return spaced(one.label) == spaced(other.label)
